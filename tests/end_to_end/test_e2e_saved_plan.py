"""A plan saved before anything was ever made is executed as it stands."""

from __future__ import annotations

from .corpora import records
from .project import Project


def test_the_first_plan_of_all_can_be_saved_and_executed(bare_project: Project) -> None:
    bare_project.write(records(20))
    plan = bare_project.run("plan", "--out", "plan.json")
    assert plan["proof"]["store"] is None, "planning makes no server"
    done = bare_project.run("reconcile", "--plan", "plan.json")
    assert (done["written"], done["live"]) == (20, done["build"])
    again = bare_project.run("reconcile", "--plan", "plan.json", code=1)
    assert "out of date" in again["error"]["what"]
