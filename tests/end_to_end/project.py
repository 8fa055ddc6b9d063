"""A project on disk as a user has it: spec, corpus, models, and the command run on it as a process."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import yaml
from psycopg import sql

from embedspec.types import Matrix
from embedspec_pgvector.embedded import EmbeddedServer

HERE = Path(__file__).resolve().parent
COMMAND = Path(sys.executable).parent / "embedspec"
PATIENCE_S = 120.0
Record = Mapping[str, Any]


def environment() -> dict[str, str]:
    """This process's, without what would steer the command."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("EMBEDSPEC_", "PYTHON"))}


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """Standard output, which is exactly one JSON object."""
        value = json.loads(self.out)
        assert isinstance(value, dict)
        return value


@dataclass(frozen=True)
class Rows:
    """All rows of a build, by id. `vectors` is (n, dimension) float32, whatever the column holds."""

    ids: list[str]
    chunks: list[int]
    texts: list[str]
    metadata: list[str]
    vectors: Matrix

    def same_as(self, other: Rows) -> None:
        """Fails unless everything but the last bits of the vectors is equal: those depend on the
        batch that a text was in (models.encoder: cosine above 1 - 1e-6 in float32 arithmetic)."""
        assert self.ids == other.ids
        assert self.chunks == other.chunks
        assert self.texts == other.texts
        assert self.metadata == other.metadata
        assert self.vectors.shape == other.vectors.shape
        norms = np.linalg.norm(self.vectors, axis=1) * np.linalg.norm(other.vectors, axis=1)
        cosines = np.einsum("ij,ij->i", self.vectors, other.vectors) / norms
        assert cosines.min() > 1 - 1e-6


class Project:
    """`values` is the spec; keys of `change` are dotted, e.g. `{"embedding.dimension": 16}`."""

    def __init__(self, folder: Path, model: Path, *, name: str = "t") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.name = name
        self.spec = folder / f"{name}.yaml"
        (folder / "model").symlink_to(model, target_is_directory=True)
        self.values: dict[str, Any] = {
            "name": name,
            "model": {"use": "path:./model", "weights": "float32"},
            "corpus": {"source": {"type": "jsonl", "path": "c.jsonl"}},
            "target": {"store": "pgvector", "url": "embedded", "index": {"type": "exact"}},
        }
        self._runs: list[Run] = []
        self.change({})

    def change(self, changes: Mapping[str, Any]) -> None:
        """Edit the spec file; None takes a key out."""
        for dotted, value in changes.items():
            node = self.values
            *parents, last = dotted.split(".")
            for key in parents:
                node = node.setdefault(key, {})
            if value is None:
                node.pop(last, None)
            else:
                node[last] = value
        # Readers open it meanwhile.
        new = self.spec.with_suffix(".new")
        new.write_text(yaml.safe_dump(self.values, sort_keys=False))
        new.replace(self.spec)

    def write(self, records: Iterable[Record], name: str = "c.jsonl") -> Path:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        new = path.with_name(f"{path.name}.new")
        new.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))
        new.replace(path)
        return path

    # -- the command ------------------------------------------------------------------------------
    def run(self, verb: str, *arguments: str, code: int = 0) -> dict[str, Any]:
        """`embedspec VERB SPEC ARGUMENTS --json` to its end: what it printed."""
        ended = self.start(verb, *arguments).end()
        assert ended.code == code, f"{verb}: exit {ended.code}, not {code}\n{ended.out}\n{ended.err}"
        assert "Traceback" not in ended.err, ended.err
        return ended.json

    def start(
        self,
        verb: str,
        *arguments: str,
        log: Path | None = None,
        pause_s: float = 0.0,
    ) -> Run:
        """The same, at work. `log`: write down every text that goes to the model, one batch a line,
        and wait `pause_s` before each, as a slower model would."""
        command = [str(COMMAND)]
        if log is not None:
            command = [sys.executable, str(HERE / "counting.py"), str(log), str(pause_s)]
        approved = ["--yes"] if verb == "reconcile" else []
        run = Run([*command, verb, str(self.spec), *arguments, *approved, "--json"], self.folder)
        self._runs.append(run)
        return run

    def close(self) -> None:
        """End what a failed test left at work."""
        for run in self._runs:
            run.kill()

    # -- the server -------------------------------------------------------------------------------
    @property
    def server_folder(self) -> Path:
        return self.folder / ".embedspec" / "pg"

    @contextlib.contextmanager
    def server(self) -> Iterator[str]:
        """The DSN of the embedded server, which runs at least as long as the block."""
        server = EmbeddedServer(self.server_folder)
        try:
            yield psycopg.conninfo.make_conninfo(**server.ensure())
        finally:
            server.close()

    @contextlib.contextmanager
    def sql(self) -> Iterator[psycopg.Connection[Any]]:
        with self.server() as dsn, psycopg.connect(dsn, autocommit=True) as connection:
            yield connection

    def forbid_sequential_scans(self) -> None:
        """From now on the server takes an index wherever there is one: for so few rows it would
        rather read them all, and an index with holes would not be noticed."""
        with self.sql() as connection:
            connection.execute("ALTER DATABASE postgres SET enable_seqscan = off")

    def rows(self, build: str) -> Rows:
        """What the tables of a build hold."""
        docs, vectors = f"{self.name}__{build}", f"{self.name}__{build}_vec"
        query = sql.SQL(
            "SELECT d.id, d.chunk, d.text, d.metadata::text, v.embedding::real[]"
            " FROM {} d FULL JOIN {} v USING (key) ORDER BY d.id, d.chunk"
        ).format(sql.Identifier(docs), sql.Identifier(vectors))
        with self.sql() as connection:
            found = connection.execute(query).fetchall()
        assert all(None not in row for row in found), "a row has no vector, or a vector no row"
        ids, chunks, texts, metadata, embeddings = (list(column) for column in zip(*found, strict=True))
        return Rows(ids, chunks, texts, metadata, np.array(embeddings, dtype=np.float32))

    def processes(self) -> list[str]:
        """Command lines of the processes that work in this folder, except the one that asks."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                place = str((entry / "cwd").readlink())
            except OSError:
                continue  # gone, or not ours to look at
            if str(self.folder) in line or place.startswith(str(self.folder)):
                found.append(f"{entry.name}: {line}")
        return found

    def assert_nothing_is_left(self, patience_s: float = 20.0) -> None:
        """Server and watcher go by themselves once the last client has gone."""
        wait_for(lambda: not self.processes(), patience_s, lambda: f"still there: {self.processes()}")


class Run:
    """A command at work, its output in files, so that it never waits for a reader."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self._out = folder / f"out-{time.monotonic_ns()}"
        self._err = self._out.with_suffix(".err")
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    @property
    def stderr(self) -> str:
        return self._err.read_text(errors="replace")

    def has_told(self, stage: str) -> bool:
        """Whether its progress says that this stage is over."""
        return re.search(rf"^{stage}: .*\bdone\b", self.stderr, re.MULTILINE) is not None

    @property
    def over(self) -> bool:
        return self.process.poll() is not None

    def wait_for(self, happened: Callable[[], bool], patience_s: float = PATIENCE_S) -> bool:
        """Whether it happened before the process ended."""
        wait_for(lambda: happened() or self.over, patience_s, lambda: f"it hangs: {self.stderr}")
        return happened()

    def kill(self) -> bool:
        """kill -9. Whether it was still at work."""
        was_running = not self.over
        self.process.kill()
        self.process.wait()
        return was_running and self.process.returncode == -signal.SIGKILL

    def end(self) -> Ended:
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"it hangs: {self.stderr}") from None
        return Ended(self.process.returncode, self._out.read_text(), self.stderr)


def wait_for(happened: Callable[[], bool], patience_s: float, otherwise: Callable[[], str]) -> None:
    deadline = time.monotonic() + patience_s
    while not happened():
        assert time.monotonic() < deadline, otherwise()
        time.sleep(0.01)


def sent(log: Path) -> list[list[str]]:
    """The texts (content hashes) that a run gave to the model, batch by batch."""
    return [line.split() for line in log.read_text().splitlines()] if log.exists() else []
