"""What a loaded build still needs: its indexes, built with enough memory, and statistics."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from psycopg import sql
from psycopg.errors import Diagnostic

from embedspec.stores.records import BuildRecord
from embedspec_pgvector import ddl
from embedspec_pgvector.config import build_memory_bytes
from embedspec_pgvector.ddl import Extension, Names
from embedspec_pgvector.session import Cursor, set_local

MEMORY_CAP_BYTES = 1 << 30
"""On servers whose memory we do not know; never below what the server itself is set to."""
_MIN_MEMORY_BYTES = 64 << 20
_NEW_SHARE = 0.1
"""As autovacuum has it (autovacuum_analyze_scale_factor)."""
SAFE_PARALLEL = (0, 8, 2)
"""Before it, a parallel build may overflow a buffer (CVE-2026-3172)."""
SAFE_VACUUM = (0, 8, 4)


def index_is_valid(cursor: Cursor, names: Names) -> bool | None:
    """Whether the HNSW index can be used; None if there is none."""
    row = cursor.execute(
        "SELECT i.indisvalid AND i.indisready FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
        " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = %s",
        (names.schema, names.hnsw_name),
    ).fetchone()
    return None if row is None else bool(row[0])


def memory_settings(
    cursor: Cursor, names: Names, build: BuildRecord, cap_bytes: int | None
) -> dict[str, str]:
    """maintenance_work_mem that holds the whole graph, as far as the cap allows."""
    row = cursor.execute(
        sql.SQL("SELECT count(*), pg_size_bytes(current_setting('maintenance_work_mem')) FROM {}").format(
            names.vectors
        )
    ).fetchone()
    assert row is not None  # count(*) gives a row
    rows, configured = row
    needed = build_memory_bytes(build.dimension, build.quantization, rows) * 11 // 10
    cap = max(configured, MEMORY_CAP_BYTES) if cap_bytes is None else cap_bytes
    memory = max(_MIN_MEMORY_BYTES, min(needed, cap), configured if cap_bytes is None else 0)
    return {"maintenance_work_mem": f"{memory >> 10}kB"}


def create_index(
    cursor: Cursor,
    names: Names,
    extension: Extension,
    build: BuildRecord,
    *,
    cap_bytes: int | None,
    parallel: bool,
) -> list[str]:
    """Make the HNSW index in this transaction; returns what the server had to say about memory."""
    settings = memory_settings(cursor, names, build, cap_bytes)
    if not parallel or extension.version < SAFE_PARALLEL:
        settings["max_parallel_maintenance_workers"] = "0"
    set_local(cursor, settings)
    notes: list[str] = []

    def listen(notice: Diagnostic) -> None:
        if "no longer fits" in (notice.message_primary or ""):
            memory = int(settings["maintenance_work_mem"].removesuffix("kB")) >> 10
            notes.append(f"index build: {notice.message_primary} ({memory} MB); it took longer for that")

    # One that is there is invalid: left by an interrupted CREATE or REINDEX CONCURRENTLY.
    cursor.execute(sql.SQL("DROP INDEX IF EXISTS {}").format(names.hnsw))
    with _listening(cursor, listen):
        cursor.execute(ddl.create_hnsw(names, extension, build))
    if extension.version < SAFE_VACUUM:
        version = ".".join(map(str, extension.version))
        notes.append(f"pgvector {version} can damage an hnsw index on vacuum; 0.8.4 does not: upgrade it")
    return notes


@contextmanager
def _listening(cursor: Cursor, listen: Callable[[Diagnostic], None]) -> Iterator[None]:
    """Hears the server's notices inside the block."""
    cursor.connection.add_notice_handler(listen)
    try:
        yield
    finally:
        cursor.connection.remove_notice_handler(listen)


def may_vacuum(extension: Extension, build: BuildRecord) -> bool:
    """Whether a vacuum is safe: before pgvector 0.8.4 it may damage an hnsw index."""
    return build.index["type"] != "hnsw" or extension.version >= SAFE_VACUUM


def analyze(cursor: Cursor, names: Names) -> None:
    """Statistics of both tables, where there are none or the table changed its size by a tenth since:
    each takes as long as writing hundreds of rows."""
    for table, name in ((names.docs, names.docs_name), (names.vectors, names.vectors_name)):
        row = cursor.execute(
            sql.SQL(
                "SELECT abs(pg_relation_size(c.oid) / current_setting('block_size')::bigint - relpages)"
                " <= relpages * {share} AND EXISTS (SELECT FROM pg_stats WHERE schemaname = {schema}"
                " AND tablename = {name}) FROM pg_class c WHERE c.oid = {table}::regclass"
            ).format(
                share=sql.Literal(_NEW_SHARE),
                schema=sql.Literal(names.schema),
                name=sql.Literal(name),
                table=sql.Literal(table.as_string()),
            )
        ).fetchone()
        if not (row and row[0]):
            cursor.execute(sql.SQL("ANALYZE {}").format(table))
