"""Builds from the command line: rebuild, rollback that sticks, promote, gc, and a held lock."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli_process import COMMAND, EMBEDDED, PATIENCE_S, RECORDS, Ended, environment, run_command, write_project

from embedspec import sdk

Run = Callable[..., Ended]


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Path]:
    spec = write_project(tmp_path, target=EMBEDDED)
    assert run_command("reconcile", spec, "--yes", cwd=tmp_path).code == 0
    with sdk.open(spec):
        yield spec


def test_rollback_sticks_until_promote(embedspec: Run, live: Path) -> None:
    first = embedspec("status", live, "--json").json["live"]
    live.write_text(live.read_text().replace('text: "{text}"', 'text: "{topic}: {text}"'))
    rebuilt = embedspec("reconcile", live, "--yes", "--json")
    assert (rebuilt.code, rebuilt.json["class"]) == (0, "rebuild")
    second = rebuilt.json["live"]
    assert second != first

    back = embedspec("rollback", live)
    assert back.code == 0, back
    assert "hints  switched in" in back.out
    assert f"Live    {first}" in back.out

    held = embedspec("reconcile", live, "--yes", "--json")
    assert held.code == 3
    assert held.json["error"]["code"] == 3
    assert held.json["live"] == first
    assert embedspec("reconcile", live, "--yes", "--soft-exit", "3").code == 0
    shown = embedspec("reconcile", live, "--yes")
    assert shown.code == 3
    assert "Held: " in shown.err
    statuses = {b["id"]: b["status"] for b in embedspec("status", live, "--json").json["builds"]}
    assert statuses == {first: "live", second: "rejected"}

    promoted = embedspec("promote", live, second, "--force", "--reason", "it is better", "--json")
    assert (promoted.code, promoted.json["live"]) == (0, second)
    assert "it is better" in promoted.json["reason"]
    assert embedspec("reconcile", live, "--json").code == 0

    kept = embedspec("gc", live, "--grace", "0", "--json")
    assert (kept.code, kept.json["dropped"]) == (0, [])
    live.write_text(live.read_text() + "keep_builds: 1\n")
    dropped = embedspec("gc", live, "--grace", "0s")
    assert dropped.code == 0
    assert "1 build dropped" in dropped.out
    assert embedspec("promote", live, "no_such_build", "--json").code == 1


def test_a_second_run_is_locked_out(embedspec: Run, live: Path) -> None:
    words = " ".join(record["text"] for record in RECORDS)
    with live.with_suffix(".jsonl").open("a") as corpus:
        for number in range(4000):
            corpus.write(
                json.dumps({"id": f"n{number}", "text": f"{number} {words * 4}", "topic": "x"}) + "\n"
            )
    worker = subprocess.Popen(
        [COMMAND, "reconcile", live, "--yes", "--json"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    try:
        assert worker.stderr is not None
        for line in worker.stderr:
            if line.startswith("load: done"):
                break
        locked = embedspec("reconcile", live, "--yes", "--json")
        assert locked.code == 6, locked
        assert set(locked.json) <= {"error", "plan"}
        assert locked.json["error"]["code"] == 6
        lock = embedspec("status", live, "--json").json["lock"]
        assert (lock["pid"], lock["dead"]) == (worker.pid, False)
    finally:
        worker.send_signal(signal.SIGTERM)
        out, err = worker.communicate(timeout=PATIENCE_S)
    assert worker.returncode == 7, err
    assert json.loads(out)["error"]["code"] == 7
    assert embedspec("status", live, "--json").json["lock"] is None
