"""Convenience for plain-SQL readers: search function and view of the live build, and their rights.

Only what carries our comment for this index is ever replaced; anything else of that name is
somebody's.
"""

from __future__ import annotations

from psycopg import sql

from embedspec.errors import StoreError
from embedspec.stores.records import BuildRecord, Pointer
from embedspec_pgvector import ddl
from embedspec_pgvector.ddl import Extension, Names
from embedspec_pgvector.session import Cursor


def refuse_foreign_relation(cursor: Cursor, names: Names, index: str) -> None:
    """Raises StoreError if the view's name is taken by a relation that is not ours."""
    ours = ddl.mark(index, "")
    relation = cursor.execute(
        "SELECT c.relkind, obj_description(c.oid, 'pg_class') FROM pg_class c"
        " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = %s",
        (names.schema, names.index),
    ).fetchone()
    if relation is not None and not (relation[0] == "v" and str(relation[1]).startswith(ours)):
        raise _foreign("relation", f"{names.schema}.{names.index}", index)


def refuse_foreign_function(cursor: Cursor, names: Names, index: str) -> None:
    """Raises StoreError if the search function's name is taken by one that is not ours."""
    ours = ddl.mark(index, "")
    functions = cursor.execute(
        "SELECT obj_description(p.oid, 'pg_proc') FROM pg_proc p"
        " JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = %s AND p.proname = %s",
        (names.schema, names.function_name),
    ).fetchall()
    if any(not str(comment).startswith(ours) for (comment,) in functions):
        raise _foreign("function", f"{names.schema}.{names.function_name}", index)


def _foreign(kind: str, name: str, index: str) -> StoreError:
    return StoreError(
        f"a {kind} that embedspec did not make owns the name {name}",
        where=f"index {index}",
        fix="rename or drop it, choose another name for the index, or set target.schema",
    )


def replace_function(
    cursor: Cursor, names: Names, extension: Extension, build: BuildRecord, pointer: Pointer
) -> None:
    for statement in ddl.create_function(names, extension, build, dict(pointer.search)):
        cursor.execute(statement)


def copy_grants(cursor: Cursor, old: Names, new: Names) -> None:
    """Whoever could read the old build's tables can read the new one's."""
    for source, target, table in (
        (old.docs_name, new.docs_name, new.docs),
        (old.vectors_name, new.vectors_name, new.vectors),
    ):
        if source != target:
            _grant(cursor, _readers(cursor, old.schema, source), table)


def _readers(cursor: Cursor, schema: str, relation: str) -> list[str | None]:
    """Roles with SELECT on a relation beside its owner; None stands for everybody."""
    rows = cursor.execute(
        "SELECT r.rolname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " CROSS JOIN LATERAL aclexplode(c.relacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee"
        " WHERE n.nspname = %s AND c.relname = %s AND a.privilege_type = 'SELECT'"
        " AND a.grantee <> c.relowner",
        (schema, relation),
    )
    return [name for (name,) in rows]


def _grant(cursor: Cursor, roles: list[str | None], relation: sql.Identifier) -> None:
    for role in roles:
        grantee = sql.SQL("PUBLIC") if role is None else sql.Identifier(role)
        cursor.execute(sql.SQL("GRANT SELECT ON {} TO {}").format(relation, grantee))


def view_is_current(cursor: Cursor, names: Names, index: str) -> bool:
    row = cursor.execute(
        "SELECT obj_description(c.oid, 'pg_class') FROM pg_class c"
        " JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = %s AND c.relname = %s AND c.relkind = 'v'",
        (names.schema, names.index),
    ).fetchone()
    return row is not None and row[0] == ddl.mark(index, names.raw_build)


def replace_view(cursor: Cursor, names: Names, extension: Extension, build: BuildRecord) -> None:
    """Waits for whoever reads the view. Between vector and halfvec a column cannot be replaced:
    the view is dropped and made anew in one transaction, and its grants with it."""
    row = cursor.execute(
        "SELECT a.atttypid::bigint FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid"
        " JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = %s AND c.relname = %s AND a.attname = 'embedding'",
        (names.schema, names.index),
    ).fetchone()
    readers: list[str | None] = []
    if row is not None and row[0] != extension.type_oid(build.quantization):
        readers = _readers(cursor, names.schema, names.index)
        cursor.execute(sql.SQL("DROP VIEW {}").format(names.view))
    for statement in ddl.create_view(names, extension, build):
        cursor.execute(statement)
    _grant(cursor, readers, names.view)
