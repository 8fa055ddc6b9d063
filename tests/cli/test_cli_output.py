"""The JSON is strict, and streams that fail or go away end in order."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_process import COMMAND, Ended, environment

from embedspec.cli import exits
from embedspec.cli.output import Sink, encode, printable
from embedspec.errors import EmbedspecError, Held, PlanRefused, UsageError
from embedspec.results import Plan


def test_json_is_strict_utf8_without_nan() -> None:
    data = {"a": [float("nan"), float("inf"), 1.5], "path\udcff": "x\ud800y", "ü": "日本"}
    raw = encode(data)
    assert raw.endswith(b"}\n")
    assert json.loads(raw.decode("utf-8")) == {"a": [None, None, 1.5], "path\ufffd": "x\ufffdy", "ü": "日本"}


def test_texts_cannot_drive_the_terminal() -> None:
    assert printable("a\x1b[31mb\x07\x9b2Jc\r\nd\te\udc80") == "a\ufffd[31mb\ufffd\ufffd2Jc\ufffd\nd\te\ufffd"


def test_a_reader_that_goes_away_is_no_failure() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    sink = Sink(writer, "utf-8")
    assert sink.write("text") == 4
    assert sink.failure is None
    os.close(writer)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_is_a_failure(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [COMMAND, "schema"], stdout=full, stderr=subprocess.PIPE, env=environment(), check=False
        )
    assert done.returncode == 1
    assert b"could not be written: [Errno 28]" in done.stderr
    assert b"Traceback" not in done.stderr


def test_characters_that_the_terminal_lacks_are_replaced() -> None:
    reader, writer = os.pipe()
    Sink(writer, "ascii").write("é→x  \n")
    os.close(writer)
    assert os.read(reader, 100) == b"??x\n"
    os.close(reader)


@pytest.mark.parametrize("descriptors", [(1,), (2,), (0, 1, 2), (0, 2)])
def test_closed_standard_streams(descriptors: tuple[int, ...], tmp_path: Path) -> None:
    closed = " ".join(f"{d}{'<' if d == 0 else '>'}&-" for d in descriptors)
    done = subprocess.run(
        ["sh", "-c", f"'{COMMAND}' init --json {closed}"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done
    assert (tmp_path / "handbook.yaml").exists()
    assert "Traceback" not in done.stderr
    if 1 not in descriptors:
        assert len(json.loads(done.stdout)["files"]) == 2


def test_codes_of_several_specs() -> None:
    order = (130, 1, 8, 3, 6, 4, 9, 7, 5, 2, 0)
    for place, code in enumerate(order):
        assert exits.combine(order[place:]) == code
    assert exits.combine([0, 0]) == 0
    assert exits.combine([0, 17]) == 1
    # Softened one by one: a soft 6 must not hide the 9 of another spec.
    assert exits.combine(exits.soften(code, {6}) for code in (6, 9)) == 9
    assert exits.combine(exits.soften(code, {6, 9}) for code in (6, 9)) == 0


def test_results_beside_errors() -> None:
    plan = Plan(**{"class": "upsert"}, spec="hints")
    refused, held, plain = PlanRefused("too many deletes"), Held("a gate failed"), UsageError("no")
    refused.result = held.result = plan
    assert set(exits.failure(refused).data) == {"error", "plan"}
    assert exits.failure(held).data == {**plan.dump(), "error": held.as_json()}
    assert exits.failure(plain).data == {"error": plain.as_json()}
    unfinished = EmbedspecError("two dead letters")
    unfinished.code, unfinished.result = 9, plan
    assert exits.failure(unfinished).data["class"] == "upsert"


def test_broken_pipe_in_help_is_quiet(embedspec: Callable[..., Ended], tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [COMMAND, "--help"], stdout=writer, stderr=subprocess.PIPE, env=environment(), check=False
    )
    os.close(writer)
    assert done.stderr == b""
