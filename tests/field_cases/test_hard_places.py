"""Beside the pages' cases: odd paths, odd ids, a home that cannot be written, a registry of another time."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import psycopg
import pytest
from cli.cli_process import COMMAND, environment

from embedspec_pgvector.embedded import EmbeddedServer

from .case import Case


def test_a_project_at_an_odd_path(case: Case, tmp_path: Path) -> None:
    case.write({"id": "a", "text": "x"}, name="c d'ü.jsonl")
    case.change({"corpus.source.path": "c d'*.jsonl"})
    odd = tmp_path / "we ird, 'q\" $x %s#@;日本" / "-dash\nline"
    odd.parent.mkdir()
    case.folder.rename(odd)
    spec = (odd / "spec.yaml").rename(odd / "sp ec's, ü.yaml")
    home = {"EMBEDSPEC_HOME": str(odd / ".embedspec")}
    done = case.run("reconcile", "--yes", spec=spec, cwd=odd, env=home)
    assert (done["written"], done["failed"]) == (1, 0)
    asked = case.run("query", "x", spec=spec.relative_to(odd), cwd=odd, env=home)
    assert [hit["id"] for hit in asked["hits"]] == ["a"]


def test_ids_at_their_limits_and_texts_that_drive_terminals(case: Case) -> None:
    ids = [
        "x" * 512,
        "é" * 256,
        "é",
        "e\u0301",
        " ",
        "\n",
        "\x1b[2J",
        "\u202e",
        "0",
        "00",
        "'; DROP TABLE x --",
    ]
    refused = ["x" * 513, "é" * 257, "", "n\0l"]
    case.write(*({"id": i, "text": f"document {n} \x1b[31m\x07"} for n, i in enumerate([*ids, *refused])))
    done = case.reconcile(code=9)
    assert (done["written"], done["failed"], done["complete"]) == (len(ids), len(refused), False)
    reasons = [letter["reason"] for letter in case.dead_letters(done)]
    for reason, cause in zip(reasons, ("513 bytes", "514 bytes", "empty", "NUL"), strict=True):
        assert cause in reason
    assert sorted(case.ids("document", "-k", "50")) == sorted(ids)
    shown = case.start("query", "document", "-k", "50").out
    assert not any(ord(letter) < 32 and letter != "\n" for letter in shown)


def test_a_home_that_cannot_be_written(case: Case) -> None:
    case.write({"id": "a", "text": "x"})
    home = case.folder / "home"
    home.write_text("a file")
    env = {"EMBEDSPEC_HOME": str(home)}
    assert case.run("status", env=env)["live"] is None
    assert case.run("plan", env=env)["class"] == "create"
    error = case.run("reconcile", "--yes", code=1, env=env)["error"]
    assert error["where"].startswith(str(home))
    assert "EMBEDSPEC_HOME" in error["fix"]
    assert home.read_text() == "a file"


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root, setpriv")
def test_what_another_user_may_not_read(case: Case) -> None:
    """A home of root's, as a container leaves it behind, and a spec in a closed folder."""

    def refused(spec: Path, verb: str, *arguments: str) -> dict[str, str]:
        nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        command = [*nobody, str(COMMAND), verb, str(spec), *arguments, "--json"]
        done = subprocess.run(
            command, cwd="/", env=environment(), capture_output=True, text=True, check=False
        )
        if not done.stdout:
            pytest.skip(f"another user cannot run the command here: {done.stderr}")
        assert done.returncode == 1, done
        assert "Traceback" not in done.stderr
        error: dict[str, str] = json.loads(done.stdout)["error"]
        assert "Permission denied" in error["what"]
        assert "unexpected" not in error["what"]
        return error

    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        spec = folder / "spec.yaml"
        spec.write_bytes(case.spec.read_bytes())
        (folder / "c.jsonl").write_text('{"id": "a", "text": "x"}')
        (folder / ".embedspec" / "pg").mkdir(parents=True)
        (folder / ".embedspec" / "pg").chmod(0o700)
        for verb in (["status"], ["reconcile", "--yes"], ["query", "x"]):
            error = refused(spec, *verb)
            assert error["where"] == str(folder / ".embedspec" / "pg")
            assert "EMBEDSPEC_HOME" in error["fix"]
        folder.chmod(0o700)
        assert refused(spec, "validate")["where"] == str(spec)


def test_a_cache_that_cannot_be_written_costs_time_only(case: Case) -> None:
    case.write({"id": "a", "text": "a text that no cache keeps"})
    cache = case.home / "cache"
    kept = case.home / "cache-of-others"
    if cache.exists():
        cache.rename(kept)
    cache.write_text("a file")
    try:
        done = case.reconcile()
        assert (done["embedded"], done["written"]) == (1, 1)
        assert any("cache cannot be written" in warning for warning in done["warnings"])
        case.assert_nothing_to_do()
        assert case.ids("a text") == ["a"]
    finally:
        cache.unlink()
        if kept.exists():
            kept.rename(cache)


def test_a_registry_that_another_version_wrote(case: Case) -> None:
    case.write({"id": "a", "text": "x"})
    case.reconcile()
    server = EmbeddedServer(case.home / "pg")
    with psycopg.connect(**server.ensure()) as connection:  # type: ignore[arg-type]
        changed = connection.execute(
            "UPDATE embedspec_build SET record = record::jsonb - 'fingerprints' WHERE name = %s", [case.name]
        )
        assert changed.rowcount == 1
    server.close()
    for verb in (("status",), ("reconcile", "--yes"), ("query", "x")):
        error = case.run(*verb, code=1)["error"]
        assert "registry" in error["what"]
        assert "fingerprints" in error["what"]
        assert error["fix"]
