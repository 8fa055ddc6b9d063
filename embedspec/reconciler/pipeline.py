"""Rows through the model into the store: read, tokenize, embed and write at the same time, bounded.

    reader thread      records → windows (≤ 16,384 texts, ≤ 64 MB) → token batches, rows at hand
    calling thread     token batches → full-length vectors → vector cache
    writer thread      rows with vectors → cut, quantized → store (the only user of the store)

A text is embedded once however many rows have it. Every vector is in the cache before its row goes
to the store, so a killed run loses at most the batches in flight. Order does not matter here: a row
is identified by its key, and a text's vector does not depend on its neighbours.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from embedspec.cache.vectors import VectorCache
from embedspec.models.batching import token_budget_batches
from embedspec.models.encoder import Encoder
from embedspec.reconciler.channel import Aborted, Channel
from embedspec.reconciler.limits import Limits
from embedspec.reconciler.outcome import Flow
from embedspec.reconciler.tokens import Tokens
from embedspec.reconciler.writer import Row, RowWriter, Vectors
from embedspec.types import Event, HashArray, Matrix, hash_array

WINDOW_TEXTS = 16_384
WINDOW_BYTES = 64 << 20
QUEUE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class _Batch:
    contents: list[bytes]
    ids: list[npt.NDArray[np.int32]]
    tokens: int
    characters: int


@dataclass(slots=True)
class _InFlight:
    """The texts on their way through the model: content hash → rows that wait for the vector."""

    waiting: dict[bytes, list[Row]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Pipeline:
    def __init__(
        self,
        *,
        cache: VectorCache,
        needed: HashArray,
        base_contents: HashArray,
        tokens: Tokens,
        load_encoder: Callable[[], Encoder],
        writer: RowWriter,
        limits: Limits,
        expected_tokens: int,
        on_event: Callable[[Event], None],
    ) -> None:
        self._cache = cache
        self._needed = needed
        self._at_hand = np.zeros(len(needed), dtype=bool)
        self._base = base_contents
        self._tokens = tokens
        self._load_encoder = load_encoder
        self._writer = writer
        self._limits = limits
        self._expected_tokens = expected_tokens
        self._on_event = on_event
        self._abort = threading.Event()
        self._failures: list[BaseException] = []
        self._texts = _InFlight()
        self._batches: Channel[_Batch] = Channel(QUEUE_BYTES, self._abort)
        self._rows: Channel[tuple[list[Row], Vectors]] = Channel(QUEUE_BYTES, self._abort)
        self._read_s = 0.0
        self._embed_s = 0.0
        self._unfinished = 2  # the stages that feed the writer
        self.flow = Flow()

    def run(self, rows: Iterable[Row]) -> Flow:
        """Write all rows. Raises whatever a stage raised first; ends early when a limit is reached
        (`limits.reason` says which), with everything that was embedded also written."""
        reader = threading.Thread(target=self._guard, args=(self._read, rows), name="embedspec-read")
        writer = threading.Thread(target=self._guard, args=(self._write,), name="embedspec-write")
        reader.start()
        writer.start()
        self._guard(self._embed)
        reader.join()
        writer.join()
        if self._failures:
            raise self._failures[0]
        self.flow.busy = {
            "read": self._read_s,
            "tokenize": self._tokens.spent_s,
            "embed": self._embed_s,
            "write": self._writer.busy_s,
        }
        self.flow.dead += self._writer.dead
        self.flow.cached = int(self._at_hand.sum())
        return self.flow

    def _guard(self, stage: Callable[..., None], *arguments: object) -> None:
        try:
            stage(*arguments)
        except Aborted:
            pass
        except BaseException as error:
            # Kept for `run` to raise on the calling thread, KeyboardInterrupt included.
            self._failures.append(error)
            self._abort.set()

    def _feeder_done(self) -> None:
        with self._texts.lock:
            self._unfinished -= 1
            last = self._unfinished == 0
        if last:
            self._rows.close()

    # -- reader thread ----------------------------------------------------------------------------
    def _read(self, rows: Iterable[Row]) -> None:
        for window in self._windows(rows):
            if self._limits.reached():
                break
            self._dispatch(window)
        self._batches.close()
        self._feeder_done()

    def _windows(self, rows: Iterable[Row]) -> Iterator[list[Row]]:
        window: list[Row] = []
        size = 0
        started = time.perf_counter()
        for row in rows:
            window.append(row)
            size += len(row.text)
            if len(window) >= WINDOW_TEXTS or size >= WINDOW_BYTES:
                self._read_s += time.perf_counter() - started
                yield window
                window, size = [], 0
                started = time.perf_counter()
        self._read_s += time.perf_counter() - started
        if window:
            yield window

    def _dispatch(self, window: list[Row]) -> None:
        contents = hash_array([row.content for row in window])
        cached: list[Row] = []
        based: list[Row] = []
        new: list[Row] = []
        # One lock around look-up here and append there: a text in neither place is really new.
        with self._texts.lock:
            in_cache = self._cache.contains(contents)
            in_base = np.isin(contents, self._base) & ~in_cache
            for row, from_cache, from_base in zip(window, in_cache, in_base, strict=True):
                if from_cache:
                    cached.append(row)
                elif from_base:
                    based.append(row)
                elif row.content in self._texts.waiting:
                    self._texts.waiting[row.content].append(row)
                else:
                    self._texts.waiting[row.content] = [row]
                    new.append(row)
        lost = self._send_at_hand(cached, based)
        if lost:
            # Damaged cache records, or base rows that went away: they cost time, never a wrong vector.
            with self._texts.lock:
                for row in lost:
                    rows = self._texts.waiting.setdefault(row.content, [])
                    if not rows:
                        new.append(row)
                    rows.append(row)
        self._send_batches(new)

    def _count_at_hand(self, rows: Sequence[Row]) -> None:
        contents = hash_array([row.content for row in rows])
        if len(contents) and len(self._needed):
            at = np.minimum(np.searchsorted(self._needed, contents), len(self._needed) - 1)
            self._at_hand[at[self._needed[at] == contents]] = True

    def _send_at_hand(self, cached: list[Row], based: list[Row]) -> list[Row]:
        """Returns the rows whose vector was not there after all."""
        lost: list[Row] = []
        step = self._writer.batch_rows
        for at in range(0, len(cached), step):
            rows = cached[at : at + step]
            found, matrix = self._cache.get(hash_array([row.content for row in rows]))
            if not found.all():
                lost += [row for row, there in zip(rows, found, strict=True) if not there]
                rows = [row for row, there in zip(rows, found, strict=True) if there]
                matrix = matrix[found]
            if rows:
                self._count_at_hand(rows)
                self._rows.put((rows, matrix), matrix.nbytes + sum(len(r.text) for r in rows))
        for at in range(0, len(based), step):
            rows = based[at : at + step]
            self._count_at_hand(rows)
            self._rows.put((rows, None), sum(len(r.text) for r in rows))
        return lost

    def _send_batches(self, new: Sequence[Row]) -> None:
        if not new:
            return
        ids = self._tokens.take([row.content for row in new], [row.text for row in new])
        lengths = np.array([len(found) for found in ids], dtype=np.int64)
        for indices in token_budget_batches(lengths, self._batch_budget()):
            batch = _Batch(
                [new[i].content for i in indices],
                [ids[i] for i in indices],
                int(lengths[indices].sum()),
                sum(len(new[i].text) for i in indices),
            )
            self._batches.put(batch, batch.tokens * 4 + batch.characters)

    def _batch_budget(self) -> int:
        """Tokens of a batch: what the engine likes, but no more than the run may spend at all."""
        liked = self._load_encoder().budget_tokens
        allowed = self._limits.budget_tokens
        return liked if allowed is None else max(1, min(liked, allowed))

    # -- calling thread ---------------------------------------------------------------------------
    def _embed(self) -> None:
        first = next(iter(self._batches), None)
        if first is not None:
            encoder = self._load_encoder()
            started = time.perf_counter()
            waited = self._batches.waited_s
            for batch, matrix in encoder.embed(self._until_limit(first)):
                self._embedded(batch, matrix)
            idle = self._batches.waited_s - waited
            self._embed_s = time.perf_counter() - started - idle
        if self._limits.reason is not None:
            # The reader may be waiting to put: let it run dry without embedding anything more.
            for _ in self._batches:
                pass
        self._feeder_done()

    def _until_limit(self, first: _Batch) -> Iterator[tuple[_Batch, list[npt.NDArray[np.int32]]]]:
        batch: _Batch | None = first
        source = iter(self._batches)
        while batch is not None:
            if self._limits.reached(batch.tokens):
                return
            self._limits.spent += batch.tokens
            yield batch, batch.ids
            batch = next(source, None)

    def _embedded(self, batch: _Batch, matrix: Matrix) -> None:
        rows: list[Row] = []
        at: list[int] = []
        with self._texts.lock:
            self._cache.append(hash_array(batch.contents), matrix)
            for index, content in enumerate(batch.contents):
                for row in self._texts.waiting.pop(content):
                    rows.append(row)
                    at.append(index)
        self.flow.embedded += len(batch.contents)
        self.flow.tokens += batch.tokens
        vectors = matrix if len(at) == len(matrix) else matrix[at]
        self._rows.put((rows, vectors), vectors.nbytes + sum(len(row.text) for row in rows))
        self._on_event(Event("embed", "", done=self.flow.tokens, total=self._expected_tokens, unit="tokens"))

    # -- writer thread ----------------------------------------------------------------------------
    def _write(self) -> None:
        for rows, vectors in self._rows:
            self._writer.add(rows, vectors)
        self._writer.flush()
