"""Nearest rows of a build, by its index or exactly: the statement and its answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from psycopg import sql

from embedspec.stores.records import BuildRecord
from embedspec.types import Candidate, Filter, Matrix
from embedspec_pgvector import codec
from embedspec_pgvector.config import MAX_EF_SEARCH
from embedspec_pgvector.ddl import Extension, Names, distance, score, search_settings
from embedspec_pgvector.filters import FilterSql
from embedspec_pgvector.session import Cursor

QUERIES = 64
"""Query vectors sent with one statement; bounds the answer held in memory."""

_SPARE = 8
"""Rows beyond k that an approximate search takes, so that ties at the k-th place go by id."""


def settings(search: Mapping[str, Any], k: int, *, exact: bool) -> dict[str, str]:
    """Server settings of one search. The index gives no more rows than it looks at, so ef_search
    grows with k; iterative scans go on where filters or deleted rows use up the candidates.
    Relaxed order finds more than strict at the same cost, and the rows are sorted again anyway."""
    if exact or "ef_search" not in search:
        return {}
    wide = min(MAX_EF_SEARCH, max(int(search["ef_search"]), k + _SPARE))
    return search_settings({**search, "ef_search": wide})


def statement(
    names: Names, extension: Extension, build: BuildRecord, filter: FilterSql | None, *, exact: bool
) -> sql.Composed:
    """One statement for any number of query vectors; parameters `queries`, `k`, `inner`, the filter's.

    The rows are ordered by distance alone first, as an index can do. Adding 0 to a distance hides
    it from the planner: exact search must not use an index (it keeps all rows that tie with the
    last one instead), and rows of a relaxed scan are not in the order that the planner trusts in.
    """
    near = distance(extension, build, sql.SQL("t.embedding"), sql.SQL("q.v"))
    matching: sql.Composable = sql.SQL("")
    source = sql.SQL("{} t").format(names.vectors)
    if filter is not None and exact:
        # Once for all queries, and keys only: joined as they are, the wide rows would spill.
        matching = sql.SQL("WITH f AS MATERIALIZED (SELECT m.key FROM {} m WHERE {}) ").format(
            names.docs, filter.condition
        )
        source = sql.SQL("{} t JOIN f ON f.key = t.key").format(names.vectors)
    elif filter is not None:
        source = sql.SQL("{} t JOIN {} m ON m.key = t.key WHERE {}").format(
            names.vectors, names.docs, filter.condition
        )
    limit = "({near}) + 0 FETCH FIRST %(k)s ROWS WITH TIES" if exact else "{near} LIMIT %(inner)s"
    return sql.SQL(
        "{matching}SELECT q.n, r.id, r.chunk, {score}, r.text, r.metadata"
        " FROM unnest(%(queries)b::{type}[]) WITH ORDINALITY AS q(v, n)"
        " CROSS JOIN LATERAL ("
        "SELECT d.id, d.chunk, d.text, d.metadata, h.distance"
        " FROM (SELECT t.key, {near} AS distance FROM {source} ORDER BY {limit}) h"
        " JOIN {docs} d ON d.key = h.key WHERE h.distance <> 'NaN'"
        " ORDER BY h.distance + 0, d.id, d.chunk LIMIT %(k)s) r"
        " ORDER BY q.n, r.distance + 0, r.id, r.chunk"
    ).format(
        matching=matching,
        score=score(build.metric, sql.SQL("r.distance")),
        type=extension.type_name(build.quantization),
        near=near,
        source=source,
        limit=sql.SQL(limit).format(near=near),
        docs=names.docs,
    )


def find(
    cursor: Cursor,
    names: Names,
    extension: Extension,
    build: BuildRecord,
    vectors: Matrix,
    k: int,
    *,
    filter: Filter | None,
    exact: bool,
) -> list[list[Candidate]]:
    """Up to k candidates for each query vector, in the transaction that has the settings."""
    condition = FilterSql(filter, sql.SQL("m.metadata")) if filter is not None else None
    query = statement(names, extension, build, condition, exact=exact)
    oid = extension.type_oid(build.quantization)
    found: list[list[Candidate]] = [[] for _ in vectors]
    for start in range(0, len(vectors), QUERIES):
        wire = codec.vector_array_wire(vectors[start : start + QUERIES], build.quantization, oid)
        bound = condition.parameters if condition else {}
        cursor.execute(query, {**bound, "queries": wire, "k": k, "inner": k + _SPARE}, binary=True)
        for n, id, chunk, value, text, metadata in cursor:
            found[start + n - 1].append(Candidate(id, chunk, value, text, metadata))
    return found
