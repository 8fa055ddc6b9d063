"""The safetensors files of a model: which they are, which tensors they hold, and their values.

Pickled weights are refused (reading them can run code), and so is a file whose tensors are not
exactly those the architecture needs: a missing one would have to be filled with random numbers.
The format is read here rather than by its library, so that `plan` can check a model where no engine
is installed, and because that library gives numpy no bfloat16.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embedspec.errors import ModelError
from embedspec.models.architecture import BertArchitecture
from embedspec.models.folder import FolderSettings
from embedspec.models.folder_files import FolderReader, join
from embedspec.models.modules import Projection

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack")
_PREFIXES = ("", "bert.")
"""Bare encoders, and encoders inside a model with a head (BertForMaskedLM and the like)."""
_HEADER_LIMIT_BYTES = 100_000_000
"""The limit that the safetensors format sets itself."""
_DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
}
_GAMMA_BETA = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
"""Names from TensorFlow's time that old checkpoints still carry."""


def weight_files(
    reader: FolderReader,
    settings: FolderSettings,
    available: Callable[[str], bool],
    names: Callable[[], Iterable[str]],
) -> list[str]:
    """Relative names of the safetensors files, the transformer's first, in a fixed order.

    `available` says whether a file of that name exists (here or at the hub), `names` lists all for
    the message. Raises ModelError if there are none, or only pickled ones.
    """
    path = settings.transformer_path
    single, index = join(path, "model.safetensors"), join(path, "model.safetensors.index.json")
    if available(single):
        files = [single]
    elif available(index):
        listing = (reader.object(index) or {}).get("weight_map")
        if not isinstance(listing, dict) or not listing:
            raise ModelError("has no `weight_map`", where=reader.where(index))
        files = sorted({join(path, str(shard)) for shard in listing.values()})
        if any("/" in str(shard) for shard in listing.values()):
            raise ModelError("a shard lies outside the model's folder", where=reader.where(index))
    else:
        files = [single]
    files += [join(projection.path, "model.safetensors") for projection in settings.modules.projections]
    for file in files:
        if not available(file):
            pickled = sorted(name for name in names() if name.endswith(PICKLES))
            found = f"; only {', '.join(pickled[:3])}, which can run code when read" if pickled else ""
            raise ModelError(
                f"has no {file}{found}. Only safetensors are read",
                where=reader.use,
                fix="convert it once where you trust it: load it with sentence-transformers and "
                "`model.save(folder)`, or use a revision that has safetensors",
            )
    return files


def read_header(path: Path) -> dict[str, Any]:
    """Tensor name -> {dtype, shape (a tuple), data_offsets} of a safetensors file. Raises ModelError."""
    try:
        with path.open("rb") as file:
            head = file.read(8)
            if head == b"version ":
                raise ModelError(
                    "is a pointer of Git LFS, not the weights",
                    where=str(path),
                    fix="run `git lfs pull` where the model was cloned",
                )
            length = int.from_bytes(head, "little")
            if not 2 <= length <= _HEADER_LIMIT_BYTES:
                raise ValueError(f"header of {length} bytes")
            header = json.loads(file.read(length))
            if not isinstance(header, dict):
                raise ValueError("header is no JSON object")
        size = path.stat().st_size - 8 - length
        header.pop("__metadata__", None)
        for entry in header.values():
            entry["shape"] = tuple(int(size) for size in entry["shape"])
        end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
        if end != size:
            raise ValueError(f"{size} bytes of tensors where the header says {end}: a broken download?")
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise ModelError(f"is not a readable safetensors file: {error}", where=str(path)) from error
    return header


class Checkpoint:
    """The transformer's tensors, spread over one or more files, under the architecture's names.

    Opening it reads headers only. Raises ModelError if a tensor is missing, has another shape, or
    is one that the architecture does not know.
    """

    def __init__(self, files: Sequence[Path], architecture: BertArchitecture, use: str) -> None:
        self._place: dict[str, tuple[Path, str]] = {}
        shapes: dict[str, tuple[int, ...]] = {}
        for file in files:
            for name, entry in read_header(file).items():
                plain = name
                for old, new in _GAMMA_BETA.items():
                    plain = plain.removesuffix(old) + new if plain.endswith(old) else plain
                self._place[plain] = (file, name)
                shapes[plain] = entry["shape"]
        self._prefix = _prefix(shapes, architecture, use)
        _check_shapes(shapes, self._prefix, architecture, use)

    def tensor(self, name: str) -> npt.NDArray[np.float32]:
        file, stored = self._place[self._prefix + name]
        return read_tensors(file, [stored])[stored]


def _prefix(shapes: Mapping[str, Any], architecture: BertArchitecture, use: str) -> str:
    """The one prefix under which every needed tensor is there."""
    needed = [name for name, _ in architecture.tensors()]
    missing = {prefix: [n for n in needed if prefix + n not in shapes] for prefix in _PREFIXES}
    complete = [prefix for prefix in _PREFIXES if not missing[prefix]]
    if len(complete) == 1:
        return complete[0]
    if complete:
        raise ModelError("holds the encoder twice, with and without the prefix 'bert.'", where=use)
    best = min(_PREFIXES, key=lambda prefix: len(missing[prefix]))
    absent = missing[best]
    other = next((name for name in shapes if name.endswith(absent[0])), None)
    hint = f"; there is {other!r}, a prefix that is not covered" if other else ""
    raise ModelError(
        f"tensor {best + absent[0]!r} is missing from the weights ({len(absent)} of {len(needed)} are){hint}",
        where=use,
        fix="get a complete copy of the model: missing weights are never filled with random numbers",
    )


def _check_shapes(
    shapes: Mapping[str, tuple[int, ...]], prefix: str, architecture: BertArchitecture, use: str
) -> None:
    needed = dict(architecture.tensors())
    for name, shape in needed.items():
        if shapes[prefix + name] != shape:
            raise ModelError(
                f"tensor {prefix + name!r} has shape {list(shapes[prefix + name])}, "
                f"but config.json says {list(shape)}",
                where=use,
            )
    unknown = sorted(
        name
        for name in shapes
        if name.startswith((f"{prefix}embeddings.", f"{prefix}encoder."))
        and name.removeprefix(prefix) not in needed
        and not name.endswith(("position_ids", "token_type_ids"))
    )
    if unknown:
        raise ModelError(
            f"tensor {unknown[0]!r} (and {len(unknown) - 1} more) is none that config.json accounts for",
            where=use,
            fix="config.json and the weights must belong together (same number of layers, no adapters)",
        )


def read_projection(
    path: Path, projection: Projection, use: str
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]:
    """Weight (outputs, inputs) and bias (outputs,) of a Dense module."""
    needed: dict[str, tuple[int, ...]] = {"linear.weight": (projection.outputs, projection.inputs)}
    if projection.bias:
        needed["linear.bias"] = (projection.outputs,)
    header = read_header(path)
    for name, shape in needed.items():
        found = header.get(name)
        if found is None or found["shape"] != shape:
            raise ModelError(
                f"{projection.path}: tensor {name!r} should have shape {list(shape)}, "
                f"found {list(found['shape']) if found else 'none'}",
                where=use,
            )
    tensors = read_tensors(path, list(needed))
    return tensors["linear.weight"], tensors.get("linear.bias")


def read_tensors(path: Path, names: Sequence[str]) -> dict[str, npt.NDArray[np.float32]]:
    """The tensors as float32 in the shape the header says; float16, bfloat16 and float64 are cast."""
    header = read_header(path)
    result = {}
    with path.open("rb") as file:
        start = 8 + int.from_bytes(file.read(8), "little")
        for name in names:
            entry = header[name]
            dtype = _DTYPES.get(entry["dtype"])
            if dtype is None:
                raise ModelError(
                    f"tensor {name!r} has dtype {entry['dtype']}; covered: {', '.join(_DTYPES)}",
                    where=str(path),
                )
            first, last = entry["data_offsets"]
            if not 0 <= first <= last or last - first != math.prod(entry["shape"]) * dtype.itemsize:
                raise ModelError(f"tensor {name!r} has offsets that do not fit its shape", where=str(path))
            file.seek(start + first)
            values: npt.NDArray[Any] = np.fromfile(file, dtype, (last - first) // dtype.itemsize)
            if entry["dtype"] == "BF16":  # the upper half of a float32
                values = (values.astype(np.uint32) << 16).view(np.float32)
            result[name] = values.astype(np.float32, copy=False).reshape(entry["shape"])
    return result
