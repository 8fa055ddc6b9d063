"""Two reconciles of one index at once, as real processes."""

from __future__ import annotations

import signal
import time

from .corpora import records
from .project import Project, Run, sent

COUNT = 600
PAUSE_S = 0.05
"""Before each of some 24 batches."""


def at_work(project: Project) -> Run:
    """A run that has the lease and embeds."""
    log = project.folder / "sent"
    run = project.start("reconcile", log=log, pause_s=PAUSE_S)
    assert run.wait_for(lambda: len(sent(log)) > 2), run.stderr
    return run


def test_the_second_run_is_refused_or_waits(project: Project) -> None:
    project.write(records(COUNT))
    first = at_work(project)
    # It stands still with the lease in its hands, so that the others surely meet it.
    first.process.send_signal(signal.SIGSTOP)
    waiting = project.start("reconcile", "--lock-timeout", "60")
    started = time.monotonic()
    refused = project.run("reconcile", code=6)
    print(f"refused after {time.monotonic() - started:.1f} s")
    assert refused["error"]["code"] == 6
    assert f"process {first.process.pid} on" in refused["error"]["what"]
    assert "--lock-timeout" in refused["error"]["fix"]
    for verb in ("rollback", "gc"):
        assert project.run(verb, code=6)["error"]["code"] == 6
    lock = project.run("status")["lock"]
    assert (lock["pid"], lock["dead"]) == (first.process.pid, False)
    assert not waiting.over
    impatient = project.start("reconcile", "--lock-timeout", "600")
    assert impatient.wait_for(lambda: impatient.has_told("read")), impatient.stderr
    impatient.process.terminate()
    stopped = impatient.end()
    assert stopped.code == 7, stopped.err
    assert "waiting for another run" in stopped.json["error"]["what"]
    first.process.send_signal(signal.SIGCONT)

    worked = first.end()
    assert worked.code == 0, worked.err
    assert (worked.json["embedded"], worked.json["written"]) == (COUNT, COUNT)
    waited = waiting.end()
    assert waited.code == 0, waited.err
    assert (waited.json["class"], waited.json["live"]) == ("none", worked.json["live"])
    assert [waited.json[key] for key in ("embedded", "written", "patched", "deleted")] == [0, 0, 0, 0]
    status = project.run("status")
    assert status["lock"] is None
    assert len(status["builds"]) == 1


def test_a_killed_holder_is_replaced_at_once(project: Project) -> None:
    project.write(records(COUNT))
    with project.server():
        first = at_work(project)
        # Not waited for: the holder stays a zombie, as under a parent that does not look.
        first.process.kill()
        lock = project.run("status")["lock"]
        assert (lock["pid"], lock["dead"]) == (first.process.pid, True)
        assert lock["expires_in_s"] > 10, "by the clock alone the next run would have to wait"
        second = project.run("reconcile")
        assert second["live"] == second["build"]
        assert second["written"] == COUNT
        assert project.run("status")["lock"] is None


def test_runs_that_start_together_make_one_server_and_one_build(bare_project: Project) -> None:
    """On nothing at all: the server, the registry, the lease and the build are made once."""
    project = bare_project
    project.write(records(COUNT))
    logs = [project.folder / f"sent-{number}" for number in range(3)]
    runs = [project.start("reconcile", "--lock-timeout", "60", log=log) for log in logs]
    ended = [run.end() for run in runs]
    assert [one.code for one in ended] == [0, 0, 0], [one.err for one in ended]
    assert sorted(one.json["embedded"] for one in ended) == [0, 0, COUNT]
    assert sum(len(batch) for log in logs for batch in sent(log)) == COUNT
    live = {one.json["live"] for one in ended}
    assert len(live) == 1
    assert len(project.rows(live.pop()).ids) == COUNT
