"""Connections to one PostgreSQL: where the URL comes from, how it is named in messages, reconnecting.

Nothing relies on session state outside a transaction: no prepared statements by name, settings by
`SET LOCAL` only, so a transaction pooler may stand in between.
"""

from __future__ import annotations

import os
import time
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from embedspec.errors import StoreError
from embedspec_pgvector.codec import Wire, WireDumper
from embedspec_pgvector.config import Target
from embedspec_pgvector.embedded import EmbeddedServer
from embedspec_pgvector.errors import is_transient, translate

MIN_SERVER = 140_000
_EMBEDDED_PATIENCE_S = 60.0
_ENCODE = (
    "percent-encode reserved characters in user and password: "
    "@ is %40, : is %3A, / is %2F, # is %23, % is %25"
)


def parameters(target: Target) -> dict[str, str]:
    """What libpq needs to connect, from a literal URL or the variable that holds it.

    A text that cannot be parsed is never quoted: which part of it is the password is unknown.
    """
    where, text = "target.url", target.url
    if text.startswith("env:"):
        name = text.removeprefix("env:")
        where = f"environment variable {name}"
        text = os.environ.get(name, "").strip()
        if not text:
            raise StoreError(
                f"{where} is not set or empty",
                where="target.url",
                fix=f"export {name}=postgresql://user:password@host:5432/database",
            )
    authority = text.partition("://")[2].partition("/")[0].partition("?")[0]
    if (text.count("@") > 1 and "://" in text) or ("@" in text and "://" in text and "@" not in authority):
        raise StoreError("the PostgreSQL URL is ambiguous: more than one @ / or ?", where=where, fix=_ENCODE)
    try:
        found = conninfo_to_dict(text)
    except (psycopg.Error, UnicodeError):
        form = "write it as postgresql://user:password@host:5432/database"
        raise StoreError(
            "this is not a valid PostgreSQL URL", where=where, fix=f"{form}; {_ENCODE}"
        ) from None
    return {key: str(value) for key, value in found.items() if value is not None}


class Connector:
    """Makes connections to one target and names it in messages, never with its password."""

    def __init__(self, parameters: dict[str, str], server: EmbeddedServer | None = None) -> None:
        self._parameters = parameters
        self._server = server
        self.secret = parameters.get("password") or os.environ.get("PGPASSWORD")

    @property
    def embedded(self) -> bool:
        return self._server is not None

    @property
    def place(self) -> str:
        """The server in words: host, port, database and user."""
        if self._server is not None:
            return f"embedded server in {self._server.folder}"
        known = self._parameters
        if "service" in known:
            return f"PostgreSQL service {known['service']}"
        host = known.get("host") or known.get("hostaddr") or os.environ.get("PGHOST", "local socket")
        port = known.get("port") or os.environ.get("PGPORT", "5432")
        database = known.get("dbname") or os.environ.get("PGDATABASE", "default")
        user = known.get("user") or os.environ.get("PGUSER", "default")
        return f"PostgreSQL {host}:{port}, database {database}, user {user}"

    def connect(self) -> psycopg.Connection[Any]:
        """A new connection in autocommit mode. Raises StoreError."""
        deadline = time.monotonic() + _EMBEDDED_PATIENCE_S
        while True:
            known = self._server.ensure() if self._server is not None else self._parameters
            try:
                return self._open(known)
            except psycopg.Error as error:
                # An embedded server that died a moment ago is started anew by the next watcher.
                if self._server is None or time.monotonic() > deadline or not is_transient(error):
                    raise self._connect_error(error) from None
            time.sleep(0.1)

    def _open(self, known: dict[str, str]) -> psycopg.Connection[Any]:
        defaults = {
            "connect_timeout": "10",
            "application_name": "embedspec",
            "client_encoding": "utf8",
            "keepalives_idle": "30",
            "keepalives_interval": "10",
            "keepalives_count": "3",
        }
        connection: psycopg.Connection[Any] = psycopg.connect(
            make_conninfo(**{**defaults, **known}), autocommit=True, prepare_threshold=None
        )
        connection.adapters.register_dumper(Wire, WireDumper)
        if connection.info.server_version < MIN_SERVER:
            version = connection.info.server_version // 10_000
            connection.close()
            raise StoreError(
                f"PostgreSQL {version} is too old", where=self.place, fix="use PostgreSQL 14 or newer"
            )
        return connection

    def _connect_error(self, error: psycopg.Error) -> StoreError:
        found = translate(error, doing="cannot connect", where=self.place, secret=self.secret)
        if "authentication failed" in found.what or "no password supplied" in found.what:
            found.fix = f"check user and password; {_ENCODE}"
        found.fix = found.fix or "check that the server runs, and that this is its place, database and user"
        return found

    def close(self) -> None:
        """Give up the claim on an embedded server."""
        if self._server is not None:
            self._server.close()
