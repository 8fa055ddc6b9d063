"""The tour behind `make demo`: plan, reconcile, query, edit, reconcile again.

Shows each command as it would be typed, and ends with an error if what it shows is not true: that
the right answer is among the first hits, and that the second run embeds the edited records only.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from make_corpus import write_corpus

DEMO = Path(__file__).resolve().parent
CORPUS = DEMO / "corpus.jsonl"
EMBEDSPEC = Path(sys.executable).with_name("embedspec")
BOLD, DIM, PLAIN = ("\033[1m", "\033[2m", "\033[0m") if sys.stdout.isatty() else ("", "", "")

NEW_TEXTS = {
    "shutil.rmtree": "Delete a folder and everything in it. There is no way back.",
    "textwrap.dedent": "Remove the indentation that all lines of a text block share.",
    "heapq.nlargest": "Keep the ten largest values of many, without sorting them all.",
}
NEW_KIND = {"json": "package"}
REMOVED = "string.Template"


def say(text: str) -> None:
    print(f"\n{BOLD}{text}{PLAIN}", flush=True)


def shown(path: Path) -> str:
    """A path as it would be typed here."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def embedspec(*arguments: str) -> None:
    """Echo a command and run it. A failure ends the tour with its exit code."""
    print(f"{DIM}$ embedspec {shlex.join(arguments)}{PLAIN}", flush=True)
    code = subprocess.run([EMBEDSPEC, *arguments], check=False).returncode
    if code:
        sys.exit(code)


def answer(*arguments: str) -> dict[str, Any]:
    """What the same command says to a program."""
    done = subprocess.run([EMBEDSPEC, *arguments, "--json"], check=False, stdout=subprocess.PIPE)
    if done.returncode:
        sys.exit(done.returncode)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def require(holds: bool, claim: str) -> None:
    if not holds:
        sys.exit(f"The demo is wrong: {claim}")


def edit_corpus() -> None:
    """Give three records a new text and one a new kind, and leave one out."""
    # The time makes the texts new in each tour: a text seen before would come from the cache.
    now = f"{datetime.now():%Y-%m-%d %H:%M:%S}"
    records = [json.loads(line) for line in CORPUS.read_text(encoding="utf-8").split("\n") if line]
    kept = [record for record in records if record["id"] != REMOVED]
    for record in kept:
        if text := NEW_TEXTS.get(record["id"]):
            record["text"] = f"{text} (Edited {now}.)"
        record["kind"] = NEW_KIND.get(record["id"], record["kind"])
    CORPUS.write_text("".join(json.dumps(record) + "\n" for record in kept), encoding="utf-8")


def main() -> None:
    spec = shown(DEMO)
    say("The corpus: what the modules, classes and functions of your Python say of themselves")
    print(f"{write_corpus(CORPUS):,} records in {shown(CORPUS)}")

    say("What would change, and what it costs")
    embedspec("plan", spec)

    say("Make it so: embed, write, build the index, switch")
    embedspec("reconcile", spec, "--yes")

    say("Ask")
    question = "count how often each word occurs"
    embedspec("query", spec, question, "-k", "3")
    hits = [hit["id"] for hit in answer("query", spec, question, "-k", "3")["hits"]]
    require("collections.Counter" in hits, f"collections.Counter is not among {hits}")
    embedspec("query", spec, "remember the results of a slow function", "-k", "3")
    embedspec("query", spec, "compare two texts line by line", "-k", "3", "--filter", "kind=class")

    say("Edit: three records get a new text, one other metadata, one goes; only the new texts are embedded")
    edit_corpus()
    embedspec("reconcile", spec, "--yes")
    done = answer("status", spec)["last_run"]
    counts = {key: done[key] for key in ("embedded", "patched", "deleted")}
    expected = {"embedded": len(NEW_TEXTS), "patched": len(NEW_KIND), "deleted": 1}
    require(counts == expected, f"the second run counts {counts}, not {expected}")
    embedspec("query", spec, "delete a folder and everything in it", "-k", "1")

    command = shown(EMBEDSPEC)
    say("Try next")
    print(f"""\
  {command} query {spec} "make a temporary file that deletes itself"
  {command} query {spec} "open a web page" --filter module=urllib.request --json
  {command} status {spec}
  add `embedding: {{quantization: float16}}` to {shown(DEMO / "spec.yaml")}, then
  {command} plan {spec}         # derive: the vectors are at hand, nothing is embedded
  {command} reconcile {spec}    # built beside, switched at once
  {command} rollback {spec}     # and back""")


if __name__ == "__main__":
    main()
