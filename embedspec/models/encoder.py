"""Encoders: one interface to every engine, and the choice of the engine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

from embedspec.errors import CapabilityError
from embedspec.models.resolve import ResolvedModel
from embedspec.models.tokenization import Ids
from embedspec.types import Matrix

Tag = TypeVar("Tag")

ENGINES = ("openvino",)
"""What `engine: auto` may choose from."""


class Encoder(Protocol):
    """A loaded model. Vectors are float32 at full length, normalised if the model's modules say so.

    A text's vector does not depend on the texts beside it in a batch beyond rounding: cosine above
    1 - 1e-6 in float32 arithmetic, above 0.9999 in bfloat16.
    """

    @property
    def resolved(self) -> ResolvedModel: ...

    @property
    def dimension(self) -> int:
        """Numbers in a vector, before any cut."""
        ...

    @property
    def numeric(self) -> str:
        """Arithmetic in use: `f32` or `bf16`."""
        ...

    @property
    def engine_version(self) -> str:
        """Engine and version, e.g. `openvino 2026.4.1`."""
        ...

    @property
    def device(self) -> str:
        """What it runs on, e.g. the processor's name and the number of cores in use."""
        ...

    @property
    def budget_tokens(self) -> int:
        """Padded tokens of a batch at which this engine runs best."""
        ...

    def encode(self, texts: Sequence[str], prompt: str = "") -> Matrix:
        """(n, dimension) vectors of the texts, in their order."""
        ...

    def embed(self, batches: Iterable[tuple[Tag, Sequence[Ids]]]) -> Iterator[tuple[Tag, Matrix]]:
        """Vectors of batches of token ids, in order, while the next batches are worked on.

        Takes at most four batches ahead of what the caller has received. A batch that does not
        fit into memory is halved until it does.
        """
        ...


def load_encoder(resolved: ResolvedModel, *, engine: str = "auto", weights: str = "auto") -> Encoder:
    """Load a resolved model.

    `weights`: `auto` takes the fastest arithmetic that agrees with float32 (bfloat16 where the
    processor has it), `float32` pins float32. Raises ModelError if weights are missing or not what
    the configuration says; CapabilityError if the engine is not installed.
    """
    if engine not in ("auto", *ENGINES):
        raise CapabilityError(f"engine {engine!r} is not known; known: auto, {', '.join(ENGINES)}")
    if weights not in ("auto", "float32"):
        raise CapabilityError(f"weights {weights!r} are not known; known: auto, float32")
    from embedspec.models.openvino_engine import OpenVinoEncoder

    return OpenVinoEncoder(resolved, pinned_float32=weights == "float32")
