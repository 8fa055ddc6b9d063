"""BERT as an OpenVINO graph, built straight from config.json and safetensors. No torch.

Inputs: `ids` (rows, length) int32 and `mask` (rows, length) int32, 1 for tokens and 0 for padding.
Output: (rows, native dimension) float32, before normalising. Proved against transformers for every
option it claims (tests/models/test_reference.py).
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from embedspec.errors import CapabilityError
from embedspec.models.resolve import ResolvedModel
from embedspec.models.weights import Checkpoint, read_projection


def import_openvino() -> Any:
    """The openvino module, or CapabilityError that says what to install."""
    # Without this, the import sends an event to an analytics service and writes into the home folder.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError as error:
        raise CapabilityError(
            f"the openvino engine is not installed ({error})", fix="pip install 'embedspec[openvino]'"
        ) from error
    return openvino


def build_graph(resolved: ResolvedModel) -> Any:
    """The `openvino.Model` of the resolved folder. Raises ModelError for anything missing."""
    openvino = import_openvino()
    from openvino import opset13 as op

    bert = resolved.architecture
    weights = Checkpoint(
        [resolved.folder / name for name in resolved.transformer_weights], bert, resolved.use
    )

    def constant(value: Any, dtype: Any = np.float32) -> Any:
        # The constant keeps the array alive instead of a copy of it.
        return op.constant(np.asarray(value, dtype=dtype, order="C"), shared_memory=True)

    def dense(x: Any, name: str) -> Any:
        product = op.matmul(x, constant(weights.tensor(f"{name}.weight")), False, True)
        return op.add(product, constant(weights.tensor(f"{name}.bias")))

    def layer_norm(x: Any, name: str) -> Any:
        last = constant([-1], np.int64)
        normal = op.mvn(x, last, normalize_variance=True, eps=bert.layer_norm_epsilon, eps_mode="inside_sqrt")
        scaled = op.multiply(normal, constant(weights.tensor(f"{name}.weight")))
        return op.add(scaled, constant(weights.tensor(f"{name}.bias")))

    split = constant([0, 0, bert.heads, bert.head_size], np.int64)
    merge = constant([0, 0, bert.hidden], np.int64)
    swap = constant([0, 2, 1, 3], np.int64)

    def heads(x: Any) -> Any:
        """(rows, length, hidden) -> (rows, heads, length, head size)."""
        return op.transpose(op.reshape(x, split, special_zero=True), swap)

    ids = op.parameter([-1, -1], np.int32, name="ids")
    mask = op.parameter([-1, -1], np.int32, name="mask")
    zero, one = constant(0, np.int64), constant(1, np.int64)
    length = op.gather(op.shape_of(ids), one, zero)
    positions = op.range(zero, length, one, output_type="i64")
    # Single texts have token type 0 throughout, so its row is added to every position beforehand.
    place = weights.tensor("embeddings.position_embeddings.weight")
    place = place + weights.tensor("embeddings.token_type_embeddings.weight")[0]
    words = op.gather(constant(weights.tensor("embeddings.word_embeddings.weight")), ids, zero)
    x = op.add(words, op.gather(constant(place), positions, zero))
    x = layer_norm(x, "embeddings.LayerNorm")
    # (rows, 1, 1, length): True where a token may be looked at.
    seen = op.unsqueeze(op.convert(mask, "boolean"), constant([1, 2], np.int64))
    for layer in range(bert.layers):
        name = f"encoder.layer.{layer}"
        attended = op.scaled_dot_product_attention(
            heads(dense(x, f"{name}.attention.self.query")),
            heads(dense(x, f"{name}.attention.self.key")),
            heads(dense(x, f"{name}.attention.self.value")),
            seen,
        )
        attended = op.reshape(op.transpose(attended, swap), merge, special_zero=True)
        attended = dense(attended, f"{name}.attention.output.dense")
        x = layer_norm(op.add(attended, x), f"{name}.attention.output.LayerNorm")
        inner = _activation(op, bert.activation, dense(x, f"{name}.intermediate.dense"))
        x = layer_norm(op.add(dense(inner, f"{name}.output.dense"), x), f"{name}.output.LayerNorm")
    pooled = _pool(op, constant, x, mask, resolved.modules.pooling)
    projection_files = resolved.weights[len(resolved.transformer_weights) :]
    for file, projection in zip(projection_files, resolved.modules.projections, strict=True):
        weight, bias = read_projection(resolved.folder / file, projection, resolved.use)
        pooled = op.matmul(pooled, constant(weight), False, True)
        if bias is not None:
            pooled = op.add(pooled, constant(bias))
        pooled = _activation(op, projection.activation, pooled)
    return openvino.Model([op.result(pooled)], [ids, mask], "bert")


def _activation(op: Any, name: str, x: Any) -> Any:
    match name:
        case "gelu":
            return op.gelu(x, "erf")
        case "gelu_tanh":
            return op.gelu(x, "tanh")
        case "relu":
            return op.relu(x)
        case "silu":
            return op.swish(x)
        case "tanh":
            return op.tanh(x)
        case "identity":
            return x
        case _:
            raise AssertionError(f"activation {name!r} passed the folder's checks but has no graph")


def _pool(op: Any, constant: Any, x: Any, mask: Any, modes: tuple[str, ...]) -> Any:
    """(rows, length, hidden) -> (rows, hidden x modes). Every row has at least one token."""
    zero, rows = constant(0, np.int64), constant([1], np.int64)
    weight = op.unsqueeze(op.convert(mask, "f32"), constant([2], np.int64))
    parts = []
    for mode in modes:
        match mode:
            case "cls":
                parts.append(op.gather(x, zero, constant(1, np.int64)))
            case "max":
                hidden = op.multiply(op.subtract(constant(1.0), weight), constant(-1e30))
                parts.append(op.reduce_max(op.add(op.multiply(x, weight), hidden), rows))
            case "mean" | "mean_sqrt_len":
                total = op.reduce_sum(op.multiply(x, weight), rows)
                tokens = op.reduce_sum(weight, rows)
                parts.append(op.divide(total, op.sqrt(tokens) if mode == "mean_sqrt_len" else tokens))
            case _:
                raise AssertionError(f"pooling {mode!r} passed the folder's checks but has no graph")
    return parts[0] if len(parts) == 1 else op.concat(parts, 1)
