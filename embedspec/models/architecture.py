"""What a transformer's config.json says, read strictly: anything not understood is refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from embedspec.errors import ModelError

FAMILIES = ("bert",)
"""Values of `model_type` that a graph is built for."""

ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}
"""`hidden_act` as transformers spells it -> one name per function."""


@dataclass(frozen=True, slots=True)
class BertArchitecture:
    """A BERT encoder: everything of config.json that changes a vector, defaults written out."""

    layers: int
    hidden: int
    heads: int
    intermediate: int
    activation: str
    layer_norm_epsilon: float
    vocabulary: int
    positions: int
    token_types: int

    @property
    def head_size(self) -> int:
        return self.hidden // self.heads

    def canonical(self) -> dict[str, Any]:
        """JSON-able form for identities; equal for configs that differ only in what is unused."""
        return {"family": "bert", **asdict(self)}

    def tensors(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Name and shape of every tensor the graph needs, in checkpoint order."""
        h, i = self.hidden, self.intermediate
        yield "embeddings.word_embeddings.weight", (self.vocabulary, h)
        yield "embeddings.position_embeddings.weight", (self.positions, h)
        yield "embeddings.token_type_embeddings.weight", (self.token_types, h)
        yield "embeddings.LayerNorm.weight", (h,)
        yield "embeddings.LayerNorm.bias", (h,)
        for layer in range(self.layers):
            prefix = f"encoder.layer.{layer}."
            for part in ("query", "key", "value"):
                yield f"{prefix}attention.self.{part}.weight", (h, h)
                yield f"{prefix}attention.self.{part}.bias", (h,)
            for part, shape in (
                ("attention.output.dense", (h, h)),
                ("intermediate.dense", (i, h)),
                ("output.dense", (h, i)),
            ):
                yield f"{prefix}{part}.weight", shape
                yield f"{prefix}{part}.bias", (shape[0],)
            for part in ("attention.output.LayerNorm", "output.LayerNorm"):
                yield f"{prefix}{part}.weight", (h,)
                yield f"{prefix}{part}.bias", (h,)


def read_architecture(config: Mapping[str, Any], where: str) -> BertArchitecture:
    """The architecture that a config.json describes. Defaults are those of transformers' BertConfig.

    `where` names the file for messages. Raises ModelError for a family, option or value that the
    graph builder does not cover: guessing would change vectors without a word.
    """
    if "auto_map" in config:
        raise ModelError(
            "the model asks for remote code (`auto_map`), which is never run",
            where=where,
            fix="use a model that needs no code of its own, or a copy converted to plain BERT",
        )
    family = config.get("model_type")
    if family not in FAMILIES:
        raise ModelError(
            f"model_type {family!r} has no graph builder; covered: {', '.join(FAMILIES)}",
            where=where,
            fix="use a BERT-shaped encoder, e.g. sentence-transformers/all-MiniLM-L6-v2",
        )
    if config.get("is_decoder") or config.get("add_cross_attention"):
        raise ModelError("a BERT decoder (`is_decoder`) is not an encoder of texts", where=where)
    if config.get("position_embedding_type", "absolute") != "absolute":
        raise ModelError(
            f"position_embedding_type {config['position_embedding_type']!r} is not covered; only absolute is",
            where=where,
        )
    activation = config.get("hidden_act", "gelu")
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        raise ModelError(
            f"hidden_act {activation!r} is not covered; covered: {', '.join(ACTIVATIONS)}", where=where
        )

    def count(key: str, default: int) -> int:
        value = config.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ModelError(f"{key} must be a whole number above 0, not {value!r}", where=where)
        return value

    epsilon = config.get("layer_norm_eps", 1e-12)
    if not isinstance(epsilon, int | float) or isinstance(epsilon, bool) or not 0 < epsilon < 1:
        raise ModelError(f"layer_norm_eps must be between 0 and 1, not {epsilon!r}", where=where)
    architecture = BertArchitecture(
        layers=count("num_hidden_layers", 12),
        hidden=count("hidden_size", 768),
        heads=count("num_attention_heads", 12),
        intermediate=count("intermediate_size", 3072),
        activation=ACTIVATIONS[activation],
        layer_norm_epsilon=float(epsilon),
        vocabulary=count("vocab_size", 30522),
        positions=count("max_position_embeddings", 512),
        token_types=count("type_vocab_size", 2),
    )
    if architecture.hidden % architecture.heads:
        raise ModelError(
            f"hidden_size {architecture.hidden} is not a multiple of "
            f"num_attention_heads {architecture.heads}",
            where=where,
        )
    return architecture
