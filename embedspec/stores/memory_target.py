"""What a memory target holds: indexes, builds, rows, leases, as plain objects."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from embedspec.stores.records import BuildRecord, IndexState, LeaseInfo
from embedspec.types import DeadLetter, StoredRow


@dataclass(frozen=True, slots=True)
class Row:
    """Never changed, only replaced: a reader that holds one sees what was there when it asked."""

    stored: StoredRow
    vector: npt.NDArray[np.floating[Any]]


@dataclass(slots=True)
class Build:
    record: BuildRecord
    rows: dict[bytes, Row] | None = field(default_factory=dict)
    """By key; None once dropped."""
    index_built: bool = False


@dataclass(slots=True)
class Index:
    lineage: str
    state: IndexState
    serial: int = 0
    builds: dict[str, Build] = field(default_factory=dict)
    letters: list[DeadLetter] = field(default_factory=list)


@dataclass(slots=True)
class HeldLease:
    holder: LeaseInfo
    """With generation and time of acquiring filled in."""
    expires: datetime


@dataclass(slots=True)
class Target:
    """One database, so to speak. `clock` may be replaced: leases expire by it."""

    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    lock: threading.RLock = field(default_factory=threading.RLock)
    indexes: dict[str, Index] = field(default_factory=dict)
    leases: dict[str, HeldLease] = field(default_factory=dict)
    generations: dict[str, int] = field(default_factory=dict)
    """The last generation given out for each name; never falls."""
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
