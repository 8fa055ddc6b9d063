"""sha256 of model files, remembered by (path, size, mtime) so that planning is instant."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from pathlib import Path

from embedspec.files import write_atomically

_REMEMBER_FROM_BYTES = 1 << 20
"""Smaller files are hashed every time: that is faster than being clever."""
_SETTLED_NS = 2 * 10**9
"""A file written within the last two seconds may be written again with the same size and mtime
(coarse file system clocks), so its hash is not remembered yet."""


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class HashCache:
    """`model-hashes.json` in `folder`; with no folder, nothing is remembered.

    Losing or damaging the file costs a second of hashing, never a wrong answer: it is ours alone,
    and an entry counts only while path, size and mtime are the same.
    """

    def __init__(self, folder: Path | None) -> None:
        self._path = folder / "model-hashes.json" if folder else None
        self._entries = self._read()

    def _read(self) -> dict[str, list[object]]:
        if self._path is None:
            return {}
        try:
            entries = json.loads(self._path.read_bytes())
        except (OSError, ValueError):
            return {}
        return entries if isinstance(entries, dict) else {}

    def sha256(self, path: Path) -> str:
        """Raises OSError if the file cannot be read."""
        stat = path.stat()
        if self._path is None or stat.st_size < _REMEMBER_FROM_BYTES:
            return sha256_of(path)
        key = str(path.resolve())
        known = self._entries.get(key)
        if isinstance(known, list) and known[:2] == [stat.st_size, stat.st_mtime_ns] and len(known) == 3:
            return str(known[2])
        digest = sha256_of(path)
        if time.time_ns() - stat.st_mtime_ns > _SETTLED_NS:
            self._entries[key] = [stat.st_size, stat.st_mtime_ns, digest]
            self._write()
        return digest

    def _write(self) -> None:
        assert self._path is not None
        # A read-only folder costs speed only.
        with contextlib.suppress(OSError):
            content = json.dumps({**self._read(), **self._entries}, indent=0, sort_keys=True)
            write_atomically(self._path, content.encode(), parents=True)
