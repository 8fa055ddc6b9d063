"""Translate errors of psycopg into ours: which kind, whether trying again may help, no password."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors as pg
from pydantic import ValidationError

from embedspec.errors import BuildMissing, RowRefused, StoreError


class KeyTaken(StoreError):
    """A row of that key is there already."""


# Connection lost, server going down or coming up, deadlock, lock timeout, too many connections.
_TRANSIENT_CLASSES = ("08", "40", "57P")
_TRANSIENT_STATES = frozenset({"53300", "55P03", "57014", "53200"})

# What libpq says when no second try can help; connection errors carry no SQLSTATE.
_HOPELESS = re.compile(
    r"authentication failed|no password supplied|pg_hba\.conf|does not exist|not permitted to log in"
    r"|permission denied for database|SSL was required|server does not support SSL|certificate"
    r"|could not translate host name|invalid .* connection option",
    re.IGNORECASE,
)


def is_transient(error: psycopg.Error) -> bool:
    """Whether the same call may succeed if it is made again."""
    state = error.sqlstate
    if state is not None:
        return state.startswith(_TRANSIENT_CLASSES) or state in _TRANSIENT_STATES
    return isinstance(error, psycopg.OperationalError) and not _HOPELESS.search(str(error))


def _first_line(error: BaseException) -> str:
    """The server's own words without the statement, context and parameters that follow them."""
    if isinstance(error, psycopg.Error) and error.diag.message_primary:
        detail = error.diag.message_detail
        # The detail of a constraint violation quotes row values, which may be document text.
        if detail and not isinstance(error, psycopg.IntegrityError | psycopg.DataError):
            return f"{error.diag.message_primary} ({detail.splitlines()[0]})"
        return error.diag.message_primary
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _fix(error: BaseException) -> str | None:
    match error:
        case pg.InsufficientPrivilege():
            return "grant the missing right to this role, or use a role that has it"
        case pg.LockNotAvailable():
            return "another session holds a lock on this table; end it or try again later"
        case pg.DependentObjectsStillExist():
            return "run reconcile again when no reader keeps the view busy, or drop what depends on it"
        case pg.DiskFull():
            return "free disk space on the database server"
        case pg.ReadOnlySqlTransaction():
            return "this server is read-only (a standby?); name the primary"
    return None


def translate(error: Exception, *, doing: str, where: str, secret: str | None = None) -> StoreError:
    """Our error for a driver's. `doing` is what was tried, `where` the server in words."""
    what = f"{doing}: {scrub(_first_line(error), secret)}"
    if isinstance(error, pg.UndefinedTable):
        return BuildMissing(what, where=where, fix="read the pointer again; the build was dropped")
    if isinstance(error, pg.UniqueViolation):
        return KeyTaken(what, where=where)
    if isinstance(error, pg.DataError | pg.ProgramLimitExceeded | UnicodeEncodeError):
        return RowRefused(what, where=where)
    if isinstance(error, ValidationError):
        return StoreError(
            f"{doing}: the registry is not one that this version of embedspec can read ({_fault(error)})",
            where=where,
            fix="use the version that wrote it, or another database or schema",
        )
    if isinstance(error, psycopg.Error):
        return StoreError(what, where=where, fix=_fix(error), transient=is_transient(error))
    return StoreError(what, where=where)


def _fault(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    return f"{error.title}.{'.'.join(map(str, first['loc']))}: {first['msg']}"


def scrub(text: str, secret: str | None) -> str:
    """`text` without the password, plain or percent-encoded."""
    if not secret:
        return text
    from urllib.parse import quote

    for form in {secret, quote(secret, safe=""), quote(secret)}:
        text = text.replace(form, "***")
    return text


@contextmanager
def translated(doing: str, where: str, secret: str | None = None) -> Iterator[None]:
    """Raise our errors for those of the driver inside the block."""
    try:
        yield
    except (psycopg.Error, UnicodeEncodeError, ValidationError) as error:
        raise translate(error, doing=doing, where=where, secret=secret) from None
