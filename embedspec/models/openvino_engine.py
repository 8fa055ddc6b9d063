"""The CPU engine: compiled graph, batches padded and kept in flight, memory errors halved."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from embedspec.errors import EmbedspecError, ModelError
from embedspec.models.batching import padded_length, token_budget_batches
from embedspec.models.openvino_bert import build_graph, import_openvino
from embedspec.models.resolve import ResolvedModel
from embedspec.models.tokenization import Ids, TextTokenizer
from embedspec.types import Matrix

Tag = TypeVar("Tag")

_STREAMS = 2
"""Batches computed side by side, each on half of the cores; the tokenizer and the copying of
results of one hide behind the other."""
_OUT_OF_MEMORY = ("bad_alloc", "out of memory", "cannot allocate", "could not allocate", "not enough memory")


class OpenVinoEncoder:
    """An `Encoder` on the processor."""

    budget_tokens = 1024

    def __init__(self, resolved: ResolvedModel, *, pinned_float32: bool) -> None:
        for name in resolved.weights:
            if not (resolved.folder / name).is_file():
                raise ModelError(f"the weights {name} were not fetched", where=resolved.use)
        openvino = import_openvino()
        graph = build_graph(resolved)
        core = openvino.Core()
        fast_bf16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        cores = len(os.sched_getaffinity(0))
        self.resolved = resolved
        self.dimension = resolved.native_dimension
        self.numeric = "bf16" if fast_bf16 and not pinned_float32 else "f32"
        self.engine_version = "openvino " + openvino.get_version().split("-")[0]
        self.device = f"{core.get_property('CPU', 'FULL_DEVICE_NAME').strip()} ({cores} cores)"
        streams = min(_STREAMS, cores)
        compiled = core.compile_model(
            graph,
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": self.numeric,
                "NUM_STREAMS": str(streams),
                "INFERENCE_NUM_THREADS": str(cores),
                # Pinned threads of two processes would sit on the same cores.
                "ENABLE_CPU_PINNING": False,
            },
        )
        self._requests = [compiled.create_infer_request() for _ in range(streams)]
        self._tokenizers: dict[str, TextTokenizer] = {}

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
        free = deque(self._requests)
        running: deque[tuple[Tag, Sequence[Ids], Any]] = deque()
        try:
            for tag, rows in batches:
                done = None
                if not free:
                    done_tag, done_rows, request = running.popleft()
                    free.append(request)
                    done = (done_tag, self._collect(request, done_rows))
                request = free.popleft()
                self._start(request, rows)
                running.append((tag, rows, request))
                if done is not None:
                    yield done
            while running:
                tag, rows, request = running.popleft()
                yield tag, self._collect(request, rows)
        finally:
            # The caller stopped early, or a batch failed: leave no request at work.
            for _, _, request in running:
                request.cancel()
                _wait_quietly(request)

    def _start(self, request: Any, rows: Sequence[Ids]) -> None:
        if not rows:
            return
        ids, mask = _pad(rows)
        request.start_async([ids, mask], share_inputs=False)

    def _collect(self, request: Any, rows: Sequence[Ids]) -> Matrix:
        """Wait for a started batch; if memory did not suffice, do it in halves."""
        if not rows:
            return np.empty((0, self.dimension), dtype=np.float32)
        try:
            request.wait()
            vectors: Matrix = np.array(request.get_output_tensor().data, dtype=np.float32, copy=True)
        except (RuntimeError, MemoryError) as error:
            if not _is_out_of_memory(error):
                raise
            if len(rows) == 1:
                raise EmbedspecError(
                    f"out of memory for one text of {len(rows[0])} tokens",
                    fix="free memory, or run on a larger machine",
                ) from error
            middle = len(rows) // 2
            return np.concatenate([self._at_once(request, part) for part in (rows[:middle], rows[middle:])])
        return _normalized(vectors) if self.resolved.modules.normalize else vectors

    def _at_once(self, request: Any, rows: Sequence[Ids]) -> Matrix:
        self._start(request, rows)
        return self._collect(request, rows)


def _pad(rows: Sequence[Ids]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """ids and mask, (rows, padded length) int32. The id of padding does not matter: it is masked."""
    width = padded_length(max(len(row) for row in rows))
    ids = np.zeros((len(rows), width), dtype=np.int32)
    mask = np.zeros((len(rows), width), dtype=np.int32)
    for at, row in enumerate(rows):
        ids[at, : len(row)] = row
        mask[at, : len(row)] = 1
    return ids, mask


def _normalized(vectors: Matrix) -> Matrix:
    """Rows of length 1 (zero rows stay), in float32 whatever arithmetic the graph ran in."""
    norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    unit: Matrix = (vectors / np.maximum(norms, 1e-12)[:, None]).astype(np.float32)
    return unit


def _is_out_of_memory(error: Exception) -> bool:
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(sign in text for sign in _OUT_OF_MEMORY)


def _wait_quietly(request: Any) -> None:
    try:
        request.wait()
    except RuntimeError:
        return  # cancelled, as asked
