"""Runs that find nothing, or little, to do, against reading and hashing the corpus.

    python benchmarks/bench_no_change.py [records] [rounds]

The floor reads every record, renders its text, and hashes id, text and metadata: what any tool has to
do that looks at all records. The index is filled through the vector cache with numbers drawn at
random, so that no hour is spent on embedding; only the changed one per cent meets the model. Start-up
is a run of the same kind over one record: spec, model files, connection, registry.
"""

from __future__ import annotations

import gzip
import hashlib
import sys
from pathlib import Path

import corpora
import numpy as np
import orjson
from bench_first_run import taken_apart
from ground import BareEngine, Ground, ground, session, texts
from measure import Cost, Report, alternate, begin, ratio

from embedspec import sdk
from embedspec.cache.vectors import VectorCache
from embedspec.results import ReconcileResult
from embedspec.types import digest, hash_array

BOUND = 1.5
CHANGED_BOUND = 1.1
TIMES = 3
"""Calls in one measurement."""


def main(count: int, rounds: int) -> None:
    report = begin(
        "no_change",
        f"no-change run of {count:,} records: at most {BOUND} x read + hash; with 1 % changed: "
        f"at most {CHANGED_BOUND} x that run and the changed texts' encode together",
    )
    with ground() as place:
        measure(place, report, count, rounds)
    report.save()


def measure(place: Ground, report: Report, count: int, rounds: int) -> None:
    records = corpora.records(count)
    project = place.project("no-change")
    corpus = project / "corpus.jsonl"
    fill(project, records)
    result = reconcile(project)
    assert result.empty
    assert result.documents.unchanged == count
    report.say(f"  {count:,} records, {corpus.stat().st_size >> 20} MB: {corpora.source()}")
    clock = place.clock
    start = place.project("start-up")
    fill(start, records[:1])
    sides = {
        "read + hash": lambda _: clock.time(lambda: read_and_hash(corpus), times=TIMES),
        "start-up": lambda _: clock.time(lambda: reconcile(start), times=TIMES),
        "no change": lambda _: clock.time(lambda: reconcile(project), times=TIMES),
    }
    costs = alternate(rounds, sides)
    report.sides(costs)
    value = ratio(costs, "no change", "read + hash", beyond="start-up")
    report.target("no change beyond start-up / read + hash, CPU", value, BOUND)
    for beyond in (None, "start-up"):
        wall = ratio(costs, "no change", "read + hash", "wall_s", beyond=beyond)
        report.say(f"  the same{'' if beyond else ', start-up included'}, wall: {wall:.3f}")

    engine = BareEngine(session(project).model.resolved)
    changed = max(count // 100, 1)

    def edit(number: int) -> list[corpora.Record]:
        """Another one per cent in every round, each with a text that was not there before."""
        edited = []
        for at in range(number, number + changed * 100, 100):
            records[at] = {**records[at], "text": f"{number}: {records[at]['text']}"}
            edited.append(records[at])
        corpora.write(records, corpus)
        return edited

    def run(number: int) -> Cost:
        edit(number)
        with taken_apart(clock) as apart:
            cost = clock.time(lambda: expect(reconcile(project), changed))
        return cost - apart["model"] - apart["canaries"]

    def floor(number: int) -> Cost:
        bodies = texts([records[at] for at in range(number, number + changed * 100, 100)])
        return clock.time(lambda: (reconcile(project), engine.encode(bodies)))

    name = f"{changed:,} texts changed"
    costs = {name: [], "no change + encode of those": []}
    for number in range(rounds):
        costs[name].append(run(number))
        costs["no change + encode of those"].append(floor(number))
    report.sides(costs)
    value = ratio(costs, *costs)
    report.target("1 % changed / no change and its texts' encode, CPU", value, CHANGED_BOUND)


def reconcile(project: Path) -> ReconcileResult:
    return sdk.reconcile(project / "spec.yaml")


def expect(result: ReconcileResult, embedded: int) -> None:
    assert (result.embedded, result.written, result.deleted) == (embedded, embedded, 0)


def fill(project: Path, records: list[corpora.Record]) -> None:
    """Write the corpus, and run for the first time with all vectors in the cache already."""
    corpora.write(records, project / "corpus.jsonl")
    ours = session(project)
    needed = np.unique(hash_array([digest(text.encode()) for text in texts(records)]))
    dimension = ours.model.facts.native_dimension
    drawn = np.random.default_rng(0).standard_normal((len(needed), dimension), dtype=np.float32)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    with VectorCache.open(ours.home.cache, ours.model.fingerprint, dimension) as cache:
        cache.append(needed, drawn)
    assert reconcile(project).embedded == 0


def read_and_hash(path: Path) -> None:
    """One thread, the fastest parser and hash there are, nothing checked."""
    blake2b, loads, dumps, sort = hashlib.blake2b, orjson.loads, orjson.dumps, orjson.OPT_SORT_KEYS
    hashes = []
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        for line in file:
            record = loads(line)
            text = f"{record['title']}\n{record['text']}".strip()
            metadata = dumps({"kind": record["kind"], "module": record["module"]}, None, sort)
            for part in (record["id"].encode(), text.encode(), metadata):
                hashes.append(blake2b(part, digest_size=16).digest())
    b"".join(hashes)


if __name__ == "__main__":
    given = [int(argument) for argument in sys.argv[1:]]
    main(*(given + [63_000, 5][len(given) :]))
