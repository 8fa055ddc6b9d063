"""What a run did to the rows of a build, over all its passes."""

from __future__ import annotations

from dataclasses import dataclass, field

from embedspec.stores.records import BuildRecord
from embedspec.types import DeadLetter


@dataclass(slots=True)
class Flow:
    """What went through the pipeline. Counters are distinct texts and their tokens; `busy` is
    seconds at work, not waiting, by stage."""

    embedded: int = 0
    cached: int = 0
    """Planned texts whose vector came from the cache or another build."""
    tokens: int = 0
    moved: int = 0
    dead: list[DeadLetter] = field(default_factory=list)
    busy: dict[str, float] = field(default_factory=dict)

    def add(self, part: Flow) -> None:
        self.embedded += part.embedded
        self.cached += part.cached
        self.tokens += part.tokens
        self.moved += part.moved
        self.dead += part.dead
        for stage, seconds in part.busy.items():
            self.busy[stage] = self.busy.get(stage, 0.0) + seconds


@dataclass(slots=True)
class Outcome:
    build: BuildRecord | None = None
    """None: no build was worked on."""
    flow: Flow = field(default_factory=Flow)
    written: int = 0
    patched: int = 0
    deleted: int = 0
    index_s: float = 0.0
    write_s: float = 0.0
    notes: list[str] = field(default_factory=list)
