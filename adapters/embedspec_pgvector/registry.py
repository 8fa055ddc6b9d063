"""The registry's tables: indexes, builds, dead letters and the lease, in the target's schema.

State, pointer and build records are `json`, which keeps the text as it was written (`jsonb` would
turn 1e22 into an integer). The pointer has a column of its own: only `switch` moves readers.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql

from embedspec.errors import StoreError
from embedspec.stores.records import FORMAT, BuildRecord, IndexRecord, IndexState, LeaseInfo, Pointer
from embedspec.types import DeadLetter
from embedspec_pgvector.codec import text_array_wire
from embedspec_pgvector.ddl import mark, plain

Cursor = psycopg.Cursor[Any]

_TABLES = (
    "CREATE TABLE IF NOT EXISTS {embedspec_index} (name text PRIMARY KEY, lineage text NOT NULL,"
    " serial bigint NOT NULL, format int NOT NULL, state json NOT NULL, pointer json)",
    "CREATE TABLE IF NOT EXISTS {embedspec_build} (name text NOT NULL, id text NOT NULL,"
    " position bigint NOT NULL, record json NOT NULL, PRIMARY KEY (name, id))",
    # A change of generation conflicts with FOR KEY SHARE because it is part of a unique index; a
    # heartbeat, which changes `expires` alone, does not.
    "CREATE TABLE IF NOT EXISTS {embedspec_lease} (name text PRIMARY KEY, generation bigint NOT NULL,"
    " owner text, holder json, acquired timestamptz NOT NULL, expires timestamptz NOT NULL,"
    " UNIQUE (name, generation))",
    "CREATE TABLE IF NOT EXISTS {embedspec_dead_letter} (name text NOT NULL, position int NOT NULL,"
    " key text NOT NULL, reason text NOT NULL, place text NOT NULL, id text, content text,"
    " stage text NOT NULL, PRIMARY KEY (name, position))",
)


_ALL_BUILDS = (
    "SELECT array_agg(b.record::text ORDER BY b.position, b.id) FROM {embedspec_build} b"
    " WHERE b.name = i.name"
)
_LIVE_BUILD = (
    "SELECT array_agg((b.record::jsonb - 'canary')::text) FROM {embedspec_build} b"
    " WHERE b.name = i.name AND b.id = i.pointer ->> 'build'"
)


class Registry:
    """Statements against the registry of one schema. Every method works in the cursor's transaction."""

    def __init__(self, schema: str) -> None:
        self.schema = schema
        self._tables = {
            name: sql.Identifier(schema, name)
            for name in ("embedspec_index", "embedspec_build", "embedspec_lease", "embedspec_dead_letter")
        }

    def statement(self, text: str, **parts: sql.Composable) -> sql.Composed:
        """The text with `{embedspec_…}` and other named parts filled in."""
        return sql.SQL(text).format(**self._tables, **parts)

    # -- tables -----------------------------------------------------------------------------------

    def create(self, cursor: Cursor) -> None:
        """Make schema and tables unless they are there."""
        found = cursor.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (self.schema,)).fetchone()
        if found is None:
            cursor.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(self.schema)))
        for table in _TABLES:
            cursor.execute(self.statement(table))

    def exists(self, cursor: Cursor) -> bool:
        found = cursor.execute(
            "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname = %s AND c.relname = ANY(%s)",
            (self.schema, list(self._tables)),
        ).fetchone()
        return found is not None and found[0] == len(self._tables)

    # -- reading ----------------------------------------------------------------------------------

    def observe(self, cursor: Cursor, name: str, *, live_only: bool = False) -> IndexRecord | None:
        """Everything about the index, by one statement and so from one snapshot. `live_only`: of the
        builds only the one that the pointer names, without its canary vectors, which are the bulk."""
        builds = _LIVE_BUILD if live_only else _ALL_BUILDS
        row = cursor.execute(
            self.statement(
                "SELECT i.lineage, i.serial, i.format, i.state::text, i.pointer::text, now(),"
                f" ({builds}),"
                " l.holder::text, l.generation, l.acquired,"
                " extract(epoch FROM l.expires - clock_timestamp())::float8,"
                " (SELECT obj_description(c.oid, 'pg_class') FROM pg_class c"
                "   JOIN pg_namespace n ON n.oid = c.relnamespace"
                "   WHERE n.nspname = %(schema)s AND c.relname = %(view)s AND c.relkind = 'v')"
                " FROM {embedspec_index} i LEFT JOIN {embedspec_lease} l ON l.name = i.name"
                " AND l.holder IS NOT NULL WHERE i.name = %(name)s"
            ),
            {"name": name, "schema": self.schema, "view": plain(name)},
        ).fetchone()
        if row is None:
            return None
        lineage, serial, number, state, pointer, now, records, holder, generation, acquired, left, view = row
        require_known(name, number)
        pointed = Pointer.model_validate_json(pointer) if pointer else None
        return IndexRecord(
            name=name,
            lineage=lineage,
            serial=serial,
            format=number,
            state=IndexState.model_validate_json(state).model_copy(update={"pointer": pointed}),
            builds=tuple(BuildRecord.model_validate_json(text) for text in records or ()),
            lease=lease_info(holder, generation, acquired, left) if holder else None,
            view=None if pointed is None else "current" if view == mark(name, pointed.build) else "behind",
            now=now,
        )

    def dead_letters(self, cursor: Cursor, name: str) -> list[DeadLetter]:
        rows = cursor.execute(
            self.statement(
                "SELECT key, reason, place, id, content, stage FROM {embedspec_dead_letter}"
                " WHERE name = %s ORDER BY position"
            ),
            (name,),
        )
        return [DeadLetter(*row) for row in rows]

    def build(self, cursor: Cursor, name: str, build_id: str) -> BuildRecord:
        """Raises StoreError if there is no such build."""
        row = cursor.execute(
            self.statement("SELECT record::text FROM {embedspec_build} WHERE name = %s AND id = %s"),
            (name, build_id),
        ).fetchone()
        if row is None:
            raise StoreError(f"there is no build {build_id!r}", where=f"index {name}")
        return BuildRecord.model_validate_json(row[0])

    def live_build(self, cursor: Cursor, name: str) -> BuildRecord | None:
        """The build that the pointer names."""
        row = cursor.execute(
            self.statement(
                "SELECT b.record::text FROM {embedspec_index} i"
                " JOIN {embedspec_build} b ON b.name = i.name AND b.id = i.pointer ->> 'build'"
                " WHERE i.name = %s"
            ),
            (name,),
        ).fetchone()
        return BuildRecord.model_validate_json(row[0]) if row else None

    def check_format(self, cursor: Cursor, name: str) -> None:
        """Raises StoreError for an index that a newer embedspec wrote."""
        row = cursor.execute(
            self.statement("SELECT format FROM {embedspec_index} WHERE name = %s"), (name,)
        ).fetchone()
        if row is not None:
            require_known(name, row[0])

    # -- writing: the lease is proved by the caller --------------------------------------------------

    def raise_serial(self, cursor: Cursor, name: str) -> None:
        """Raises StoreError if create_build has not made the index's row yet."""
        cursor.execute(
            self.statement("UPDATE {embedspec_index} SET serial = serial + 1 WHERE name = %s"), (name,)
        )
        if cursor.rowcount == 0:
            raise StoreError(f"there is no index {name!r} yet", where=f"schema {self.schema}")

    def create_index(self, cursor: Cursor, name: str) -> None:
        """The index's row with a fresh lineage unless it is there; raises its serial."""
        other = cursor.execute(
            self.statement(
                "SELECT name FROM {embedspec_index} WHERE translate(name, '-', '_') = %s AND name <> %s"
            ),
            (plain(name), name),
        ).fetchone()
        if other is not None:
            raise StoreError(
                f"index {name!r} would share its tables' names with index {other[0]!r}",
                where=f"schema {self.schema}",
                fix="choose a name that differs in more than '-' and '_', or another target.schema",
            )
        cursor.execute(
            self.statement(
                "INSERT INTO {embedspec_index} AS i (name, lineage, serial, format, state)"
                " VALUES (%s, %s, 1, %s, '{{}}')"
                " ON CONFLICT (name) DO UPDATE SET serial = i.serial + 1"
            ),
            (name, uuid.uuid4().hex, FORMAT),
        )

    def save_state(self, cursor: Cursor, name: str, state: IndexState) -> None:
        """All but the pointer."""
        text = state.model_copy(update={"pointer": None}).model_dump_json()
        cursor.execute(
            self.statement("UPDATE {embedspec_index} SET state = %s::json, format = %s WHERE name = %s"),
            (text, FORMAT, name),
        )

    def save_pointer(self, cursor: Cursor, name: str, pointer: Pointer | None) -> None:
        cursor.execute(
            self.statement("UPDATE {embedspec_index} SET pointer = %s::json WHERE name = %s"),
            (pointer.model_dump_json() if pointer else None, name),
        )

    def has_build(self, cursor: Cursor, name: str, build_id: str) -> bool:
        found = cursor.execute(
            self.statement("SELECT 1 FROM {embedspec_build} WHERE name = %s AND id = %s"), (name, build_id)
        ).fetchone()
        return found is not None

    def add_build(self, cursor: Cursor, name: str, build: BuildRecord) -> None:
        cursor.execute(
            self.statement(
                "INSERT INTO {embedspec_build} (name, id, position, record) SELECT %(name)s, %(id)s,"
                " coalesce(max(position), 0) + 1, %(record)s::json FROM {embedspec_build}"
                " WHERE name = %(name)s"
            ),
            {"name": name, "id": build.id, "record": build.model_dump_json()},
        )

    def save_builds(self, cursor: Cursor, name: str, builds: Sequence[BuildRecord]) -> None:
        for build in builds:
            cursor.execute(
                self.statement("UPDATE {embedspec_build} SET record = %s::json WHERE name = %s AND id = %s"),
                (build.model_dump_json(), name, build.id),
            )
            if cursor.rowcount == 0:
                raise StoreError(f"there is no build {build.id!r} to save", where=f"index {name}")

    def mark_dropped(self, cursor: Cursor, name: str, build_id: str) -> None:
        if self.has_build(cursor, name, build_id):
            record = self.build(cursor, name, build_id)
            self.save_builds(cursor, name, [record.model_copy(update={"dropped": True})])

    def remove_build(self, cursor: Cursor, name: str, build_id: str) -> None:
        cursor.execute(
            self.statement("DELETE FROM {embedspec_build} WHERE name = %s AND id = %s"), (name, build_id)
        )

    def replace_dead_letters(self, cursor: Cursor, name: str, letters: Sequence[DeadLetter]) -> None:
        cursor.execute(self.statement("DELETE FROM {embedspec_dead_letter} WHERE name = %s"), (name,))
        if not letters:
            return
        columns = zip(*((x.key, x.reason, x.place, x.id, x.content, x.stage) for x in letters), strict=True)
        arrays = [text_array_wire([_storable(value) for value in column]) for column in columns]
        cursor.execute(
            self.statement(
                "INSERT INTO {embedspec_dead_letter}"
                " SELECT %s, u.n, u.key, u.reason, u.place, u.id, u.content, u.stage"
                " FROM unnest(%b::text[], %b::text[], %b::text[], %b::text[], %b::text[], %b::text[])"
                " WITH ORDINALITY AS u(key, reason, place, id, content, stage, n)"
            ),
            (name, *arrays),
        )


def _storable(text: str | None) -> str | None:
    """Without what PostgreSQL cannot hold: reasons and places quote broken input."""
    if text is None:
        return None
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def lease_info(text: str, generation: int, acquired: datetime, left_s: float) -> LeaseInfo:
    known: dict[str, Any] = json.loads(text)
    return LeaseInfo.model_validate(
        {**known, "generation": generation, "acquired": acquired, "expires_in_s": left_s}
    )


def require_known(name: str, number: int) -> None:
    """Raises StoreError for a registry that a newer embedspec wrote."""
    if number > FORMAT:
        raise StoreError(
            f"index {name!r} was written by a newer embedspec (format {number}; this one knows {FORMAT})",
            where=f"index {name}",
            fix="upgrade embedspec",
        )
