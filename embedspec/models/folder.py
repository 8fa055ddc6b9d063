"""What a model folder's own files say: modules, pooling, prompts, window. Nothing is assumed.

The folder layout is that of sentence-transformers (versions 1 to 6). The meaning of every key was
read from its source; a key or module that would change vectors and is not covered is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embedspec.errors import ModelError
from embedspec.models.architecture import BertArchitecture, read_architecture
from embedspec.models.folder_files import FolderReader, join
from embedspec.models.modules import Modules, read_module_list, read_modules

TRANSFORMER_SETTINGS = (
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
)
"""File names of the transformer module's settings; the first that is there counts."""

_HARMLESS_ARGUMENTS = {"torch_dtype", "dtype", "attn_implementation", "trust_remote_code", "use_safetensors"}
_UNLIMITED = 10**9
"""Tokenizers without a limit say model_max_length = 10^30."""


@dataclass(frozen=True, slots=True)
class Prompts:
    document: str
    query: str


@dataclass(frozen=True, slots=True)
class TokenizerSettings:
    """What tokenizer_config.json and the transformer module change about tokenizer.json."""

    lower_case: bool
    bert_normalizer: Mapping[str, Any] | None
    """`lowercase`, `strip_accents`, `handle_chinese_chars`, which replace the normalizer of
    tokenizer.json for BERT's own tokenizer class (as transformers does); None: left alone."""
    truncation_side: str


@dataclass(frozen=True, slots=True)
class FolderSettings:
    config: Mapping[str, Any]
    architecture: BertArchitecture
    transformer_path: str
    """Folder of config.json, tokenizer and weights inside the model folder, "" for the top."""
    modules: Modules
    tokenizer: TokenizerSettings
    prompts: Prompts
    window: int
    native_dimension: int
    matryoshka: tuple[int, ...] | None
    files: tuple[str, ...]
    """Relative names of the JSON files that were read, tokenizer.json included; not the weights."""


def read_folder(folder: Path, use: str) -> FolderSettings:
    """Read every setting that shapes vectors. `use` names the model in messages.

    Raises ModelError where something is missing, contradictory or not covered.
    """
    reader = FolderReader(folder, use)
    listed = read_module_list(reader)
    kinds = [kind for kind, _ in listed]
    if kinds[0] != "Transformer":
        raise ModelError(
            f"the first module is {kinds[0]}, not a Transformer", where=reader.where("modules.json")
        )
    transformer = listed[0][1]
    config_name = join(transformer, "config.json")
    config = reader.object(config_name)
    if config is None:
        raise ModelError("config.json is missing", where=reader.where(config_name))
    architecture = read_architecture(config, reader.where(config_name))
    settings = _transformer_settings(reader, transformer)
    tokenizer_config_name = join(transformer, "tokenizer_config.json")
    tokenizer_config = reader.object(tokenizer_config_name) or {}
    tokenizer_name = join(transformer, "tokenizer.json")
    if not (folder / tokenizer_name).is_file():
        raise ModelError(
            "tokenizer.json is missing",
            where=reader.where(tokenizer_name),
            fix="save the tokenizer with transformers' AutoTokenizer.from_pretrained(…).save_pretrained(…)",
        )
    modules, dimension = read_modules(reader, listed, architecture.hidden)
    return FolderSettings(
        config=config,
        architecture=architecture,
        transformer_path=transformer,
        modules=modules,
        tokenizer=_tokenizer_settings(reader, settings, tokenizer_config, tokenizer_config_name),
        prompts=_prompts(reader),
        window=_window(reader, settings, tokenizer_config, architecture, tokenizer_config_name),
        native_dimension=dimension,
        matryoshka=_matryoshka(config, dimension, reader.where(config_name)),
        files=tuple(sorted({*reader.read, tokenizer_name})),
    )


def _transformer_settings(reader: FolderReader, path: str) -> dict[str, Any]:
    """`max_seq_length` and `do_lower_case`; everything else that could change vectors is refused."""
    for candidate in TRANSFORMER_SETTINGS:
        name = join(path, candidate)
        settings = reader.object(name)
        if settings:
            break
    else:
        return {}
    where = reader.where(name)
    task = settings.get("transformer_task", "feature-extraction")
    output = settings.get("module_output_name", "token_embeddings")
    if task != "feature-extraction" or output != "token_embeddings":
        raise ModelError(f"transformer_task {task!r} giving {output!r} is not covered", where=where)
    modality = settings.get("modality_config", {"text": {}})
    text = modality.get("text") if isinstance(modality, dict) else None
    if (
        not isinstance(text, dict)
        or text.get("method", "forward") != "forward"
        or text.get("method_output_name", "last_hidden_state") != "last_hidden_state"
    ):
        raise ModelError(f"modality_config {modality!r} is not covered", where=where)
    for key in (
        "model_args",
        "model_kwargs",
        "tokenizer_args",
        "processor_kwargs",
        "config_args",
        "config_kwargs",
    ):
        extra = set(settings.get(key) or {}) - _HARMLESS_ARGUMENTS
        if extra:
            raise ModelError(f"{key}: {', '.join(sorted(extra))} is not covered", where=where)
    return settings


def _tokenizer_settings(
    reader: FolderReader, settings: Mapping[str, Any], tokenizer_config: Mapping[str, Any], name: str
) -> TokenizerSettings:
    side = tokenizer_config.get("truncation_side", "right")
    if side not in ("left", "right"):
        raise ModelError(f"truncation_side must be left or right, not {side!r}", where=reader.where(name))
    bert = None
    if tokenizer_config.get("tokenizer_class", "BertTokenizer") in ("BertTokenizer", "BertTokenizerFast"):
        bert = {
            "lowercase": bool(tokenizer_config.get("do_lower_case", True)),
            "strip_accents": tokenizer_config.get("strip_accents"),
            "handle_chinese_chars": bool(tokenizer_config.get("tokenize_chinese_chars", True)),
        }
    return TokenizerSettings(bool(settings.get("do_lower_case", False)), bert, side)


def _window(
    reader: FolderReader,
    settings: Mapping[str, Any],
    tokenizer_config: Mapping[str, Any],
    architecture: BertArchitecture,
    tokenizer_config_name: str,
) -> int:
    """Most tokens of one text, prompt and special tokens included. The truncation inside
    tokenizer.json is a leftover of how the file was made and does not count."""
    limits = [architecture.positions]
    for value, name in (
        (settings.get("max_seq_length"), "sentence_bert_config.json: max_seq_length"),
        (tokenizer_config.get("model_max_length"), f"{tokenizer_config_name}: model_max_length"),
    ):
        if value is None:
            continue
        if not isinstance(value, int | float) or isinstance(value, bool) or not value >= 3:
            raise ModelError(f"must be a number of tokens above 2, not {value!r}", where=reader.where(name))
        if value < _UNLIMITED:
            limits.append(int(value))
    return min(limits)


def _prompts(reader: FolderReader) -> Prompts:
    """Prompts as the files name them: `query`; `document`, `passage` or `corpus`; else the default."""
    name = "config_sentence_transformers.json"
    where = reader.where(name)
    settings = reader.object(name) or {}
    prompts = settings.get("prompts") or {}
    if not isinstance(prompts, dict) or not all(isinstance(text, str | None) for text in prompts.values()):
        raise ModelError("`prompts` must map names to texts", where=where)
    default_name = settings.get("default_prompt_name")
    if default_name is not None and default_name not in prompts:
        raise ModelError(f"default_prompt_name {default_name!r} is not among the prompts", where=where)

    def pick(*names: str) -> str:
        for candidate in (*names, default_name):
            if candidate is not None and prompts.get(candidate) is not None:
                return str(prompts[candidate])
        return ""

    return Prompts(document=pick("document", "passage", "corpus"), query=pick("query"))


def _matryoshka(config: Mapping[str, Any], dimension: int, where: str) -> tuple[int, ...] | None:
    """The dimensions that the makers trained cuts for; None if they declare none."""
    declared = config.get("matryoshka_dimensions")
    if declared is None:
        return None
    if not isinstance(declared, list) or not all(
        isinstance(size, int) and 0 < size <= dimension for size in declared
    ):
        raise ModelError(
            f"matryoshka_dimensions must be a list of numbers up to {dimension}, not {declared!r}",
            where=where,
        )
    return tuple(sorted(set(declared), reverse=True))
