"""Execute a plan under the lease: fill one build's rows, finish its index, move readers.

Nothing here decides what to do; it follows `Observation.work`. Any step may be the last one of a
killed run: the rows are the state, and the next run plans again from what it finds.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np

from embedspec.errors import LeaseLost, StoreError
from embedspec.models.encoder import Encoder
from embedspec.reconciler.canary import find_canary, load_checked_encoder
from embedspec.reconciler.diff import Indices, compare
from embedspec.reconciler.lease import HeldLease
from embedspec.reconciler.limits import Limits
from embedspec.reconciler.observe import Listener, Observation
from embedspec.reconciler.outcome import Flow, Outcome
from embedspec.reconciler.pipeline import Pipeline
from embedspec.reconciler.registry import new_build
from embedspec.reconciler.retry import retrying
from embedspec.reconciler.session import Session
from embedspec.reconciler.writer import Row, RowWriter
from embedspec.stores.protocol import Store
from embedspec.stores.records import BuildRecord, Canary, IndexState
from embedspec.types import (
    DeadLetter,
    Event,
    HashArray,
    RowHashes,
    document_prefixes,
    hash_array,
    hash_list,
    row_key,
)


class Application:
    """One run's work on one index, while the lease is held. Not thread-safe."""

    def __init__(
        self, session: Session, store: Store, held: HeldLease, limits: Limits, on_event: Listener
    ) -> None:
        self._session = session
        self.store = store
        self._held = held
        self._limits = limits
        self._on_event = on_event
        self._encoder: Encoder | None = None
        self._canary: Canary | None = None
        self.build: BuildRecord
        """The build worked on, from `prepare` on."""

    def check(self) -> None:
        if self._held.lost.is_set():
            raise LeaseLost(
                "another run took the lease over; what it has not seen was not written",
                where=self._session.spec.name,
                fix="run `embedspec reconcile` again",
            )

    # -- before the first write -------------------------------------------------------------------
    def prepare(self, seen: Observation) -> BuildRecord:
        """Load and check the model if there is anything to embed, write the lock file, create the
        build. A wrong model ends here, with nothing written."""
        decision = seen.work.decision
        # An index that is new in this store, filled from the cache alone, needs canaries of its own:
        # without them no later run and no reader could be checked.
        if len(seen.coverage.embed) or (decision.makes_build and self._canary_for(seen) is None):
            self._load(seen)
        if not decision.follow_live:
            self._session.write_lock()
        if not decision.makes_build:
            assert decision.work is not None  # an empty plan is not brought here
            self.build = decision.work
            return self.build
        state = seen.record.state if seen.record else IndexState()
        now = seen.record.now if seen.record else datetime.now(UTC)
        state, self.build = new_build(seen.desired, state, now, self._canary_for(seen))
        retrying(lambda: self.store.create_build(self._held.lease, state, self.build))
        return self.build

    def _load(self, seen: Observation) -> Encoder:
        if self._encoder is None:
            self._on_event(Event("load", f"loading {seen.model.resolved.use}"))
            self._encoder, self._canary = load_checked_encoder(
                seen.model,
                seen.record,
                self._session.loaded.base,
                self._session.home,
                engine=self._session.spec.model.engine,
            )
        return self._encoder

    def _canary_for(self, seen: Observation) -> Canary | None:
        return self._canary or find_canary(seen.record, seen.model.fingerprint)

    # -- rows -------------------------------------------------------------------------------------
    def fill(self, seen: Observation, outcome: Outcome) -> None:
        """One pass: patch, embed and write, then delete. Deletes come last, so that a document that
        moved to another id is never absent; none are made once a limit was reached."""
        self._patch(seen, outcome)
        if not self._stopped():
            self._embed_and_write(seen, outcome)
        if not self._stopped():
            self._delete(seen, outcome)

    def _stopped(self) -> bool:
        self.check()
        return self._limits.reached()

    def _patch(self, seen: Observation, outcome: Outcome) -> None:
        at = seen.work.patch
        if not len(at):
            return
        step = self._session.adapter.capabilities.write_batch_rows
        batch: list[Row] = []
        for row in _planned_rows(seen, at, outcome.flow, same_text=True):
            batch.append(row)
            if len(batch) >= step:
                self._patch_batch(batch, outcome, len(at))
                batch = []
                if self._stopped():
                    return
        self._patch_batch(batch, outcome, len(at))

    def _patch_batch(self, batch: list[Row], outcome: Outcome, total: int) -> None:
        if not batch:
            return
        started = time.perf_counter()
        keys = hash_array([row.key for row in batch])
        hashes = hash_array([row.metadata_hash for row in batch])
        texts = [row.metadata for row in batch]
        outcome.patched += retrying(
            lambda: self.store.patch(self._held.lease, self.build, keys, hashes, texts)
        )
        outcome.write_s += time.perf_counter() - started
        self._on_event(Event("patch", "", done=outcome.patched, total=total, unit="rows"))

    def _embed_and_write(self, seen: Observation, outcome: Outcome) -> None:
        work = seen.work
        at = work.written
        if not len(at) and not len(work.takeover):
            return
        writer = RowWriter(
            self.store,
            self._held.lease,
            self.build,
            seen.bases,
            batch_rows=self._session.adapter.capabilities.write_batch_rows,
            normalized=bool(self.build.identity["vector"]["normalized"]),
            check=self.check,
            on_event=self._on_event,
            expected_rows=len(at) + len(work.takeover),
        )
        pipeline = Pipeline(
            cache=seen.cache,
            needed=work.needed,
            base_contents=seen.base_contents,
            tokens=seen.tokens,
            load_encoder=lambda: self._load(seen),
            writer=writer,
            limits=self._limits,
            expected_tokens=seen.coverage.tokens,
            on_event=self._on_event,
        )
        taken_over = list(self._taken_over(seen))

        def rows() -> Iterator[Row]:
            yield from taken_over
            yield from _planned_rows(seen, at, pipeline.flow)

        flow = pipeline.run(rows())
        outcome.written += writer.done
        outcome.write_s += writer.busy_s
        outcome.flow.add(flow)
        outcome.flow.moved += len(writer.not_found)
        full = seen.cache.unwritable
        if full is not None and full.what not in outcome.notes:
            outcome.notes.append(full.what)

    def _taken_over(self, seen: Observation) -> Iterator[Row]:
        """Rows of the live build for documents that cannot be read now (few: dead letters)."""
        live = seen.work.decision.live
        if live is None or not len(seen.work.takeover):
            return
        for row in retrying(lambda: list(self.store.rows(live, seen.work.takeover))):
            yield Row(
                row.key,
                row.id,
                row.chunk,
                row.text,
                row.metadata,
                row.content,
                row.metadata_hash,
                place=f"build {live.id}",
                fresh=True,
            )

    def _delete(self, seen: Observation, outcome: Outcome) -> None:
        keys: HashArray = seen.work.delete
        step = self._session.adapter.capabilities.write_batch_rows
        started = time.perf_counter()
        for start in range(0, len(keys), step):
            self.check()
            part = keys[start : start + step]
            outcome.deleted += retrying(
                lambda p=part: self.store.delete(self._held.lease, self.build, p)  # type: ignore[misc]
            )
            self._on_event(Event("delete", "", done=outcome.deleted, total=len(keys), unit="rows"))
        outcome.write_s += time.perf_counter() - started

    # -- after the rows ---------------------------------------------------------------------------
    def finish(self, outcome: Outcome) -> None:
        self.check()
        self._on_event(Event("index", "building the index"))
        started = time.perf_counter()
        done = retrying(lambda: self.store.finish(self._held.lease, self.build))
        outcome.notes += done.notes
        outcome.index_s += time.perf_counter() - started

    def verify(self, seen: Observation, outcome: Outcome) -> None:
        """Before readers move: the build holds exactly the rows it should. Raises StoreError."""
        if outcome.flow.moved:
            return  # the corpus moved under the run; the next one brings the build up to date
        dead = {letter.id for letter in outcome.flow.dead if letter.id is not None}
        gone = document_prefixes(hash_array([row_key(d, 0) for d in dead]))
        expected = seen.corpus.rows.take(~np.isin(document_prefixes(seen.corpus.rows.key), gone))
        found = retrying(lambda: RowHashes.concat(list(self.store.scan(self.build))))
        spared = np.concatenate([seen.corpus.protected, gone])
        diff = compare(expected, found, spared, deletes=seen.corpus.complete)
        if not diff.empty:
            raise StoreError(
                f"build {self.build.id} does not hold what was written: {len(diff.insert)} rows missing, "
                f"{len(diff.replace)} with another text, {len(diff.patch)} with other metadata, "
                f"{len(diff.delete)} too many; readers were not moved",
                where=self._session.spec.name,
                fix="run `embedspec reconcile` again; if it stays so, look for another writer",
            )


def _planned_rows(seen: Observation, at: Indices, flow: Flow, *, same_text: bool = False) -> Iterator[Row]:
    """The records behind these corpus rows, read again and hashed again. What moved since planning
    is counted: a changed text is taken as it is now, or left out where only rows of the `same_text`
    are wanted; another document at that place is left to the next run."""
    rows = seen.corpus.rows
    at = at[np.argsort(seen.corpus.positions[at])]
    positions = seen.corpus.positions[at]
    keys, contents = hash_list(rows.key[at]), hash_list(rows.content[at])
    fresh = np.zeros(len(rows), dtype=bool)
    fresh[seen.work.insert] = True
    is_fresh = fresh[at].tolist()
    in_order: list[int] = positions.tolist()
    found = index = 0
    for record in seen.reading.records(positions):
        if isinstance(record, DeadLetter):
            continue
        index = bisect_left(in_order, record.position, index)  # they come in this order
        if record.key != keys[index]:
            continue
        found += 1
        if record.content != contents[index]:
            flow.moved += 1
            if same_text or not record.text:
                continue
        yield Row(
            record.key,
            record.id,
            0,
            record.text,
            record.metadata,
            record.content,
            record.metadata_hash,
            record.place,
            is_fresh[index],
        )
    flow.moved += len(positions) - found
