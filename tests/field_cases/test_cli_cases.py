"""F30: one JSON object on standard output for every way in which a verb can end short of success."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cli.cli_process import COMMAND, PATIENCE_S, Terminal, environment

from embedspec import sdk
from embedspec.stores.adapters import adapter
from embedspec.stores.lease import this_process
from embedspec.stores.protocol import OpenContext

from .case import Case

VERBS = ("validate", "plan", "reconcile", "status", "query", "eval", "promote", "rollback", "gc")
GOLDEN = {"evaluation": {"golden": {"queries": "queries.jsonl", "qrels": "qrels.tsv"}}}


@pytest.fixture
def live(case: Case) -> Case:
    """Two documents, live, in a build that replaced another."""
    case.change(GOLDEN)
    case.write({"_id": "q", "text": "a fox"}, name="queries.jsonl")
    case.write(b"query-id\tcorpus-id\tscore", b"q\ta\t1", name="qrels.tsv")
    case.write({"id": "a", "text": "red fox"}, {"id": "b", "text": "blue whale"})
    for dimension in (128, 384):
        case.change({"embedding.dimension": dimension})
        assert sdk.reconcile(case.spec).exit_code == 0
    return case


def arguments(verb: str) -> list[str]:
    return {"query": ["a fox"], "reconcile": ["--yes"]}.get(verb, [])


def assert_one_object(case: Case, verb: str, *more: str, code: int) -> None:
    """Through a pipe with all noise switched on."""
    printed = case.run(verb, *more, "-v", code=code, env={"PYTHONWARNINGS": "always"})
    if code == 2:
        assert "error" not in printed
        return
    assert printed["error"]["code"] == code
    assert printed["error"]["what"]
    assert printed["error"]["fix"]


def assert_one_object_everywhere(case: Case, verb: str, *more: str, code: int) -> None:
    """And on a terminal, and into a reader that goes away."""
    assert_one_object(case, verb, *more, code=code)
    command = [verb, str(case.spec), *more, "--json"]
    home = {"EMBEDSPEC_HOME": str(case.home)}
    shown = Terminal(command, cwd=case.folder, env=home, out_to=case.folder / "out")
    try:
        assert shown.end() == code
    finally:
        shown.close()
    assert "Traceback" not in shown.screen
    text = (case.folder / "out").read_text()
    assert "\x1b" not in text
    assert json.loads(text)["error"]["code"] == code

    line = f"{subprocess.list2cmdline([str(COMMAND), *command])} | head -c 1"
    cut = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        cwd=case.folder,
        env=environment(home),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (cut.returncode, cut.stdout) == (code, "{")
    for word in ("Traceback", "BrokenPipe", "Exception ignored"):
        assert word not in cut.stderr


def test_f30_a_corpus_that_is_gone(live: Case) -> None:
    (live.folder / "c.jsonl").unlink()
    assert_one_object(live, "plan", code=1)
    assert_one_object_everywhere(live, "reconcile", "--yes", code=1)
    # No other verb reads the corpus: it goes on serving.
    for verb in ("status", "query", "eval", "gc"):
        assert "error" not in live.run(verb, *arguments(verb), env={"PYTHONWARNINGS": "always"})


def test_f30_every_verb_where_nothing_was_ever_reconciled(case: Case) -> None:
    case.change(GOLDEN)
    for verb, code in zip(VERBS, (0, 1, 1, 0, 1, 1, 1, 1, 0), strict=True):
        done = case.start(verb, *arguments(verb), "--json", "-v", env={"PYTHONWARNINGS": "always"})
        assert done.code == code, (verb, done)
        assert ("error" in done.json) is (code != 0)


def add_document(case: Case) -> None:
    case.write(
        {"id": "a", "text": "red fox"},
        {"id": "b", "text": "blue whale"},
        {"id": "c", "text": f"for {case.name}"},
    )


@contextmanager
def another_writer(case: Case) -> Iterator[None]:
    (loaded,) = sdk.load(case.spec)
    found = adapter("pgvector")
    context = OpenContext(base=case.folder, home=case.home)
    with found.open(loaded.target_as(found.target_model), context) as store:
        lease = store.acquire(case.name, this_process(), 60)
        yield
        store.release(lease)


def test_f30_every_exit_code(live: Case) -> None:
    add_document(live)
    assert_one_object(live, "plan", "--detailed-exitcode", code=2)
    assert_one_object(live, "reconcile", code=64)
    with another_writer(live):
        assert_one_object(live, "reconcile", "--yes", code=6)
    assert_one_object(live, "reconcile", "--yes", "--max-seconds", "0", code=7)
    live.change({"policy.licenses": ["mit"]})
    assert_one_object_everywhere(live, "reconcile", "--yes", code=8)
    live.change({"policy": None})
    sdk.rollback(live.spec)
    assert_one_object(live, "reconcile", "--yes", code=3)
    sdk.promote(live.spec)
    live.write(b'{"id":"a","text":"red fox"}', b'{"id":"b","text":NaN}')
    assert_one_object_everywhere(live, "reconcile", "--yes", code=9)


def test_f30_a_result_that_cannot_be_written(live: Case) -> None:
    full = Path("/dev/full")
    if not full.is_char_device():
        pytest.skip("no /dev/full here")
    with full.open("wb") as out:
        done = subprocess.run(
            [str(COMMAND), "status", str(live.spec), "--json"],
            cwd=live.folder,
            env=environment({"EMBEDSPEC_HOME": str(live.home)}),
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    for verb, option, code in (("plan", "--out", 1), ("plan", "--markdown", 1), ("eval", "--run", 64)):
        refused = live.run(verb, option, str(full), code=code)
        assert "No space" in refused["error"]["what"]
    # As root a file could be put in the device's place.
    assert full.is_char_device()
