"""What has to be there before the first write: the extension, the schema, the registry."""

from __future__ import annotations

from psycopg import errors as pg

from embedspec.errors import StoreError
from embedspec_pgvector.registry import Registry
from embedspec_pgvector.session import Cursor, find_extension

_LOCK = 0x656D626564737063
"""Key of the advisory lock under which they are made: "embedspc"."""


def prepare(cursor: Cursor, registry: Registry, place: str) -> None:
    """Make what is missing, in this transaction. Two at once wait for each other."""
    if find_extension(cursor, place) is not None and registry.exists(cursor):
        return
    cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
    if find_extension(cursor, place) is None:
        _create_extension(cursor, place)
        find_extension(cursor, place)
    registry.create(cursor)


def _create_extension(cursor: Cursor, place: str) -> None:
    try:
        cursor.execute("CREATE EXTENSION vector")
    except pg.InsufficientPrivilege:
        raise StoreError(
            "pgvector is not installed in this database, and this role may not install it",
            where=place,
            fix="have an administrator run CREATE EXTENSION vector",
        ) from None
    except (pg.FeatureNotSupported, pg.UndefinedFile):
        raise StoreError(
            "pgvector is not available on this server",
            where=place,
            fix="install pgvector 0.8 or newer on the server, or use `url: embedded`",
        ) from None


def identity(cursor: Cursor) -> str:
    """System identifier and database, which no change of address or password moves. A role that may
    not read the identifier gets the database's own number for it."""
    try:
        row = cursor.execute(
            "SELECT system_identifier::text, current_database() FROM pg_control_system()"
        ).fetchone()
    except (pg.InsufficientPrivilege, pg.UndefinedFunction):
        row = cursor.execute(
            "SELECT 'oid ' || oid::text, datname FROM pg_database WHERE datname = current_database()"
        ).fetchone()
    assert row is not None  # both give one row
    return f"postgresql {row[0]}/{row[1]}"
