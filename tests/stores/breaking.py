"""Enters each broken store beside the test of the suite that must notice it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from embedspec.stores.memory import MemoryAdapter
from embedspec.stores.memory_store import MemoryStore

K = TypeVar("K", bound="type[MemoryStore] | type[MemoryAdapter]")

BROKEN: list[tuple[type[MemoryStore], str]] = []
BROKEN_ADAPTERS: list[tuple[type[MemoryAdapter], str]] = []


def fails(test: str) -> Callable[[K], K]:
    """The class breaks one promise; this test of the suite must fail on it."""

    def enter(kind: K) -> K:
        if issubclass(kind, MemoryAdapter):
            BROKEN_ADAPTERS.append((kind, test))
        else:
            BROKEN.append((kind, test))
        return kind

    return enter
