"""Rows of a build: in by COPY or by unnest of binary arrays, changed, deleted, and read back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import psycopg
from psycopg import sql

from embedspec.errors import StoreError
from embedspec.stores.records import BuildRecord
from embedspec.types import HashArray, Matrix, RowBatch, RowHashes, StoredRow
from embedspec_pgvector import codec
from embedspec_pgvector.ddl import Extension, Names
from embedspec_pgvector.session import Cursor, set_local

COPY_ROWS = 2048
"""Rows packed at a time: the server takes one piece in while the next is packed."""
UNNEST_ROWS = 1000
READ_ROWS = 4096
SCAN_BLOCKS = 8192
"""Blocks of the docs table read at a time: 64 MB, with some 10^5 rows and 5 MB of hashes."""
SCAN_SETTINGS = {"max_parallel_workers_per_gather": "0"}
"""Starting workers costs more than they read."""
PAGE_BYTES = 8 << 20
"""Vectors fetched at a time."""


def _part(rows: RowBatch, start: int, size: int) -> RowBatch:
    piece = slice(start, start + size)
    return RowBatch(
        rows.keys[piece],
        rows.ids[piece],
        rows.chunks[piece],
        rows.content[piece],
        rows.metadata_hash[piece],
        rows.texts[piece],
        rows.metadata[piece],
        rows.vectors[piece],
    )


def _parts(rows: RowBatch, size: int) -> Iterator[RowBatch]:
    for start in range(0, len(rows), size):
        yield _part(rows, start, size)


def copy_in(cursor: Cursor, names: Names, build: BuildRecord, rows: RowBatch) -> None:
    """Both tables by binary COPY. A key that is there already is a UniqueViolation."""
    statement = sql.SQL("COPY {} FROM STDIN (FORMAT binary)")
    with cursor.copy(statement.format(names.docs)) as copy:
        copy.write(codec.COPY_HEADER)
        for part in _parts(rows, COPY_ROWS):
            copy.write(codec.copy_docs(part))
        copy.write(codec.COPY_TRAILER)
    with cursor.copy(statement.format(names.vectors)) as copy:
        copy.write(codec.COPY_HEADER)
        for part in _parts(rows, COPY_ROWS):
            copy.write(codec.copy_vectors(part, build.quantization))
        copy.write(codec.COPY_TRAILER)


def upsert(cursor: Cursor, names: Names, extension: Extension, build: BuildRecord, rows: RowBatch) -> None:
    """Insert or replace. A vector that did not change is left alone: rewriting it would put a
    second copy into the graph."""
    docs = sql.SQL(
        "INSERT INTO {} (key, content, metadata_hash, chunk, id, text, metadata)"
        " SELECT u.key, u.content, u.metadata_hash, u.chunk, u.id, u.text, u.metadata::jsonb"
        " FROM unnest(%b::bytea[], %b::bytea[], %b::bytea[], %b::int4[], %b::text[], %b::text[], %b::text[])"
        " AS u(key, content, metadata_hash, chunk, id, text, metadata)"
        " ON CONFLICT (key) DO UPDATE SET content = EXCLUDED.content,"
        " metadata_hash = EXCLUDED.metadata_hash, chunk = EXCLUDED.chunk, id = EXCLUDED.id,"
        " text = EXCLUDED.text, metadata = EXCLUDED.metadata"
    ).format(names.docs)
    vectors = sql.SQL(
        "INSERT INTO {table} AS t (key, embedding)"
        " SELECT u.key, u.embedding FROM unnest(%b::bytea[], %b::{type}[]) AS u(key, embedding)"
        " ON CONFLICT (key) DO UPDATE SET embedding = EXCLUDED.embedding"
        " WHERE NOT (t.embedding {equal} EXCLUDED.embedding)"
    ).format(table=names.vectors, type=extension.type_name(build.quantization), equal=extension.equal())
    oid = extension.type_oid(build.quantization)
    for part in _parts(_last_of_each_key(rows), UNNEST_ROWS):
        keys = codec.hash_array_wire(part.keys)
        cursor.execute(
            docs,
            (
                keys,
                codec.hash_array_wire(part.content),
                codec.hash_array_wire(part.metadata_hash),
                codec.int_array_wire(part.chunks),
                codec.text_array_wire(part.ids),
                codec.text_array_wire(part.texts),
                codec.text_array_wire(part.metadata),
            ),
        )
        cursor.execute(vectors, (keys, codec.vector_array_wire(part.vectors, build.quantization, oid)))


def _last_of_each_key(rows: RowBatch) -> RowBatch:
    """One statement may not touch a row twice; the last of two rows with one key counts."""
    _, from_the_end = np.unique(rows.keys[::-1], return_index=True)
    if len(from_the_end) == len(rows):
        return rows
    return rows.take(sorted((len(rows) - 1 - from_the_end).tolist()))


def patch(
    cursor: Cursor, names: Names, keys: HashArray, metadata_hash: HashArray, metadata: Sequence[str]
) -> int:
    cursor.execute(
        sql.SQL(
            "UPDATE {} d SET metadata_hash = u.metadata_hash, metadata = u.metadata::jsonb"
            " FROM unnest(%b::bytea[], %b::bytea[], %b::text[]) AS u(key, metadata_hash, metadata)"
            " WHERE d.key = u.key"
        ).format(names.docs),
        (
            codec.hash_array_wire(keys),
            codec.hash_array_wire(metadata_hash),
            codec.text_array_wire(metadata),
        ),
    )
    return cursor.rowcount


def delete(cursor: Cursor, names: Names, keys: HashArray) -> int:
    wire = codec.hash_array_wire(keys)
    for table in (names.vectors, names.docs):
        cursor.execute(
            sql.SQL("DELETE FROM {} WHERE key = ANY (%b::bytea[])").format(table),
            (wire,),
        )
    return cursor.rowcount


def count(cursor: Cursor, names: Names) -> int:
    row = cursor.execute(sql.SQL("SELECT count(*) FROM {}").format(names.vectors)).fetchone()
    return int(row[0]) if row else 0


def scan_at_once(cursor: Cursor, names: Names) -> RowHashes | None:
    """All hashes by one statement; None if there are so many that `scan` should page through them."""
    if _blocks(cursor, names) > SCAN_BLOCKS:
        return None
    row = cursor.execute(_aggregate(names), binary=True).fetchone()
    found = _hashes(row[0], names) if row and row[0] is not None else RowHashes.empty()
    if len(found) == count(cursor, names):
        return found
    row = cursor.execute(_aggregate(names, with_vector=True), binary=True).fetchone()
    return _hashes(row[0], names) if row and row[0] is not None else RowHashes.empty()


def scan(connection: psycopg.Connection[Any], names: Names) -> Iterator[RowHashes]:
    """All hashes of one snapshot, in pages; occupies the connection to its end."""
    statement = _aggregate(names, with_vector=True) + sql.SQL(" AND ctid >= %s::tid AND ctid < %s::tid")
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        # This takes the snapshot: what it sees is in blocks that are counted after it.
        set_local(cursor, SCAN_SETTINGS)
        for first in range(0, _blocks(cursor, names), SCAN_BLOCKS):
            blocks = (f"({first},0)", f"({first + SCAN_BLOCKS},0)")
            row = cursor.execute(statement, blocks, binary=True).fetchone()
            if row and row[0] is not None:
                yield _hashes(row[0], names)


def _blocks(cursor: Cursor, names: Names) -> int:
    row = cursor.execute(
        sql.SQL("SELECT pg_relation_size({}::regclass) / current_setting('block_size')::bigint").format(
            sql.Literal(names.docs.as_string())
        )
    ).fetchone()
    return int(row[0]) if row else 0


def _aggregate(names: Names, *, with_vector: bool = False) -> sql.Composed:
    """The server puts rows together into one value, so that no row is a message of its own: that
    takes a third of what COPY costs both sides. `with_vector`: only rows that have one: without it
    a row is not there, whatever took it away, and is written again."""
    statement = sql.SQL("SELECT string_agg(key || content || metadata_hash, ''::bytea) FROM {} d").format(
        names.docs
    )
    if not with_vector:
        return statement
    there = sql.SQL(" WHERE EXISTS (SELECT FROM {} v WHERE v.key = d.key)")
    return statement + there.format(names.vectors)


def _hashes(data: bytes, names: Names) -> RowHashes:
    try:
        return codec.read_hashes(data)
    except ValueError:
        raise StoreError(
            "a key or hash in the table has not 16 bytes: another program changed it",
            where=f"{names.schema}.{names.docs_name}",
            fix="delete those rows, and reconcile again",
        ) from None


def read(cursor: Cursor, names: Names, keys: HashArray) -> list[StoredRow]:
    cursor.execute(
        sql.SQL(
            "SELECT key, id, chunk, text, metadata::text, content, metadata_hash FROM {}"
            " WHERE key = ANY (%b::bytea[])"
        ).format(names.docs),
        (codec.hash_array_wire(keys),),
        binary=True,
    )
    return [
        StoredRow(key, id, chunk, text, _canonical(metadata), content, metadata_hash)
        for key, id, chunk, text, metadata, content, metadata_hash in cursor
    ]


def _canonical(metadata: str) -> str:
    """jsonb orders keys by length and puts spaces between; the corpus sorts them and does not."""
    return json.dumps(json.loads(metadata), ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def vectors(
    connection: psycopg.Connection[Any],
    names: Names,
    extension: Extension,
    build: BuildRecord,
    content: HashArray,
) -> Iterator[tuple[bytes, Matrix]]:
    """One vector for each content hash by a server-side cursor; occupies the connection."""
    statement = sql.SQL(
        "SELECT h.content, {send}(t.embedding) FROM (SELECT DISTINCT ON (d.content) d.content, d.key"
        " FROM {docs} d WHERE d.content IN (SELECT unnest(%b::bytea[])) ORDER BY d.content, d.key) h"
        " JOIN {vectors} t ON t.key = h.key"
    ).format(
        send=extension.name("vector_send" if build.quantization.bytes_per_number == 4 else "halfvec_send"),
        docs=names.docs,
        vectors=names.vectors,
    )
    with connection.transaction(), connection.cursor(name="vectors") as cursor:
        cursor.itersize = max(1, PAGE_BYTES // (build.quantization.bytes_per_number * build.dimension))
        cursor.execute(statement, (codec.hash_array_wire(content),), binary=True)
        for found, sent in cursor:
            yield found, codec.read_vector(sent, build.quantization)
