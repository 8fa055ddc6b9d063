"""A source that cannot be read to its end: what is there is taken in, nothing is deleted, exit 9;
and a new build made from it never replaces a live one."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .corpora import record, records
from .project import Project

COUNT = 100
KEPT = 90
"""Documents whose records are still in the source after the change."""


def compressed(path: Path, corpus: list[dict[str, str]]) -> bytes:
    data = gzip.compress("".join(json.dumps(r) + "\n" for r in corpus).encode(), mtime=0)
    path.write_bytes(data)
    return data


class Broken:
    """The corpus after the change (10 documents gone, one changed, one new) in two files, of which
    one is broken. `mend` makes it whole."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir(exist_ok=True)
        after = [*records(KEPT), record(COUNT)]
        after[0] = record(0, version=1)
        self.first, self.second = after[:2] + after[-1:], after[2:-1]
        self.corpus = {r["id"]: r["text"] for r in after}
        self.write("1.jsonl", self.first)

    def write(self, name: str, corpus: list[dict[str, str]]) -> None:
        (self.folder / name).write_text("".join(json.dumps(r) + "\n" for r in corpus))

    def whole_before(self) -> None:
        self.write("1.jsonl", records(COUNT))

    def mend(self) -> None:
        for path in self.folder.glob("2*"):
            path.unlink()
        self.write("2.jsonl", self.second)

    # -- ways to break it ---------------------------------------------------------------------------
    def truncated_gz(self) -> None:
        data = compressed(self.folder / "2.jsonl.gz", self.second)
        (self.folder / "2.jsonl.gz").write_bytes(data[: len(data) // 2])

    def malformed_line(self) -> None:
        self.write("2.jsonl", self.second)
        with (self.folder / "2.jsonl").open("a") as file:
            file.write('{"id": "d000095", "text": "cut off in the mid\n')

    def broken_link(self) -> None:
        (self.folder / "2.jsonl").symlink_to(self.folder / "gone")

    def read_error(self) -> None:
        # Rights do not stop root; this file can be opened by its owner, and gives EIO when read.
        (self.folder / "2.jsonl").symlink_to("/proc/self/mem")


@pytest.fixture
def broken(project: Project) -> Broken:
    made = Broken(project.folder / "data")
    project.change({"corpus.source.path": "data/*.jsonl*"})
    return made


WAYS: dict[str, Callable[[Broken], None]] = {
    "truncated gz": Broken.truncated_gz,
    "malformed line": Broken.malformed_line,
    "broken link": Broken.broken_link,
    "read error": Broken.read_error,
}


@pytest.mark.parametrize(
    "way",
    ["truncated gz", "malformed line", "read error", pytest.param("broken link", marks=pytest.mark.slow)],
)
def test_nothing_is_deleted_without_proof(way: str, project: Project, broken: Broken) -> None:
    broken.whole_before()
    with project.server():
        live = project.run("reconcile")["live"]
        broken.write("1.jsonl", broken.first)
        WAYS[way](broken)
        result = project.run("reconcile", code=9)
        assert (result["error"]["code"], result["complete"]) == (9, False)
        assert (result["deleted"], result["documents"]["deleted"]) == (0, 0)
        # What could be read was taken in: the changed text and the new document.
        assert (result["embedded"], result["written"], result["live"]) == (2, 2, live)
        rows = project.rows(live)
        assert len(rows.ids) == COUNT + 1
        broken.mend()
        mended = project.run("reconcile")
        assert (mended["class"], mended["deleted"], mended["failed"]) == ("delete", COUNT - KEPT, 0)
        rows = project.rows(live)
        assert dict(zip(rows.ids, rows.texts, strict=True)) == broken.corpus


def test_a_new_build_of_an_incomplete_source_does_not_replace_the_live_one(
    project: Project, broken: Broken, tiny_models: tuple[Path, Path]
) -> None:
    (project.folder / "other").symlink_to(tiny_models[1], target_is_directory=True)
    broken.mend()
    with project.server():
        live = project.run("reconcile")["live"]
        before = project.run("query", "garden")
        (broken.folder / "2.jsonl").unlink()
        broken.truncated_gz()
        project.change({"model.use": "path:./other"})
        for attempt in (1, 2):
            result = project.run("reconcile", code=9)
            assert (result["class"], result["live"]) == ("rebuild", live)
            assert result["build"] != live
            assert "does not replace" in result["error"]["what"]
            assert (result["embedded"] == 0) is (attempt == 2), "the second run adds nothing"
            assert _statuses(project) == {live: "live", result["build"]: "building"}
        after = project.run("query", "garden")
        assert (after["build"], after["hits"]) == (live, before["hits"])

        broken.mend()
        mended = project.run("reconcile")
        assert (mended["live"], mended["embedded"] + result["documents"]["unchanged"]) == (
            result["build"],
            len(broken.corpus),
        )
        rows = project.rows(mended["live"])
        assert dict(zip(rows.ids, rows.texts, strict=True)) == broken.corpus
        assert _statuses(project) == {live: "kept", mended["live"]: "live"}


def test_with_nothing_live_an_incomplete_source_goes_live(project: Project, broken: Broken) -> None:
    broken.truncated_gz()
    with project.server():
        result = project.run("reconcile", code=9)
        assert result["live"] == result["build"] is not None
        readable = len(project.rows(result["live"]).ids)
        assert len(broken.first) <= readable < len(broken.corpus)
        assert project.run("query", broken.first[0]["text"])["hits"][0]["id"] == broken.first[0]["id"]
        broken.mend()
        mended = project.run("reconcile")
        assert (mended["live"], mended["written"]) == (result["live"], len(broken.corpus) - readable)


def _statuses(project: Project) -> dict[str, Any]:
    return {build["id"]: build["status"] for build in project.run("status")["builds"]}
