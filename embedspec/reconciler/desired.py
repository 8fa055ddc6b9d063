"""What the spec asks for, resolved: the three identities, their fingerprints, reader settings.

Pure data: nothing here opens a file or a connection. Two specs that differ only in things which
change no vector and no row (description, order of keys, defaults written out) give equal objects.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from embedspec.spec.identity import fingerprint
from embedspec.spec.model import Source, Spec
from embedspec.spec.template import parse_template
from embedspec.stores.protocol import ResolvedTarget
from embedspec.stores.records import BuildRecord, Fingerprints, ModelReference
from embedspec.types import FieldType, Metric, Quantization, StorageDefinition

TEXT_FORMAT = 1
"""Raised when the same template and chunker would give other texts than before."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What planning needs to know of a resolved model; no weights are loaded for it."""

    reference: ModelReference
    encoder: Mapping[str, Any]
    """The encoder identity in full."""
    native_dimension: int
    normalizes: bool
    """The model's own modules end in L2 normalisation."""
    query_prompt: str
    matryoshka: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class Recipe:
    """How records become rows: what `corpus` needs, either of the spec or of a stored build."""

    source: Source
    template: str
    fields: Mapping[str, FieldType]


@dataclass(frozen=True, slots=True)
class Desired:
    """The build and the reader settings that the spec asks for."""

    name: str
    spec: Mapping[str, Any]
    model: ModelReference
    identity: Mapping[str, Any]
    fingerprints: Fingerprints
    storage: StorageDefinition
    recipe: Recipe
    query_prompt: str
    search: Mapping[str, Any]
    reader: str
    source: str
    keep_builds: int
    warnings: tuple[str, ...]


def reader_fingerprint(query_prompt: str, search: Mapping[str, Any]) -> str:
    return fingerprint({"query_prompt": query_prompt, "search": dict(search)})


def desire(spec: Spec, model: ModelFacts, target: ResolvedTarget) -> Desired:
    """Put the identities together. The vector identity holds `normalized` beside dimension and
    quantization: a model that does not normalise by itself gives other vectors under cosine
    (renormalised) than under dot, so there a change of metric is no mere reindex."""
    storage = target.storage
    encoder = dict(model.encoder)
    vector = {
        "encoder": fingerprint(encoder),
        "dimension": storage.dimension,
        "quantization": storage.quantization.value,
        "normalized": model.normalizes or storage.metric is Metric.cosine,
    }
    text = {
        "template": str(parse_template(spec.corpus.text)),
        "chunking": spec.corpus.chunking,
        "format": TEXT_FORMAT,
    }
    placed = {
        "store": spec.target["store"],
        "metric": storage.metric.value,
        "index": dict(storage.index),
        "adapter_format": storage.adapter_format,
    }
    identity = {"encoder": encoder, "vector": vector, "text": text, "storage": placed}
    fingerprints = Fingerprints(
        encoder=fingerprint(encoder),
        vector=fingerprint(vector),
        build=fingerprint({"vector": vector, "text": text, "storage": placed}),
    )
    return Desired(
        name=spec.name,
        spec=spec.model_dump(mode="json"),
        model=model.reference,
        identity=identity,
        fingerprints=fingerprints,
        storage=storage,
        recipe=Recipe(spec.corpus.source, spec.corpus.text, {f.path: f.type for f in spec.corpus.metadata}),
        query_prompt=model.query_prompt,
        search=dict(target.search),
        reader=reader_fingerprint(model.query_prompt, target.search),
        source=_describe_source(spec),
        keep_builds=spec.keep_builds,
        warnings=(*_dimension_warnings(storage, model), *target.warnings),
    )


def _describe_source(spec: Spec) -> str:
    source = spec.corpus.source
    paths = [source.path] if isinstance(source.path, str) else list(source.path)
    return f"{source.type} {', '.join(paths)}"


def _dimension_warnings(storage: StorageDefinition, model: ModelFacts) -> tuple[str, ...]:
    if storage.dimension == model.native_dimension:
        return ()
    if model.matryoshka is None:
        return (
            f"dimension {storage.dimension} of {model.native_dimension}: the model does not say that "
            "it was trained for shorter vectors (Matryoshka); measure the loss with `embedspec eval`",
        )
    if storage.dimension not in model.matryoshka:
        known = ", ".join(map(str, model.matryoshka))
        return (
            f"dimension {storage.dimension} is not among the lengths the model was trained for ({known})",
        )
    return ()


def holds_full_vectors(build: BuildRecord, encoder: str, native_dimension: int) -> bool:
    """Whether a build's rows are the encoder's own full-length float32 vectors, from which any
    other cut can be computed."""
    vector = build.identity["vector"]
    untouched = bool(build.identity["encoder"]["modules"]["normalize"]) or not vector["normalized"]
    return (
        build.fingerprints.encoder == encoder
        and build.dimension == native_dimension
        and build.quantization is Quantization.float32
        and untouched
    )
