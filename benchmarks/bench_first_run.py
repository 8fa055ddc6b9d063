"""A first run against its floor: the bare engine's encode of the same texts and one bare COPY.

    python benchmarks/bench_first_run.py [texts] [rounds]

Both sides work in one process that has loaded everything; the model's loading and its canary texts,
which a run pays once however many texts there are, are measured apart and taken off.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
from collections.abc import Callable, Iterator
from typing import Any

import corpora
from ground import BareEngine, BareTables, Ground, batch, ground, session, texts
from measure import Clock, Cost, Report, alternate, begin, ratio

from embedspec import sdk
from embedspec.reconciler import canary
from embedspec.results import ReconcileResult

BOUND = 1.10


def main(count: int, rounds: int) -> None:
    report = begin("first_run", f"first run of {count:,} texts, exact index: at most {BOUND} x the floor")
    with ground() as place:
        measure(place, report, count, rounds)
    report.save()


def measure(place: Ground, report: Report, count: int, rounds: int) -> None:
    records = corpora.records(count)
    clock = place.clock
    first = place.project("first-0")
    before = clock.read()
    engine = BareEngine(session(first).model.resolved)
    report.say(f"  {count:,} texts: {corpora.source()}")
    started = clock.read() - before
    tables = BareTables()
    warm_up(place, records[:64])
    parts: list[dict[str, Cost]] = []
    results: list[ReconcileResult] = []

    def floor(_: int) -> Cost:
        tables.make()
        return clock.time(lambda: tables.fill(batch(records, engine.encode(texts(records)))))

    def run(number: int) -> Cost:
        name = f"first-{number}"
        project = place.project(name)
        corpora.write(records, project / "corpus.jsonl")
        with taken_apart(clock) as apart:
            cost = clock.time(lambda: results.append(sdk.reconcile(project / "spec.yaml")))
        place.destroy(name)
        parts.append(apart)
        return cost - apart["model"] - apart["canaries"]

    costs = alternate(rounds, {"floor": floor, "reconcile": run})
    report.sides(costs)
    for part in ("model", "canaries"):
        seconds = [apart[part].client_s for apart in parts]
        report.say(f"  apart, once a run: {part} {statistics.median(seconds):.3f} CPU s")
        report.data[f"apart_{part}_cpu_s"] = [round(x, 4) for x in seconds]
    report.say(f"  apart: the bare engine's model {started.client_s:.3f} CPU s, imports included")
    last = results[-1]
    total = last.seconds.total
    busy = ", ".join(f"{stage} {seconds / total:.1%}" for stage, seconds in last.busy.items())
    report.say(f"  {last.tokens_embedded:,} tokens; busy in the last round of {total:.1f} s: {busy}")
    report.target("reconcile / floor, CPU", ratio(costs, "reconcile", "floor"), BOUND)
    report.say(f"  reconcile / floor, wall: {ratio(costs, 'reconcile', 'floor', 'wall_s'):.3f}")
    foreign = [name for name in ("torch", "transformers") if name in sys.modules]
    report.say(f"  torch imported: {'NO, ' + ', '.join(foreign) if foreign else 'no'}")
    report.data["busy_s"] = last.busy


@contextlib.contextmanager
def taken_apart(clock: Clock) -> Iterator[dict[str, Cost]]:
    """What loading the model and computing its canary texts took inside the block."""
    found = {"model": Cost(), "canaries": Cost()}
    load, make = canary.load_encoder, canary.make_canary

    def timed(part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def inner(*arguments: Any, **named: Any) -> Any:
            before = clock.read_client()
            try:
                return call(*arguments, **named)
            finally:
                found[part] += clock.read_client() - before

        return inner

    canary.load_encoder, canary.make_canary = timed("model", load), timed("canaries", make)
    try:
        yield found
    finally:
        canary.load_encoder, canary.make_canary = load, make


def warm_up(place: Ground, records: list[corpora.Record]) -> None:
    """Imports and first uses on our side, so that no round pays for them."""
    project = place.project("warm-up")
    corpora.write(records, project / "corpus.jsonl")
    sdk.reconcile(project / "spec.yaml")
    place.destroy("warm-up")


if __name__ == "__main__":
    given = [int(argument) for argument in sys.argv[1:]]
    main(*(given + [5_000, 3][len(given) :]))
