"""How long until something happens: help, a plan that finds nothing to do, the first vector.

    python benchmarks/bench_start.py [rounds]

Each is a process of its own, from its start to its end. The database server runs already.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import corpora
from bench_no_change import fill
from ground import MODEL, Ground, ground
from measure import Cost, Report, alternate, begin, ratio

HELP_BOUND_S = 0.3
PLAN_BOUND_S = 1.0
VECTOR_BOUND_S = 1.0
DOCUMENTS = 1_000
EMBEDSPEC = Path(sys.executable).with_name("embedspec")
DRIVER = "import psycopg"
FIRST_VECTOR = f"""
from pathlib import Path
from embedspec.models.encoder import load_encoder
from embedspec.models.resolve import resolve_model
model = resolve_model("{MODEL}", None, base=Path("."), hash_cache=Path("."))
assert load_encoder(model).encode(["the first text"]).shape == (1, 384)
"""
FOREIGN = """
import sys
found = [name for name in ("torch", "transformers", "sentence_transformers") if name in sys.modules]
assert not found, found
"""


def main(rounds: int) -> None:
    report = begin(
        "start",
        f"help in {HELP_BOUND_S} s, the first vector in {VECTOR_BOUND_S:g} s, a plan over {DOCUMENTS:,} "
        f"unchanged documents in {PLAN_BOUND_S:g} s beyond the imports of interpreter and driver",
    )
    with ground() as place:
        measure(place, report, rounds)
    report.save()


def measure(place: Ground, report: Report, rounds: int) -> None:
    project = place.project("start")
    fill(project, corpora.records(DOCUMENTS))
    commands = {
        "embedspec --help": [str(EMBEDSPEC), "--help"],
        "interpreter and driver": [sys.executable, "-c", DRIVER],
        "embedspec plan": [str(EMBEDSPEC), "plan", str(project / "spec.yaml"), "--json", "--quiet"],
        "first vector": [sys.executable, "-c", FIRST_VECTOR + FOREIGN],
    }

    def run(command: Sequence[str]) -> Cost:
        return place.clock.time(
            lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=place.folder)
        )

    for command in commands.values():
        run(command)  # files into memory, hashes of the weights into their cache
    sides = {name: lambda _, command=command: run(command) for name, command in commands.items()}
    costs = alternate(rounds, sides)
    report.sides(costs)
    wall = {name: statistics.median(cost.wall_s for cost in found) for name, found in costs.items()}
    beyond = wall["embedspec plan"] - wall["interpreter and driver"]
    report.target("seconds to help", wall["embedspec --help"], HELP_BOUND_S)
    report.target("seconds to the first vector, without torch", wall["first vector"], VECTOR_BOUND_S)
    report.target("seconds of the plan beyond interpreter and driver", beyond, PLAN_BOUND_S)
    report.say(
        f"  plan / interpreter and driver: {ratio(costs, 'embedspec plan', 'interpreter and driver'):.2f}"
    )


if __name__ == "__main__":
    main(*([int(argument) for argument in sys.argv[1:]] or [7]))
