"""One connection for one thread: transactions with their settings, errors in our words, reconnecting."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import psycopg
from pydantic import ValidationError

from embedspec.errors import StoreError
from embedspec_pgvector.connection import Connector
from embedspec_pgvector.ddl import Extension
from embedspec_pgvector.errors import translate

MIN_PGVECTOR = (0, 8, 0)
"""Iterative index scans, without which filters and deleted rows shorten the answer."""

Cursor = psycopg.Cursor[Any]


class Session:
    """Opens its connection when first used, and anew after it broke: the call that met the broken
    connection fails with a transient StoreError, the next one works."""

    def __init__(self, connector: Connector) -> None:
        self.connector = connector
        self._connection: psycopg.Connection[Any] | None = None
        self._extension: Extension | None = None

    def connect(self) -> psycopg.Connection[Any]:
        """The open connection. Raises StoreError."""
        if self._connection is None or self._connection.closed:
            self._connection = self.connector.connect()
            self._extension = None
        return self._connection

    @contextlib.contextmanager
    def cursor(self, doing: str) -> Iterator[Cursor]:
        """A cursor outside transactions: for single statements. `doing` begins error messages."""
        connection = self.connect()
        try:
            with connection.cursor() as cursor:
                yield cursor
        except (psycopg.Error, UnicodeEncodeError, ValidationError) as error:
            if connection.broken:
                self.close()
            raise self._translated(error, doing) from None

    @contextlib.contextmanager
    def transaction(self, doing: str, settings: Mapping[str, str]) -> Iterator[Cursor]:
        """A transaction with these settings, which end with it (a pooler may stand in between)."""
        with self.cursor(doing) as cursor, cursor.connection.transaction():
            set_local(cursor, settings)
            yield cursor

    def _translated(self, error: Exception, doing: str) -> StoreError:
        return translate(error, doing=doing, where=self.connector.place, secret=self.connector.secret)

    def extension(self) -> Extension:
        """Where pgvector is. Raises StoreError if it is not installed or too old."""
        if self._extension is None:
            with self.cursor("looking for pgvector") as cursor:
                self._extension = find_extension(cursor, self.connector.place)
        if self._extension is None:
            raise StoreError(
                "the extension `vector` (pgvector) is not installed in this database",
                where=self.connector.place,
                fix="run CREATE EXTENSION vector as a role that may",
            )
        return self._extension

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def set_local(cursor: Cursor, settings: Mapping[str, str]) -> None:
    """Settings for the rest of this transaction."""
    if settings:
        calls = ", ".join(["set_config(%s, %s, true)"] * len(settings))
        parameters = [part for pair in settings.items() for part in pair]
        cursor.execute(f"SELECT {calls}".encode(), parameters)


def find_extension(cursor: Cursor, place: str) -> Extension | None:
    """pgvector in this database; None if it is not installed. Raises StoreError if it is too old."""
    row = cursor.execute(
        "SELECT n.nspname, e.extversion,"
        " (SELECT t.oid FROM pg_type t WHERE t.typnamespace = e.extnamespace AND t.typname = 'vector'),"
        " (SELECT t.oid FROM pg_type t WHERE t.typnamespace = e.extnamespace AND t.typname = 'halfvec')"
        " FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'vector'"
    ).fetchone()
    if row is None:
        return None
    version = tuple(int(part) for part in row[1].split(".") if part.isdigit())
    if version < MIN_PGVECTOR:
        raise StoreError(
            f"pgvector {row[1]} is too old; 0.8.0 or newer is needed",
            where=place,
            fix="install a newer pgvector on the server, then run ALTER EXTENSION vector UPDATE",
        )
    return Extension(row[0], version, row[2], row[3])
