"""The modules behind the transformer: which pooling, projections and normalising a folder declares.

Nothing is assumed: a folder that does not say how token vectors become one vector is refused.
Meanings and orders are those of sentence-transformers (versions 1 to 6), read from its source.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from embedspec.errors import ModelError
from embedspec.models.folder_files import FolderReader, join

LEGACY_POOLING = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
"""In the order in which several poolings are laid side by side."""
POOLINGS = ("cls", "max", "mean", "mean_sqrt_len")

PROJECTION_ACTIVATIONS = {
    "torch.nn.modules.linear.Identity": "identity",
    "torch.nn.modules.activation.Tanh": "tanh",
    "torch.nn.modules.activation.ReLU": "relu",
}


@dataclass(frozen=True, slots=True)
class Projection:
    """A Dense module: linear layer and activation."""

    path: str
    inputs: int
    outputs: int
    bias: bool
    activation: str


@dataclass(frozen=True, slots=True)
class Modules:
    """What happens between token vectors and the text's vector, in this order."""

    pooling: tuple[str, ...]
    """cls | max | mean | mean_sqrt_len; several are laid side by side."""
    projections: tuple[Projection, ...]
    normalize: bool


def read_module_list(reader: FolderReader) -> list[tuple[str, str]]:
    """(kind, path inside the folder) of each module in modules.json."""
    where = reader.where("modules.json")
    listed = reader.json("modules.json")
    if listed is None:
        raise ModelError(
            "modules.json is missing, so nothing says how token vectors become one vector (mean? CLS?)",
            where=where,
            fix="save the model with sentence-transformers, or add modules.json and 1_Pooling/config.json "
            "with the pooling that its makers name; embedspec never assumes one",
        )
    result: list[tuple[str, str]] = []
    if not isinstance(listed, list) or not listed:
        raise ModelError("must hold a list of modules", where=where)
    for module in listed:
        kind = module.get("type") if isinstance(module, dict) else None
        path = module.get("path", "") if isinstance(module, dict) else None
        if not isinstance(kind, str) or not isinstance(path, str):
            raise ModelError(f"a module needs `type` and `path`, got {module!r}", where=where)
        if not kind.startswith("sentence_transformers."):
            raise ModelError(
                f"module {kind!r} is code of the model's own, which is never run",
                where=where,
                fix="use a model made of Transformer, Pooling, Dense and Normalize modules",
            )
        if ".." in PurePosixPath(path).parts or path.startswith("/"):
            raise ModelError(f"module path {path!r} leads out of the model's folder", where=where)
        clean = PurePosixPath(path).as_posix()
        result.append((kind.rpartition(".")[2], "" if clean == "." else clean))
    return result


def read_modules(reader: FolderReader, listed: list[tuple[str, str]], hidden: int) -> tuple[Modules, int]:
    """The modules after the transformer, and the dimension of the final vector."""
    kinds = [kind for kind, _ in listed[1:]]
    normalize = bool(kinds) and kinds[-1] == "Normalize"
    dense = kinds[1 : len(kinds) - normalize]
    if not kinds or kinds[0] != "Pooling" or any(kind != "Dense" for kind in dense):
        raise ModelError(
            f"modules {' -> '.join(['Transformer', *kinds])} are not covered; "
            "covered: Transformer -> Pooling -> Dense (none or more) -> Normalize (or not)",
            where=reader.where("modules.json"),
            fix=None if kinds else "add a Pooling module: nothing says how token vectors become one vector",
        )
    pooling = _pooling(reader, listed[1][1], hidden)
    dimension = hidden * len(pooling)
    projections = []
    for _, path in listed[2 : 2 + len(dense)]:
        projection = _projection(reader, path, dimension)
        projections.append(projection)
        dimension = projection.outputs
    return Modules(pooling, tuple(projections), normalize), dimension


def _pooling(reader: FolderReader, path: str, hidden: int) -> tuple[str, ...]:
    name = join(path, "config.json")
    where = reader.where(name)
    settings = reader.object(name)
    if settings is None:
        raise ModelError(
            "the pooling's config.json is missing, so nothing says how token vectors become one vector",
            where=where,
            fix="restore the file from the model's source; embedspec never assumes mean or CLS",
        )
    modes = settings.get("pooling_mode")
    if modes is None:
        modes = [mode for key, mode in LEGACY_POOLING.items() if settings.get(key) is True]
    elif isinstance(modes, str):
        modes = [modes]
    if not isinstance(modes, list):
        raise ModelError(f"pooling_mode must be a name or a list of names, not {modes!r}", where=where)
    modes = ["mean_sqrt_len" if mode == "mean_sqrt_len_tokens" else mode for mode in modes]
    if not modes:
        raise ModelError(
            "no pooling mode is switched on",
            where=where,
            fix='set one, e.g. "pooling_mode_mean_tokens": true',
        )
    for mode in modes:
        if mode not in POOLINGS:
            raise ModelError(f"pooling {mode!r} is not covered; covered: {', '.join(POOLINGS)}", where=where)
    if settings.get("include_prompt", True) is not True:
        raise ModelError(
            "pooling that leaves the prompt out (include_prompt: false) is not covered", where=where
        )
    size = settings.get("embedding_dimension", settings.get("word_embedding_dimension", hidden))
    if size != hidden:
        raise ModelError(f"pools vectors of {size} numbers, but the transformer gives {hidden}", where=where)
    return tuple(modes)


def _projection(reader: FolderReader, path: str, dimension: int) -> Projection:
    name = join(path, "config.json")
    where = reader.where(name)
    settings = reader.object(name)
    if settings is None:
        raise ModelError("the Dense module's config.json is missing", where=where)
    activation = settings.get("activation_function", "torch.nn.modules.activation.Tanh")
    if not isinstance(activation, str) or activation not in PROJECTION_ACTIVATIONS:
        raise ModelError(
            f"activation {activation!r} is not covered; covered: {', '.join(PROJECTION_ACTIVATIONS)}",
            where=where,
        )
    names = (settings.get("module_input_name"), settings.get("module_output_name"))
    if any(value not in (None, "sentence_embedding") for value in names) or settings.get("use_residual"):
        raise ModelError(
            "a Dense module with a residual, or between other values than the text's vector, is not covered",
            where=where,
        )
    inputs, outputs = settings.get("in_features"), settings.get("out_features")
    if inputs != dimension or not isinstance(outputs, int) or outputs < 1:
        raise ModelError(
            f"in_features {inputs!r} and out_features {outputs!r} do not fit vectors of {dimension} numbers",
            where=where,
        )
    return Projection(
        path, dimension, outputs, bool(settings.get("bias", True)), PROJECTION_ACTIVATIONS[activation]
    )
