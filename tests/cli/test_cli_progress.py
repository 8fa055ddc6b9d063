"""Progress: a line per interval and stage, bars on a terminal, time left in the stage's own unit."""

from __future__ import annotations

import os
import threading

from rich.console import Console

from embedspec.cli.output import Sink
from embedspec.cli.progress import Bars, Lines
from embedspec.types import Event


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_lines_tell_amount_rate_and_time_left_in_tokens() -> None:
    said: list[str] = []
    clock = Clock()
    lines = Lines(said.append, clock=clock)
    lines(Event("embed", done=0, total=230_000, unit="tokens"))
    clock.now_s += 10
    lines(Event("embed", done=80_000, total=230_000, unit="tokens"))
    assert said == []
    lines.tell()
    assert said == ["embed: 80,000 of 230,000 tokens, 8,000/s, 18.8 s left"]
    clock.now_s += 20
    lines(Event("embed", done=230_000, total=230_000, unit="tokens"))
    assert said[1:] == ["embed: 230,000 tokens done in 30.0 s"]
    lines.tell()
    lines(Event("embed", done=230_000, total=230_000, unit="tokens"))
    assert len(said) == 2


def test_a_stage_without_figures_ends_when_another_begins() -> None:
    said: list[str] = []
    clock = Clock()
    lines = Lines(said.append, clock=clock)
    lines(Event("load", "loading package:m"))
    clock.now_s += 2
    lines(Event("write", done=10, unit="rows"))
    assert said == ["load: done in 2.0 s"]
    lines(Event("index", "building the index"))
    assert said[1:] == ["write: 10 rows done in 0 ms"]
    clock.now_s += 40
    lines.tell()
    clock.now_s += 10
    lines.tell()
    assert said[2:] == ["index: building the index", "index: building the index, 50.0 s so far"]


def test_counts_never_run_backwards_and_a_larger_total_reopens() -> None:
    said: list[str] = []
    clock = Clock()
    lines = Lines(said.append, clock=clock)
    lines(Event("write", done=5, total=5, unit="rows"))
    lines(Event("write", done=3, total=8, unit="rows"))
    lines.tell()
    assert said[-1] == "write: 5 of 8 rows"


def test_the_ticker_speaks_by_itself_and_stops() -> None:
    spoken = threading.Event()
    with Lines(lambda _: spoken.set(), interval_s=0.02) as lines:
        lines(Event("index", "building the index"))
        assert spoken.wait(10)
    assert not any(thread.name == "progress" for thread in threading.enumerate())


def test_a_pause_starts_afresh() -> None:
    said: list[str] = []
    lines = Lines(said.append, clock=Clock())
    lines(Event("read", "reading the corpus", unit="records"))
    with lines.paused():
        assert said == ["read: done in 0 ms"]
    lines.tell()
    assert len(said) == 1


def drawn(columns: int, events: list[Event]) -> str:
    """What the bars put on a terminal of that width, from first to last."""
    reader, writer = os.pipe()
    console = Console(file=Sink(writer, "utf-8"), force_terminal=True, width=columns, color_system=None)  # type: ignore[arg-type]
    with Bars(console) as bars:
        for event in events:
            bars(event)
        bars._progress.refresh()
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        return pipe.read().decode()


def test_bars_fit_the_terminal() -> None:
    events = [
        Event("read", "reading the corpus", unit="records"),
        Event("embed", done=80_000, total=230_000, unit="tokens"),
        Event("write", "[red]x\x1b[2J", done=10, unit="rows"),
    ]
    for columns, figures in (
        (120, "80,000 of 230,000 tokens"),
        (80, "80,000 of 230,000 tokens"),
        (40, "35% tokens"),
    ):
        screen = drawn(columns, events)
        assert figures in screen
        assert "\x1b[2J" not in screen
        frames = screen.replace("\r", "\n").replace("\x1b[2K", "").replace("\x1b[1A", "").split("\n")
        assert max(len(line.replace("\x1b[?25l", "").replace("\x1b[?25h", "")) for line in frames) <= columns
