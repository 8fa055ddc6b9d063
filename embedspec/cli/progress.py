"""Progress on standard error: bars on a terminal, else a line now and then; rate and time left.

Listens to the events of a run (`embedspec.types.Event`), which may come from several threads. A
stage's time left comes from its own rate so far, in the unit the stage counts in: tokens when
embedding, since texts differ in length.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from embedspec.cli.output import printable
from embedspec.cli.quantities import count, duration

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from embedspec.types import Event

INTERVAL_S = 10.0
#: These run alone: when one starts, what ran before is over, whether it knew its total or not.
_ALONE = frozenset({"index", "switch", "gc"})
#: From this many columns on there is room for a bar beside the figures.
_WIDE = 80
#: A rate over less than this says little; no time left is shown before.
_SETTLED_S = 1.0


@dataclass(slots=True)
class Stage:
    """How far one stage is."""

    started_s: float
    message: str = ""
    done: int = 0
    total: int | None = None
    unit: str = ""
    ended: bool = False
    told: tuple[object, ...] = field(default=())

    def take(self, event: Event) -> None:
        self.message = event.message or self.message
        self.unit = event.unit or self.unit
        self.done = max(self.done, event.done)
        self.total = event.total if event.total is not None else self.total

    @property
    def complete(self) -> bool:
        return self.total is not None and self.done >= self.total > 0

    def figures(self, now_s: float, *, brief: bool = False) -> str:
        """`12,000 of 230,000 tokens, 8,100/s, 27 s left`, as far as it is known; `brief`, for narrow
        terminals: `5 %, 27 s left`."""
        parts = []
        elapsed_s = now_s - self.started_s
        if self.total and brief:
            parts.append(f"{min(1.0, self.done / self.total):.0%} {self.unit}".rstrip())
        elif self.total:
            parts.append(f"{count(self.done)} of {count(self.total)} {self.unit}".rstrip())
        elif self.done:
            parts.append(f"{count(self.done)} {self.unit}".rstrip())
        if self.done and elapsed_s >= _SETTLED_S:
            rate = self.done / elapsed_s
            if not brief:
                parts.append(f"{count(round(rate))}/s")
            if self.total and not self.complete:
                parts.append(f"{duration((self.total - self.done) / rate)} left")
        return ", ".join(parts)


class Reporter(Protocol):
    """Something that shows events while its with block is open."""

    def __call__(self, event: Event) -> None: ...

    def paused(self) -> AbstractContextManager[None]:
        """Out of the way while something is shown or asked; what comes after starts afresh."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Silence:
    """For `--quiet`."""

    def __call__(self, event: Event) -> None:  # noqa: ARG002
        return None

    def paused(self) -> AbstractContextManager[None]:
        return nullcontext()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class Lines:
    """A line per interval and at each stage's end: for logs of schedulers and CI."""

    def __init__(
        self,
        write: Callable[[str], None],
        *,
        interval_s: float = INTERVAL_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write = write
        self._interval_s = interval_s
        self._clock = clock
        self._stages: dict[str, Stage] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        # A long index build sends no events; a log that stands still looks like a hang.
        self._ticker = threading.Thread(target=self._tick, name="progress", daemon=True)

    def __call__(self, event: Event) -> None:
        with self._lock:
            now_s = self._clock()
            if event.stage not in self._stages:
                for name, before in self._stages.items():
                    # One that counts nothing has only said that it began.
                    if event.stage in _ALONE or not (before.done or before.total):
                        self._end(name, now_s)
                self._stages[event.stage] = Stage(now_s)
            stage = self._stages[event.stage]
            stage.take(event)
            if stage.complete:
                self._end(event.stage, now_s)
            else:
                stage.ended = False

    @contextmanager
    def paused(self) -> Iterator[None]:
        with self._lock:
            for name in self._stages:
                self._end(name, self._clock())
            self._stages.clear()
        yield

    def _end(self, name: str, now_s: float) -> None:
        stage = self._stages[name]
        if not stage.ended:
            stage.ended = True
            amount = f"{count(stage.done)} {stage.unit}".rstrip() + " " if stage.done else ""
            self._write(f"{name}: {amount}done in {duration(now_s - stage.started_s)}")

    def __enter__(self) -> Self:
        self._ticker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        self._ticker.join()

    def _tick(self) -> None:
        while not self._closed.wait(self._interval_s):
            self.tell()

    def tell(self) -> None:
        """Write where the open stages are. One that did not move since is told with its time."""
        with self._lock:
            now_s = self._clock()
            for name, stage in self._stages.items():
                if stage.ended:
                    continue
                figures = stage.figures(now_s)
                text = ", ".join(part for part in (printable(stage.message), figures) if part)
                state = (stage.message, stage.done, stage.total)
                if state == stage.told or not text:
                    text = f"{text}, {duration(now_s - stage.started_s)} so far".removeprefix(", ")
                stage.told = state
                self._write(f"{name}: {text}")


class Bars:
    """A bar per stage on a terminal."""

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, TextColumn
        from rich.table import Column

        whole = Column(no_wrap=True, min_width=len("tokenize"))
        rest = Column(no_wrap=True, overflow="ellipsis")
        self._brief = console.width < _WIDE
        columns: list[ProgressColumn] = [SpinnerColumn(finished_text="✓" if _is_utf8(console) else "*")]
        columns.append(TextColumn("{task.description}", markup=False, table_column=whole))
        if not self._brief:
            columns.append(BarColumn(bar_width=min(40, console.width - 65)))
        columns.append(TextColumn("{task.fields[figures]}", markup=False, table_column=rest))
        self._progress: Progress = Progress(*columns, console=console, transient=True, refresh_per_second=8)
        self._console = console
        self._stages: dict[str, tuple[Stage, TaskID]] = {}
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        with self._lock:
            now_s = time.monotonic()
            if event.stage not in self._stages:
                for before, task in self._stages.values():
                    # One that counts nothing has only said that it began; now it is over.
                    self._progress.update(task, visible=bool(before.done or before.total))
                task = self._progress.add_task(event.stage, total=None, figures="")
                self._stages[event.stage] = (Stage(now_s), task)
            stage, task = self._stages[event.stage]
            stage.take(event)
            figures = stage.figures(now_s, brief=self._brief)
            if not figures or (not stage.total and stage.message):
                figures = ", ".join(part for part in (printable(stage.message), figures) if part)
            self._progress.update(task, total=stage.total, completed=stage.done, figures=figures)

    @contextmanager
    def paused(self) -> Iterator[None]:
        with self._lock:
            for _, task in self._stages.values():
                self._progress.remove_task(task)
            self._stages.clear()
        self._progress.stop()
        yield
        self._progress.start()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()


def _is_utf8(console: Console) -> bool:
    return console.encoding.lower().startswith("utf")
