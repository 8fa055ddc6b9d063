"""What a build is made of, as statements: tables, indexes, search function, view. Pure.

A build `b3_9f2c1a` of the index `hand-book` is two tables. The narrow one is what the index and
exact search read; metadata changes never touch it.

    hand_book__b3_9f2c1a       key, content, metadata_hash, chunk, id, text, metadata
    hand_book__b3_9f2c1a_vec   key, embedding
"""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

from embedspec.errors import StoreError
from embedspec.stores.records import BuildRecord
from embedspec.types import Metric, Quantization

MAX_NAME_BYTES = 63

PLAIN_BYTES = 8_080
"""Largest vector that still fits a page beside its key: such vectors stay in the row (PLAIN), which
makes exact search three times as fast as fetching them from TOAST."""

_OPERATORS = {
    Metric.cosine: (sql.SQL("<=>"), "cosine"),
    Metric.dot: (sql.SQL("<#>"), "ip"),
    Metric.l2: (sql.SQL("<->"), "l2"),
}


@dataclass(frozen=True, slots=True)
class Extension:
    """Where pgvector is in this database. Its types and operators are named with their schema."""

    schema: str
    version: tuple[int, ...]
    vector_oid: int
    halfvec_oid: int

    def name(self, name: str) -> sql.Identifier:
        return sql.Identifier(self.schema, name)

    def operator(self, metric: Metric) -> sql.Composed:
        return sql.SQL("OPERATOR({}.{})").format(sql.Identifier(self.schema), _OPERATORS[metric][0])

    def equal(self) -> sql.Composed:
        return sql.SQL("OPERATOR({}.=)").format(sql.Identifier(self.schema))

    def type_name(self, quantization: Quantization) -> sql.Identifier:
        return self.name(_type(quantization))

    def type_oid(self, quantization: Quantization) -> int:
        return self.vector_oid if quantization is Quantization.float32 else self.halfvec_oid

    def column_type(self, build: BuildRecord) -> sql.Composed:
        return sql.SQL("{}({})").format(self.type_name(build.quantization), sql.Literal(build.dimension))


def _type(quantization: Quantization) -> str:
    return "vector" if quantization is Quantization.float32 else "halfvec"


def plain(name: str) -> str:
    """A name as it stands in PostgreSQL: '-' becomes '_'."""
    return name.replace("-", "_")


@dataclass(frozen=True, slots=True)
class Names:
    """Names of everything that belongs to one build; `view` and `function` belong to its index."""

    schema: str
    index: str
    build: str
    raw_build: str
    """The build's id as the core knows it."""

    @staticmethod
    def of(schema: str, build: BuildRecord) -> Names:
        names = Names(schema, plain(build.index_name), plain(build.id), build.id)
        if len(names.hnsw_name.encode()) > MAX_NAME_BYTES:
            raise StoreError(
                f"the name {names.hnsw_name} has more than {MAX_NAME_BYTES} bytes",
                where=f"index {build.index_name}",
                fix="give the index a shorter name",
            )
        return names

    @property
    def docs_name(self) -> str:
        return f"{self.index}__{self.build}"

    @property
    def vectors_name(self) -> str:
        return f"{self.docs_name}_vec"

    @property
    def hnsw_name(self) -> str:
        return f"{self.docs_name}_hnsw"

    @property
    def docs(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.docs_name)

    @property
    def vectors(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.vectors_name)

    @property
    def hnsw(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.hnsw_name)

    @property
    def view(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.index)

    @property
    def function_name(self) -> str:
        return f"{self.index}_search"


def mark(index: str, build_id: str) -> str:
    """The comment that says whose a view or function is, and which build it shows."""
    return f"embedspec: index {index}, build {build_id}"


def create_tables(names: Names, extension: Extension, build: BuildRecord) -> list[sql.Composed]:
    """Both tables, without the index. Columns of fixed width come first in docs, as in COPY."""
    statements = [
        sql.SQL(
            "CREATE TABLE {} (key bytea PRIMARY KEY, content bytea NOT NULL, metadata_hash bytea NOT NULL,"
            ' chunk int NOT NULL, id text COLLATE "C" NOT NULL, text text NOT NULL, metadata jsonb NOT NULL)'
        ).format(names.docs),
        sql.SQL("CREATE TABLE {} (key bytea PRIMARY KEY, embedding {} NOT NULL)").format(
            names.vectors, extension.column_type(build)
        ),
    ]
    if build.quantization.bytes_per_number * build.dimension + 8 <= PLAIN_BYTES:
        statements.append(sql.SQL("ALTER TABLE {} ALTER embedding SET STORAGE PLAIN").format(names.vectors))
    return statements


def drop_tables(names: Names) -> list[sql.Composed]:
    return [
        sql.SQL("DROP TABLE IF EXISTS {}").format(names.vectors),
        sql.SQL("DROP TABLE IF EXISTS {}").format(names.docs),
    ]


def create_id_index(names: Names) -> sql.Composed:
    """For SQL users who look a document up, and for nothing else: made after the load."""
    return sql.SQL("CREATE INDEX IF NOT EXISTS {} ON {} (id)").format(
        sql.Identifier(f"{names.docs_name}_id"), names.docs
    )


def create_hnsw(names: Names, extension: Extension, build: BuildRecord) -> sql.Composed:
    operators = f"{_type(build.quantization)}_{_OPERATORS[build.metric][1]}_ops"
    return sql.SQL(
        "CREATE INDEX {} ON {} USING hnsw (embedding {}) WITH (m = {}, ef_construction = {})"
    ).format(
        sql.Identifier(names.hnsw_name),
        names.vectors,
        extension.name(operators),
        sql.Literal(int(build.index["m"])),
        sql.Literal(int(build.index["ef_construction"])),
    )


def distance(
    extension: Extension, build: BuildRecord, left: sql.Composable, right: sql.Composable
) -> sql.Composed:
    return sql.SQL("{} {} {}").format(left, extension.operator(build.metric), right)


def score(metric: Metric, distance: sql.Composable) -> sql.Composed:
    """The metric out of pgvector's distance: cosine distance, negative dot product, L2 distance."""
    form = sql.SQL("1 - ({})") if metric is Metric.cosine else sql.SQL("-({})")
    return form.format(distance)


def search_settings(search: dict[str, object]) -> dict[str, str]:
    """Server settings for a search with these reader settings; none for an exact index."""
    if "ef_search" not in search:
        return {}
    return {"hnsw.ef_search": str(search["ef_search"]), "hnsw.iterative_scan": "relaxed_order"}


def create_function(
    names: Names, extension: Extension, build: BuildRecord, search: dict[str, object]
) -> list[sql.Composed]:
    """`<index>_search(query, k)`: the live build's hits with the pointer's reader settings.

    The sum with 0 hides from the planner that the rows come from an index by distance: a relaxed
    scan does not keep that order. Replacing the function waits for no reader and keeps its grants.
    Its `query` is a vector of any dimension, so it outlives a change of dimension or quantization.
    """
    query = sql.SQL("query::{}").format(extension.column_type(build))
    nearest = distance(extension, build, sql.SQL("t.embedding"), query)
    body = sql.SQL(
        "SELECT d.id, d.chunk, {score}, d.text, d.metadata"
        " FROM (SELECT t.key, {nearest} AS distance FROM {vectors} t ORDER BY {nearest} LIMIT k) h"
        " JOIN {docs} d ON d.key = h.key ORDER BY h.distance + 0, d.id, d.chunk"
    ).format(
        score=score(build.metric, sql.SQL("h.distance")),
        nearest=nearest,
        vectors=names.vectors,
        docs=names.docs,
    )
    settings = sql.SQL("").join(
        sql.SQL(" SET {} = {}").format(
            sql.SQL(".").join(map(sql.Identifier, name.split("."))), sql.Literal(value)
        )
        for name, value in search_settings(search).items()
    )
    function = sql.SQL("{}({}, integer)").format(
        sql.Identifier(names.schema, names.function_name), extension.name("vector")
    )
    return [
        sql.SQL(
            "CREATE OR REPLACE FUNCTION {name}(query {vector}, k integer DEFAULT 10)"
            " RETURNS TABLE (id text, chunk integer, score double precision, text text, metadata jsonb)"
            " LANGUAGE sql STABLE{settings} AS {body}"
        ).format(
            name=sql.Identifier(names.schema, names.function_name),
            vector=extension.name("vector"),
            settings=settings,
            body=_quoted(body),
        ),
        sql.SQL("COMMENT ON FUNCTION {} IS {}").format(
            function, sql.Literal(mark(build.index_name, build.id))
        ),
    ]


def _quoted(body: sql.Composed) -> sql.Composable:
    return sql.Literal(body.as_string(None))


def create_view(names: Names, extension: Extension, build: BuildRecord) -> list[sql.Composed]:
    """`<index>`: the live build's rows. The embedding has its own type without the dimension: with
    it, a view could not be replaced by one of another dimension, and behind a cast to another type
    its index would not be used."""
    return [
        sql.SQL(
            "CREATE OR REPLACE VIEW {view} AS SELECT d.id, d.chunk, d.text, d.metadata,"
            " t.embedding::{type} AS embedding FROM {docs} d JOIN {vectors} t ON t.key = d.key"
        ).format(
            view=names.view,
            type=extension.type_name(build.quantization),
            docs=names.docs,
            vectors=names.vectors,
        ),
        sql.SQL("COMMENT ON VIEW {} IS {}").format(names.view, sql.Literal(mark(build.index_name, build.id))),
    ]
