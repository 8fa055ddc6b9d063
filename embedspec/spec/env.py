"""What comes from the environment: the folder for caches and the embedded server."""

from __future__ import annotations

import os
from pathlib import Path

from embedspec.spec.load import LoadedSpec

HOME_VARIABLE = "EMBEDSPEC_HOME"


def home_of(loaded: LoadedSpec) -> Path:
    """The folder of caches and the embedded server: EMBEDSPEC_HOME, or `.embedspec` beside the spec.

    Absolute; it may not exist yet.
    """
    moved = os.environ.get(HOME_VARIABLE)
    return Path(moved).expanduser().absolute() if moved else loaded.base / ".embedspec"
