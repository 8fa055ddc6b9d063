"""Somebody else's hands in the tables: what is missing is noticed and made again from the cache."""

from __future__ import annotations

from .corpora import records
from .project import Project

COUNT = 60


def test_lost_vectors_are_noticed_and_written_again(project: Project) -> None:
    project.write(records(COUNT))
    with project.server():
        build = project.run("reconcile")["live"]
        with project.sql() as sql:
            sql.execute(f"DELETE FROM t__{build}_vec WHERE key IN (SELECT key FROM t__{build}_vec LIMIT 25)")
        mended = project.run("reconcile")
        assert (mended["class"], mended["embedded"], mended["written"]) == ("upsert", 0, 25)
        with project.sql() as sql:
            sql.execute(f"TRUNCATE t__{build}_vec")
        assert project.run("reconcile")["written"] == COUNT
        assert project.run("reconcile")["class"] == "none"
        assert len(project.run("query", "anything", "-k", "200")["hits"]) == COUNT


def test_readers_are_not_moved_to_a_build_that_lost_its_vectors(project: Project) -> None:
    project.write(records(COUNT))
    with project.server():
        first = project.run("reconcile")["live"]
        project.change({"embedding.dimension": 16})
        project.run("reconcile")
        with project.sql() as sql:
            sql.execute(f"TRUNCATE t__{first}_vec")
        project.change({"embedding.dimension": 32})
        back = project.run("reconcile")
        assert (back["class"], back["live"], back["embedded"], back["written"]) == (
            "repoint",
            first,
            0,
            COUNT,
        )
        assert len(project.run("query", "anything", "-k", "200")["hits"]) == COUNT


def test_an_index_dropped_by_hand_is_made_anew(project: Project) -> None:
    project.write(records(COUNT))
    with project.server():
        build = project.run("reconcile")["live"]
        with project.sql() as sql:
            sql.execute("DROP VIEW t")
            sql.execute("DROP FUNCTION t_search")
            sql.execute(f"DROP TABLE t__{build}, t__{build}_vec")
        (told,) = project.run("status")["builds"]
        assert told["rows"] is None
        assert "tables are gone" in told["reason"]
        again = project.run("reconcile")
        assert (again["class"], again["embedded"], again["written"]) == ("create", 0, COUNT)
        assert again["live"] != build
        assert any("tables of build" in reason for reason in again["reasons"])
        assert {b["id"]: b["reason"] for b in project.run("status")["builds"]}[build] == "dropped"
        assert project.run("reconcile")["class"] == "none"
