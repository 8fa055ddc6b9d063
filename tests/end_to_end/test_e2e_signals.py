"""Signals to a reconcile at work on the embedded server: the first stops it where the next run goes
on, the second ends it at once, and neither touches the server of others."""

from __future__ import annotations

import os
import signal

from .corpora import records
from .project import Project, sent

COUNT = 600
PAUSE_S = 0.2
"""Before each of some 24 batches: the signal comes long before the end."""


def test_one_signal_stops_and_the_next_run_goes_on(project: Project) -> None:
    project.write(records(COUNT))
    log = project.folder / "sent"
    run = project.start("reconcile", log=log, pause_s=PAUSE_S)
    assert run.wait_for(lambda: len(sent(log)) > 2), run.stderr
    # As a terminal does: to the whole process group.
    os.killpg(run.process.pid, signal.SIGINT)
    ended = run.end()
    assert ended.code == 7, ended.err
    stopped = ended.json
    embedded = sum(map(len, sent(log)))
    assert stopped["error"]["code"] == 7
    assert stopped["live"] is None
    assert stopped["embedded"] == stopped["written"] == embedded < COUNT
    status = project.run("status")
    assert (status["lock"], [b["status"] for b in status["builds"]]) == (None, ["building"])

    resumed = project.run("reconcile")
    assert resumed["build"] == resumed["live"] == stopped["build"]
    assert resumed["embedded"] == COUNT - embedded, "nothing is embedded twice"
    assert len(project.rows(resumed["live"]).ids) == COUNT


def test_a_second_signal_ends_at_once(project: Project) -> None:
    project.write(records(COUNT))
    log = project.folder / "sent"
    # The batch in flight lasts longer than the second signal takes to come.
    run = project.start("reconcile", log=log, pause_s=1.0)
    assert run.wait_for(lambda: len(sent(log)) > 1), run.stderr
    os.killpg(run.process.pid, signal.SIGTERM)
    assert run.wait_for(lambda: "A second signal" in run.stderr), run.stderr
    os.killpg(run.process.pid, signal.SIGINT)
    ended = run.end()
    assert ended.code == 130, ended.err
    assert ended.json["error"]["code"] == 130
    lost = sum(map(len, sent(log)[-4:]))
    embedded = sum(map(len, sent(log)))

    resumed = project.run("reconcile")
    assert resumed["live"] == resumed["build"]
    assert COUNT - embedded <= resumed["embedded"] <= COUNT - embedded + lost


def test_an_incremental_run_that_is_stopped_leaves_the_live_build_to_readers(
    project: Project,
) -> None:
    project.write(records(COUNT))
    with project.server():
        live = project.run("reconcile")["live"]
        project.write(records(2 * COUNT))
        log = project.folder / "sent"
        run = project.start("reconcile", log=log, pause_s=PAUSE_S)
        assert run.wait_for(lambda: len(sent(log)) > 2), run.stderr
        run.process.terminate()
        ended = run.end()
        assert ended.code == 7, ended.err
        assert ended.json["live"] == live
        text = records(1)[0]["text"]
        assert project.run("query", text)["hits"][0]["text"] == text
        resumed = project.run("reconcile")
        assert resumed["embedded"] + ended.json["embedded"] == COUNT
        assert len(project.rows(live).ids) == 2 * COUNT
