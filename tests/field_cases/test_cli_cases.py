"""F30: one JSON object on standard output for every way in which a verb can end short of success."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
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


def assert_one_object(case: Case, verb: str, *more: str, code: int, error: bool = True) -> None:
    """Through pipes with all noise switched on, on a terminal, and into a reader that goes away."""
    command = [verb, str(case.spec), *more, "--json"]
    piped = case.run(verb, *more, "-v", code=code, env={"PYTHONWARNINGS": "always"})
    assert ("error" in piped) is error
    if error:
        assert piped["error"]["code"] == code
        assert piped["error"]["what"]
        assert piped["error"]["fix"]

    home = {"EMBEDSPEC_HOME": str(case.home)}
    shown = Terminal(command, cwd=case.folder, env=home, out_to=case.folder / "out")
    try:
        assert shown.end() == code
    finally:
        shown.close()
    assert "Traceback" not in shown.screen
    text = (case.folder / "out").read_text()
    assert "\x1b" not in text
    assert json.loads(text).keys() == piped.keys()

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
    for verb in ("plan", "reconcile"):
        assert_one_object(live, verb, *arguments(verb), code=1)
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
    add_document(case)
    (loaded,) = sdk.load(case.spec)
    found = adapter("pgvector")
    context = OpenContext(base=case.folder, home=case.home)
    with found.open(loaded.target_as(found.target_model), context) as store:
        lease = store.acquire(case.name, this_process(), 60)
        yield
        store.release(lease)


def reject(case: Case) -> None:
    sdk.rollback(case.spec)


def refuse(case: Case) -> None:
    case.change({"policy.licenses": ["mit"]})


def spoil(case: Case) -> None:
    case.write(b'{"id":"a","text":"red fox"}', b'{"id":"b","text":NaN}')


@pytest.mark.parametrize(
    ("change", "verb", "code"),
    [
        (add_document, ["plan", "--detailed-exitcode"], 2),
        (reject, ["reconcile", "--yes"], 3),
        (another_writer, ["reconcile", "--yes"], 6),
        (add_document, ["reconcile", "--yes", "--max-seconds", "0"], 7),
        (refuse, ["reconcile", "--yes"], 8),
        (spoil, ["reconcile", "--yes"], 9),
    ],
)
def test_f30_every_exit_code(
    live: Case, change: Callable[[Case], AbstractContextManager[None] | None], verb: list[str], code: int
) -> None:
    with change(live) or nullcontext():
        assert_one_object(live, *verb, code=code, error=code != 2)


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
