"""The `.embedspec` folder beside a spec: caches (may be deleted) and the embedded server."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from embedspec.errors import EmbedspecError


class Home:
    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def dead_letters(self) -> Path:
        return self.root / "dead-letters"

    def prepare(self) -> None:
        """Make the folder, with a `.gitignore` that keeps it out of repositories. Best effort: where
        it cannot be made, whoever needs it says so."""
        ignore = self.root / ".gitignore"
        if not ignore.exists():
            with contextlib.suppress(EmbedspecError):
                write_atomically(ignore, b"*\n")

    def read_json(self, name: str) -> dict[str, Any]:
        """A small cache file as an object; anything unreadable counts as absent."""
        try:
            data = json.loads((self.cache / name).read_bytes())
        except (OSError, ValueError):
            return {}
        return data if isinstance(data, dict) else {}

    def write_json(self, name: str, data: dict[str, Any]) -> None:
        """Best effort: a cache that cannot be written costs time, nothing else."""
        try:
            write_atomically(self.cache / name, json.dumps(data, indent=1, sort_keys=True).encode())
        except EmbedspecError:
            return


def write_atomically(path: Path, data: bytes) -> None:
    """Write beside, sync, rename: readers see the old file or the new one. Creates the folder."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise EmbedspecError(
            f"cannot write: {error.strerror}", where=str(path), fix="check the folder's rights and free space"
        ) from error
