"""What turns a text into a vector, as canonical JSON-able data; its hash is the fingerprint.

In it: everything that changes a vector, with defaults written out. Not in it: names, paths,
devices, the model card, the query prompt, configuration that no vector depends on.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from embedspec.errors import ModelError
from embedspec.models.resolve import ResolvedModel

NUMERIC_CLASSES = {"auto": "full", "float32": "float32"}
"""`model.weights` -> numeric class. `full`: float32 and bfloat16 arithmetic, interchangeable as
long as the canaries agree."""


def model_identity(resolved: ResolvedModel) -> dict[str, Any]:
    """The model's part of the identity: what `embedspec.lock` pins."""
    projections = []
    for file, projection in zip(
        resolved.weights[len(resolved.transformer_weights) :], resolved.modules.projections, strict=True
    ):
        settings = asdict(projection)
        del settings["path"]
        projections.append({**settings, "weights": resolved.files[file]})
    return {
        "weights": [resolved.files[name] for name in resolved.transformer_weights],
        "architecture": resolved.architecture.canonical(),
        "tokenizer": {
            "file": resolved.files[resolved.tokenizer_file],
            "lower_case": resolved.tokenizer.lower_case,
            "bert_normalizer": None
            if resolved.tokenizer.bert_normalizer is None
            else dict(resolved.tokenizer.bert_normalizer),
            "truncation_side": resolved.tokenizer.truncation_side,
        },
        "modules": {
            "pooling": list(resolved.modules.pooling),
            "projections": projections,
            "normalize": resolved.modules.normalize,
        },
        "window": resolved.window,
    }


def encoder_identity(resolved: ResolvedModel, document_prompt: str, weights: str = "auto") -> dict[str, Any]:
    """The encoder identity of DESIGN.md. `weights` is the spec's `model.weights`."""
    if weights not in NUMERIC_CLASSES:
        raise ModelError(f"weights {weights!r} are not known; known: {', '.join(NUMERIC_CLASSES)}")
    return {
        **model_identity(resolved),
        "document_prompt": document_prompt,
        "numeric": NUMERIC_CLASSES[weights],
    }
