"""The `.embedspec` folder beside a spec: caches (may be deleted) and the embedded server."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from embedspec.files import write_atomically


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
            with contextlib.suppress(OSError):
                write_atomically(ignore, b"*\n", parents=True)

    def read_json(self, name: str) -> dict[str, Any]:
        """A small cache file as an object; anything unreadable counts as absent."""
        try:
            data = json.loads((self.cache / name).read_bytes())
        except (OSError, ValueError):
            return {}
        return data if isinstance(data, dict) else {}

    def write_json(self, name: str, data: dict[str, Any]) -> None:
        """Best effort: a cache that cannot be written costs time, nothing else."""
        with contextlib.suppress(OSError):
            write_atomically(
                self.cache / name, json.dumps(data, indent=1, sort_keys=True).encode(), parents=True
            )
