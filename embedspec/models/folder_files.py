"""Reading the JSON files of one model folder, remembering which ones were there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from embedspec.errors import ModelError


def join(path: str, name: str) -> str:
    """`name` inside the module folder `path` ("" is the model folder itself)."""
    return f"{path}/{name}" if path else name


class FolderReader:
    """Reads JSON files of one model folder and keeps the names of those that were there."""

    def __init__(self, folder: Path, use: str) -> None:
        self.folder = folder
        self.use = use
        self.read: list[str] = []

    def where(self, name: str) -> str:
        return f"{self.use}: {name}"

    def json(self, name: str) -> Any | None:
        """The parsed file, or None if it is not there. Raises ModelError if it is not JSON."""
        path = self.folder / name
        try:
            text = path.read_text(encoding="utf-8-sig")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise ModelError(f"cannot be read: {error}", where=self.where(name)) from error
        try:
            value = json.loads(text)
        except ValueError as error:
            raise ModelError(f"is not JSON: {error}", where=self.where(name)) from error
        self.read.append(name)
        return value

    def object(self, name: str) -> dict[str, Any] | None:
        value = self.json(name)
        if value is not None and not isinstance(value, dict):
            raise ModelError(f"must hold a JSON object, not {type(value).__name__}", where=self.where(name))
        return value
