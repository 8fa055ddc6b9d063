"""Finds the installed store adapters by their entry points; the core names none of them."""

from __future__ import annotations

import difflib
import functools
from importlib.metadata import EntryPoint, entry_points
from typing import cast

from embedspec.errors import SpecError
from embedspec.stores.protocol import Adapter

GROUP = "embedspec.stores"
"""The entry point group; the entry point's name is what a spec writes under `target.store`."""


def installed() -> list[str]:
    """Names of the installed adapters, sorted. Nothing is imported for it."""
    return sorted(_entry_points())


@functools.cache
def adapter(store_name: str) -> Adapter:
    """The adapter of that name, remembered once it was found. Raises SpecError for a name that is
    not installed or an adapter that cannot be imported."""
    found = _entry_points().get(store_name)
    if found is None:
        # `memory` ends with the process: for tests and tools, not for whom this is told.
        names = [name for name in installed() if name != "memory"]
        close = difflib.get_close_matches(store_name, names, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise SpecError(
            f"no adapter for the store {store_name!r} is installed{hint}",
            where="target.store",
            fix=f"use one of {', '.join(names)}, or install the package that brings {store_name!r}",
        )
    try:
        loaded = found.load()
    except ImportError as error:
        missing = f" ({error.name} is missing)" if error.name else ""
        raise SpecError(
            f"the adapter {store_name!r} cannot be imported{missing}: {error}",
            where="target.store",
            fix=f"pip install '{_distribution(found)}[{store_name}]'",
        ) from error
    except AttributeError as error:
        raise SpecError(
            f"the adapter {store_name!r} is broken: {found.value} does not exist",
            where="target.store",
            fix=f"install {_distribution(found)} again",
        ) from error
    return cast(Adapter, loaded)


def _entry_points() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "embedspec"
