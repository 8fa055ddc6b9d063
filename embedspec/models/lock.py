"""`embedspec.lock`: which model each name meant, committed beside the spec.

JSON, sorted and indented so that a change reads well in a diff; written atomically. Keyed by
`use@revision` for hub models and by `use` for folders and packages, never by spec name. An entry is
the commit and the model's part of the encoder identity, so a mismatch can say what moved.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from embedspec.errors import SpecError
from embedspec.files import write_atomically
from embedspec.models.identity import model_identity
from embedspec.models.resolve import ResolvedModel

FILE_NAME = "embedspec.lock"
FORMAT = 1

Entry = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LockCheck:
    """What the lock says of a model that was just resolved."""

    status: Literal["missing", "same", "differs"]
    differences: tuple[str, ...] = ()
    """Each as `what: locked -> found`."""


def lock_key(use: str, revision: str | None) -> str:
    """The key of a model: `revision` is the spec's, not the resolved commit."""
    if use.startswith(("path:", "package:")):
        return use
    return f"{use}@{revision or 'main'}"


def lock_entry(resolved: ResolvedModel) -> dict[str, Any]:
    """What is written for a resolved model."""
    return {"commit": resolved.revision, **model_identity(resolved)}


def read(path: Path) -> dict[str, Entry]:
    """All entries by key; empty if there is no file. Raises SpecError with file:line if it is damaged
    or written by a newer embedspec."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"the lock file cannot be read: {error}", where=str(path), fix=_CURE) from error
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        line, problem = error.lineno, f"the lock file is not JSON: {error.msg}"
        for number, content_line in enumerate(text.splitlines(), start=1):
            if content_line.startswith(("<<<<<<<", "=======", ">>>>>>>")):
                line, problem = number, "the lock file holds an unresolved merge conflict"
                break
        raise SpecError(problem, where=f"{path}:{line}", fix=_CURE) from error
    found = content.get("format") if isinstance(content, dict) else None
    if isinstance(found, int) and found > FORMAT:
        raise SpecError(
            f"the lock file has format {found}, this embedspec knows {FORMAT}",
            where=f"{path}:1",
            fix="install a newer embedspec",
        )
    models = content.get("models") if found == FORMAT else None
    if not isinstance(models, dict) or not all(isinstance(entry, dict) for entry in models.values()):
        raise SpecError("the lock file has no `format` and `models`", where=f"{path}:1", fix=_CURE)
    return models


_CURE = "restore it from version control, or delete it to lock the models anew"


def check(entry: Entry | None, resolved: ResolvedModel) -> LockCheck:
    """Compare an entry (None: there is none) with the model as it was found."""
    if entry is None:
        return LockCheck("missing")
    differences = tuple(_differences("", entry, lock_entry(resolved)))
    return LockCheck("differs" if differences else "same", differences)


def _differences(place: str, locked: Any, found: Any) -> Iterator[str]:
    if isinstance(locked, Mapping) and isinstance(found, Mapping):
        for key in sorted({*locked, *found}):
            yield from _differences(f"{place}.{key}" if place else key, locked.get(key), found.get(key))
    elif locked != found:
        yield f"{place}: {_short(locked)} -> {_short(found)}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:79]}…"


def write(path: Path, entries: Mapping[str, Entry]) -> None:
    """Add or replace these entries and leave the others alone. Nothing is written if all are there
    already. Two runs that write at once keep each other's entries."""
    with _alone(path.parent):
        before = read(path)
        after = {**before, **entries}
        if after == before and path.exists():
            return
        content = {"format": FORMAT, "models": after}
        text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        try:
            write_atomically(path, text.encode())
        except OSError as error:
            raise _unwritable(error, path) from error


def _unwritable(error: OSError, place: Path) -> SpecError:
    return SpecError(
        f"the lock file cannot be written: {error.strerror or error}",
        where=str(place),
        fix="make the spec's folder writable, or run once where it is and commit the lock file",
    )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder itself locked (no extra file is left behind)."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise _unwritable(error, folder) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
