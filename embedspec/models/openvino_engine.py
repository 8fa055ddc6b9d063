"""The CPU engine: compiled graph, batches padded and kept in flight, memory errors halved."""

from __future__ import annotations

import contextlib
import logging
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from embedspec.errors import EmbedspecError, ModelError
from embedspec.models.batching import padded_length, token_budget_batches
from embedspec.models.openvino_bert import build_graph, import_openvino
from embedspec.models.resolve import ResolvedModel
from embedspec.models.tokenization import Ids, TextTokenizer
from embedspec.types import Matrix

Tag = TypeVar("Tag")
_log = logging.getLogger(__name__)

_STREAMS = 2
"""Batches computed side by side, each on half of the cores; the tokenizer and the copying of
results of one hide behind the other."""
_OUT_OF_MEMORY = ("alloc", "out of memory", "could not create a memory")
"""Signs in the texts of openvino, oneDNN and the C++ library ("Failed to allocate …", "can't alloc",
"std::bad_alloc"); openvino has no error class for it."""


class _OutOfMemory(Exception):
    """The engine could not allocate what a batch needs."""


@dataclass(frozen=True, slots=True)
class _Started(Generic[Tag]):
    """A batch at work on a request."""

    tag: Tag
    rows: Sequence[Ids]
    request: Any


class OpenVinoEncoder:
    """An `Encoder` on the processor."""

    budget_tokens = 1024

    def __init__(self, resolved: ResolvedModel, *, pinned_float32: bool) -> None:
        for name in resolved.weights:
            if not (resolved.folder / name).is_file():
                raise ModelError(f"the weights {name} were not fetched", where=resolved.use)
        openvino = import_openvino()
        core = openvino.Core()
        fast_bf16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        self._cores = len(os.sched_getaffinity(0))
        self.resolved = resolved
        self.dimension = resolved.native_dimension
        self.numeric = "bf16" if fast_bf16 and not pinned_float32 else "f32"
        self.engine_version = "openvino " + openvino.get_version().split("-")[0]
        self.device = f"{core.get_property('CPU', 'FULL_DEVICE_NAME').strip()} ({self._cores} cores)"
        self._core = core
        self._requests = self._compile()
        self._tokenizers: dict[str, TextTokenizer] = {}

    def _compile(self) -> list[Any]:
        """Infer requests: for each batch that is computed at a time, and one that waits."""
        streams = min(_STREAMS, self._cores)
        compiled = self._core.compile_model(
            build_graph(self.resolved),
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": self.numeric,
                "NUM_STREAMS": str(streams),
                "INFERENCE_NUM_THREADS": str(self._cores),
                # Pinned threads of two processes would sit on the same cores.
                "ENABLE_CPU_PINNING": False,
            },
        )
        # One more than are computed: the next batch waits inside the engine, so that no stream has to
        # wait until this process gets its turn on a busy machine.
        return [compiled.create_infer_request() for _ in range(streams + 1)]

    def encode(self, texts: Sequence[str], prompt: str = "") -> Matrix:
        """(n, dimension) float32, in the order of `texts`."""
        tokenizer = self._tokenizers.get(prompt)
        if tokenizer is None:
            tokenizer = self._tokenizers[prompt] = TextTokenizer(self.resolved, prompt)
        tokens = tokenizer.encode(texts)
        result = np.empty((len(texts), self.dimension), dtype=np.float32)
        batches = token_budget_batches(tokens.lengths, self.budget_tokens)
        for index, vectors in self.embed((index, [tokens.ids[i] for i in index]) for index in batches):
            result[index] = vectors
        return result

    def embed(self, batches: Iterable[tuple[Tag, Sequence[Ids]]]) -> Iterator[tuple[Tag, Matrix]]:
        """See `Encoder.embed`. Two batches are computed, one is held ready."""
        running: deque[_Started[Tag]] = deque()
        try:
            for tag, rows in batches:
                done = self._finish(running) if len(running) == len(self._requests) else None
                running.append(self._start(tag, rows, running))
                if done is not None:
                    yield done
            while running:
                yield self._finish(running)
        finally:
            # The caller stopped early, or a batch failed: leave no request at work. They are not
            # cancelled, which leaves a graph behind that fails on its next batch.
            for started in running:
                _wait_quietly(started.request)

    def _start(self, tag: Tag, rows: Sequence[Ids], running: Iterable[_Started[Any]] = ()) -> _Started[Tag]:
        """Start a batch on a request that is not at work. Texts have at least one token each."""
        busy = [started.request for started in running]
        request = next(request for request in self._requests if request not in busy)
        if rows:
            request.start_async(_pad(rows), share_inputs=False)
        return _Started(tag, rows, request)

    def _finish(self, running: deque[_Started[Tag]]) -> tuple[Tag, Matrix]:
        """Wait for the oldest batch; if memory did not suffice, do it again in halves.

        A failed batch leaves its stream's graph in a state in which the next one fails too or, for
        all we know, comes out wrong. So the graph is compiled anew, and whatever was started
        meanwhile is done again.
        """
        oldest = running.popleft()
        try:
            return oldest.tag, self._collect(oldest)
        except _OutOfMemory:
            pass  # handled below, where no traceback keeps the request and its memory alive
        again = []
        while running:
            _wait_quietly(running[0].request)
            again.append((running[0].tag, running[0].rows))
            running.popleft()
        tag, rows = oldest.tag, oldest.rows
        del oldest  # with the last reference to a request, the old graph's memory goes
        vectors = self._in_halves(rows)
        for later_tag, later_rows in again:
            running.append(self._start(later_tag, later_rows, running))
        return tag, vectors

    def _in_halves(self, rows: Sequence[Ids]) -> Matrix:
        """The vectors of a batch that did not fit, with everything else at rest."""
        if len(rows) == 1:
            raise EmbedspecError(
                f"out of memory for one text of {len(rows[0])} tokens",
                fix="free memory, or run on a larger machine",
            )
        _log.warning("out of memory for a batch of %d texts; trying halves", len(rows))
        self._requests = []
        self._requests = self._compile()
        middle = len(rows) // 2
        halves = []
        for half in (rows[:middle], rows[middle:]):
            try:
                halves.append(self._collect(self._start(None, half)))
                continue
            except _OutOfMemory:
                pass
            halves.append(self._in_halves(half))
        return np.concatenate(halves)

    def _collect(self, started: _Started[Any]) -> Matrix:
        if not started.rows:
            return np.empty((0, self.dimension), dtype=np.float32)
        try:
            started.request.wait()
            output = started.request.get_output_tensor().data
            vectors: Matrix = np.array(output, dtype=np.float32, copy=True)
        except (RuntimeError, MemoryError) as error:
            if _is_out_of_memory(error):
                raise _OutOfMemory from None
            raise
        return _normalized(vectors) if self.resolved.modules.normalize else vectors


def _pad(rows: Sequence[Ids]) -> list[np.ndarray[Any, Any]]:
    """ids and mask, (rows, padded length) int32. The id of padding does not matter: it is masked."""
    width = padded_length(max(len(row) for row in rows))
    ids = np.zeros((len(rows), width), dtype=np.int32)
    mask = np.zeros((len(rows), width), dtype=np.int32)
    for at, row in enumerate(rows):
        ids[at, : len(row)] = row
        mask[at, : len(row)] = 1
    return [ids, mask]


def _normalized(vectors: Matrix) -> Matrix:
    """Rows of length 1 (zero rows stay), in float32 whatever arithmetic the graph ran in."""
    norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    unit: Matrix = (vectors / np.maximum(norms, 1e-12)[:, None]).astype(np.float32)
    return unit


def _is_out_of_memory(error: Exception) -> bool:
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(sign in text for sign in _OUT_OF_MEMORY)


def _wait_quietly(request: Any) -> None:
    """Wait until a request is at rest, whatever became of it."""
    with contextlib.suppress(RuntimeError, MemoryError):
        request.wait()
