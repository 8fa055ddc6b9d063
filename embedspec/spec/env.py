"""What comes from the environment: secrets by name, and the folder for caches."""

from __future__ import annotations

import os
from pathlib import Path

from embedspec.errors import SpecError
from embedspec.spec.load import LoadedSpec
from embedspec.spec.secrecy import ENV_FORM

HOME_VARIABLE = "EMBEDSPEC_HOME"


def resolve_secret(value: str, *, where: str | None = None) -> str:
    """The value behind `env:NAME`; any other text is returned as it is. Never kept in a spec.

    Raises SpecError if the form is wrong, or the variable is unset or empty.
    """
    if not value.startswith("env:"):
        return value
    name = value.removeprefix("env:")
    if not ENV_FORM.fullmatch(value):
        raise SpecError(
            f"env:{name[:40]} names no environment variable",
            where=where,
            fix="write env:NAME (A-Z, 0-9 and _)",
        )
    found = os.environ.get(name)
    if not found:
        state = "is not set" if found is None else "is empty"
        raise SpecError(f"the environment variable {name} {state}", where=where, fix=f"export {name}=…")
    return found


def home_of(loaded: LoadedSpec) -> Path:
    """The folder of caches and the embedded server: EMBEDSPEC_HOME, or `.embedspec` beside the spec.

    Absolute; it may not exist yet.
    """
    moved = os.environ.get(HOME_VARIABLE)
    return Path(moved).expanduser().absolute() if moved else loaded.base / ".embedspec"
