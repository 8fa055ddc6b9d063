"""An update between two real exports: a part of the packages of Debian 12 and 13, chosen by hash."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from .project import Project

ABOUT = 6_000
"""Of 63,436 packages in the first export."""
FIELDS = ("version", "section", "source")

Package = tuple[str, tuple[Any, ...]]
"""Text and metadata."""


def part_of(export: Path, to: Path) -> dict[str, Package]:
    """Write the chosen packages of an export as they stand in it; returns them by name."""
    found: dict[str, Package] = {}
    with gzip.open(export, "rt", encoding="utf-8") as lines, gzip.open(to, "wt", encoding="utf-8") as out:
        for line in lines:
            record = json.loads(line)
            place = int.from_bytes(hashlib.sha256(record["_id"].encode()).digest()[:4], "big")
            if place < 2**32 * ABOUT / 63_436:
                out.write(line)
                text = f"{record['title']} {record['text']}".strip()
                metadata = tuple(record["metadata"].get(field) for field in FIELDS)
                found[record["_id"]] = (text, metadata)
    return found


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_update_between_two_exports(project: Project, shared: Path) -> None:
    data = shared / "data" / "debian-packages"
    before = part_of(data / "corpus.jsonl.gz", project.folder / "before.jsonl.gz")
    after = part_of(data / "corpus-next.jsonl.gz", project.folder / "after.jsonl.gz")
    both = before.keys() & after.keys()
    changed = {name for name in both if before[name][0] != after[name][0]}
    moved = {name for name in both - changed if before[name][1] != after[name][1]}
    expected = {
        "added": len(after.keys() - before.keys()),
        "changed": len(changed),
        "metadata_changed": len(moved),
        "deleted": len(before.keys() - after.keys()),
        "unchanged": len(both) - len(changed) - len(moved),
    }
    assert min(expected.values()) > 100
    known = {text for text, _ in before.values()}
    new = {text for text, _ in after.values()} - known
    project.change(
        {
            "corpus": {
                "source": {"type": "jsonl", "path": "before.jsonl.gz", "id": "_id"},
                "text": "{title} {text}",
                "metadata": [f"metadata.{field}" for field in FIELDS],
            }
        }
    )
    with project.server():
        first = project.run("reconcile")
        assert (first["embedded"], first["written"]) == (len(known), len(before))

        project.change({"corpus.source.path": "after.jsonl.gz"})
        planned = project.run("plan")
        result = project.run("reconcile")
        for shown in (planned, result):
            assert {key: shown["documents"][key] for key in expected} == expected
            assert shown["chunks"]["embed"] == len(new)
        print(expected, "new texts:", len(new))
        assert (result["live"], result["failed"]) == (first["live"], 0)
        assert result["embedded"] == len(new), "metadata changes embed nothing, known texts neither"
        assert result["written"] == expected["added"] + expected["changed"]
        assert (result["patched"], result["deleted"]) == (expected["metadata_changed"], expected["deleted"])
        rows = project.rows(result["live"])
        stored = {
            name: (text, tuple(json.loads(metadata).get(f"metadata.{field}") for field in FIELDS))
            for name, text, metadata in zip(rows.ids, rows.texts, rows.metadata, strict=True)
        }
        assert stored == after

        third = project.run("reconcile")
        assert third["class"] == "none"
        assert [third[key] for key in ("embedded", "written", "patched", "deleted")] == [0, 0, 0, 0]
        assert project.run("plan")["proof"]["serial"] == third["proof"]["serial"], "nothing was written"
