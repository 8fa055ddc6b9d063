"""The store protocol on PostgreSQL with pgvector: which statements make up which call."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from psycopg import sql

from embedspec.errors import BuildMissing, LeaseLost, StoreError
from embedspec.stores.protocol import Finished, Lease
from embedspec.stores.records import BuildRecord, IndexRecord, IndexState, LeaseInfo
from embedspec.types import (
    BuildStatus,
    Candidate,
    DeadLetter,
    Filter,
    HashArray,
    Matrix,
    RowBatch,
    RowHashes,
    StoredRow,
)
from embedspec_pgvector import ddl, finishing, leases, preparing, searching, switching
from embedspec_pgvector import rows as build_rows
from embedspec_pgvector.connection import Connector
from embedspec_pgvector.ddl import Names
from embedspec_pgvector.errors import KeyTaken, translated
from embedspec_pgvector.registry import Registry
from embedspec_pgvector.session import Cursor, Session
from embedspec_pgvector.watcher import memory_bytes

logger = logging.getLogger(__name__)

_WRITE_SETTINGS = {
    # A role's own statement_timeout is meant for queries, not for loads and index builds.
    "statement_timeout": "0",
    # A writer that is stopped between two statements gives its locks up when its lease is over.
    "idle_in_transaction_session_timeout": "60s",
    "lock_timeout": "30s",
    # A server whose client was killed in a long statement notices, and gives its locks up.
    "client_connection_check_interval": "1s",
}
_BRIEF_LOCK = {**_WRITE_SETTINGS, "lock_timeout": "100ms"}
"""For locks that readers would have to queue behind."""
_VIEW_PATIENCE_S = 0.5
_VIEW_PAUSE_S = 0.05


class PgvectorStore:
    """One target: a session for calls of the writer thread, another for `renew`, and a connection of
    its own for each read that streams."""

    def __init__(self, connector: Connector, schema: str, *, write: bool) -> None:
        self._connector = connector
        self._registry = Registry(schema)
        self._write_allowed = write
        self._session = Session(connector)
        self._heartbeat = Session(connector)

    def connect(self) -> None:
        """Raises StoreError."""
        self._session.connect()

    def identity(self) -> str:
        with self._session.cursor("reading the server's identity") as cursor:
            return preparing.identity(cursor)

    def observe(self, name: str) -> IndexRecord | None:
        try:
            with self._session.cursor(f"reading the registry of index {name}") as cursor:
                return self._registry.observe(cursor, name)
        except BuildMissing:  # The registry's tables are not there.
            return None

    def observe_live(self, name: str) -> IndexRecord | None:
        try:
            with self._session.cursor(f"reading the pointer of index {name}") as cursor:
                return self._registry.observe(cursor, name, live_only=True)
        except BuildMissing:  # The registry's tables are not there.
            return None

    # -- lease ------------------------------------------------------------------------------------

    def acquire(self, name: str, holder: LeaseInfo, ttl_s: float) -> Lease:
        self._require_write()
        doing = f"taking the lease on index {name}"
        with self._session.transaction(doing, _WRITE_SETTINGS) as cursor:
            preparing.prepare(cursor, self._registry, self._connector.place)
        with self._session.transaction(doing, _WRITE_SETTINGS) as cursor:
            self._registry.check_format(cursor, name)
            return leases.take(self._registry, cursor, name, holder, ttl_s)

    def renew(self, lease: Lease, ttl_s: float) -> None:
        with self._heartbeat.cursor(f"renewing the lease on index {lease.name}") as cursor:
            leases.renew(self._registry, cursor, lease, ttl_s)

    def release(self, lease: Lease) -> None:
        with self._session.cursor(f"releasing the lease on index {lease.name}") as cursor:
            leases.release(self._registry, cursor, lease)

    def _require_write(self) -> None:
        if not self._write_allowed:
            raise StoreError("this connection was opened for reading only", where=self._connector.place)

    @contextlib.contextmanager
    def _write(
        self, lease: Lease, doing: str, settings: Mapping[str, str] = _WRITE_SETTINGS
    ) -> Iterator[Cursor]:
        """A transaction that proves the lease. Whoever writes also raises the index's serial."""
        self._require_write()
        with self._session.transaction(doing, settings) as cursor:
            leases.prove(self._registry, cursor, lease)
            yield cursor

    # -- registry ---------------------------------------------------------------------------------

    def create_build(self, lease: Lease, state: IndexState, build: BuildRecord) -> None:
        names = self._names(build)
        extension = self._session.extension()
        with self._write(lease, f"creating build {build.id}") as cursor:
            self._registry.create_index(cursor, lease.name)
            self._registry.save_state(cursor, lease.name, state)
            if not self._registry.has_build(cursor, lease.name, build.id):
                switching.refuse_foreign_relation(cursor, names, lease.name)
                switching.refuse_foreign_function(cursor, names, lease.name)
                for statement in ddl.create_tables(names, extension, build):
                    cursor.execute(statement)
                self._registry.add_build(cursor, lease.name, build)

    def save(self, lease: Lease, state: IndexState, builds: Sequence[BuildRecord] = ()) -> None:
        with self._write(lease, f"saving the state of index {lease.name}") as cursor:
            self._registry.raise_serial(cursor, lease.name)
            self._registry.save_state(cursor, lease.name, state)
            self._registry.save_builds(cursor, lease.name, builds)

    def switch(self, lease: Lease, state: IndexState, builds: Sequence[BuildRecord]) -> None:
        registry, name = self._registry, lease.name
        with self._write(lease, f"switching index {name}") as cursor:
            registry.raise_serial(cursor, name)
            registry.save_state(cursor, name, state)
            registry.save_builds(cursor, name, builds)
            old = registry.live_build(cursor, name)
            registry.save_pointer(cursor, name, state.pointer)
            if state.pointer is not None:
                build = registry.build(cursor, name, state.pointer.build)
                names = self._names(build)
                switching.refuse_foreign_function(cursor, names, name)
                switching.replace_function(cursor, names, self._session.extension(), build, state.pointer)
                if old is not None:
                    switching.copy_grants(cursor, self._names(old), names)
        self.finish_switch(lease, name)

    def finish_switch(self, lease: Lease, name: str) -> bool:
        deadline = time.monotonic() + _VIEW_PATIENCE_S
        while True:
            try:
                return self._refresh_view(lease, name)
            except LeaseLost:
                raise
            except StoreError as error:
                logger.debug("the view of index %s stays behind: %s", name, error.what)
                if not error.transient or time.monotonic() > deadline:
                    return False
            time.sleep(_VIEW_PAUSE_S)

    def _refresh_view(self, lease: Lease, name: str) -> bool:
        with self._write(lease, f"replacing the view of index {name}", _BRIEF_LOCK) as cursor:
            build = self._registry.live_build(cursor, name)
            if build is None:
                return True
            names = self._names(build)
            if not switching.view_is_current(cursor, names, name):
                switching.refuse_foreign_relation(cursor, names, name)
                switching.replace_view(cursor, names, self._session.extension(), build)
                self._registry.raise_serial(cursor, name)
        return True

    def drop(self, lease: Lease, build: BuildRecord, *, keep_record: bool) -> None:
        with self._write(lease, f"dropping build {build.id}", _BRIEF_LOCK) as cursor:
            self._registry.raise_serial(cursor, lease.name)
            for statement in ddl.drop_tables(self._names(build)):
                cursor.execute(statement)
            if keep_record:
                self._registry.mark_dropped(cursor, lease.name, build.id)
            else:
                self._registry.remove_build(cursor, lease.name, build.id)

    # -- rows -------------------------------------------------------------------------------------

    def scan(self, build: BuildRecord) -> Iterator[RowHashes]:
        names, doing = self._names(build), f"scanning build {build.id}"
        with self._session.transaction(doing, build_rows.SCAN_SETTINGS) as cursor:
            found = build_rows.scan_at_once(cursor, names)
        if found is not None:
            yield found
            return
        with self._reading(doing), self._connector.connect() as connection:
            yield from build_rows.scan(connection, names)

    def rows(self, build: BuildRecord, keys: HashArray) -> Iterator[StoredRow]:
        names = self._names(build)
        for start in range(0, len(keys), build_rows.READ_ROWS):
            with self._session.cursor(f"reading rows of build {build.id}") as cursor:
                found = build_rows.read(cursor, names, keys[start : start + build_rows.READ_ROWS])
            yield from found

    def vectors(self, build: BuildRecord, content: HashArray) -> Iterator[tuple[bytes, Matrix]]:
        if len(content) == 0:
            return
        extension = self._session.extension()
        doing = f"reading vectors of build {build.id}"
        with self._reading(doing), self._connector.connect() as connection:
            yield from build_rows.vectors(connection, self._names(build), extension, build, content)

    def count(self, build: BuildRecord) -> int:
        with self._session.cursor(f"counting rows of build {build.id}") as cursor:
            return build_rows.count(cursor, self._names(build))

    def upsert(self, lease: Lease, build: BuildRecord, rows: RowBatch, *, fresh: bool) -> None:
        names, extension = self._names(build), self._session.extension()
        doing = f"writing to build {build.id}"
        if fresh:
            try:
                with self._write(lease, doing) as cursor:
                    self._registry.raise_serial(cursor, lease.name)
                    build_rows.copy_in(cursor, names, build, rows)
                return
            except KeyTaken:
                logger.debug("a key of a fresh batch is there already: rows are replaced instead")
        with self._write(lease, doing) as cursor:
            self._registry.raise_serial(cursor, lease.name)
            build_rows.upsert(cursor, names, extension, build, rows)

    def patch(
        self,
        lease: Lease,
        build: BuildRecord,
        keys: HashArray,
        metadata_hash: HashArray,
        metadata: Sequence[str],
    ) -> int:
        with self._write(lease, f"changing metadata in build {build.id}") as cursor:
            self._registry.raise_serial(cursor, lease.name)
            return build_rows.patch(cursor, self._names(build), keys, metadata_hash, metadata)

    def delete(self, lease: Lease, build: BuildRecord, keys: HashArray) -> int:
        with self._write(lease, f"deleting from build {build.id}") as cursor:
            self._registry.raise_serial(cursor, lease.name)
            return build_rows.delete(cursor, self._names(build), keys)

    def finish(self, lease: Lease, build: BuildRecord) -> Finished:
        names = self._names(build)
        doing = f"finishing build {build.id}"
        notes: list[str] = []
        built = False
        if build.index["type"] == "hnsw":
            with self._session.cursor(doing) as cursor:
                valid = finishing.index_is_valid(cursor, names)
            if not valid:
                built = True
                try:
                    notes = self._create_index(lease, build, doing, parallel=True)
                except StoreError as error:
                    # Parallel builds share memory in /dev/shm, which containers keep small.
                    if "shared memory segment" not in error.what:
                        raise
                    notes = self._create_index(lease, build, doing, parallel=False)
                    notes.append("index built without parallel workers: /dev/shm of the server is too small")
        with self._write(lease, doing) as cursor:
            self._registry.raise_serial(cursor, lease.name)
            cursor.execute(ddl.create_id_index(names))
            finishing.analyze(cursor, names)
        if build.status is BuildStatus.building and finishing.may_vacuum(self._session.extension(), build):
            # Pages marked as visible to all: counting rows then reads the key's index alone. As
            # autovacuum will do some minute; without the right to, counting takes longer.
            with contextlib.suppress(StoreError), self._session.cursor(doing) as cursor:
                cursor.execute(sql.SQL("VACUUM {}").format(names.vectors))
        return Finished(tuple(notes), index_built=built)

    def _create_index(self, lease: Lease, build: BuildRecord, doing: str, *, parallel: bool) -> list[str]:
        cap = memory_bytes() // 4 if self._connector.embedded else None
        extension = self._session.extension()
        with self._write(lease, doing) as cursor:
            self._registry.raise_serial(cursor, lease.name)
            return finishing.create_index(
                cursor, self._names(build), extension, build, cap_bytes=cap, parallel=parallel
            )

    # -- dead letters -----------------------------------------------------------------------------

    def dead_letters(self, name: str) -> list[DeadLetter]:
        try:
            with self._session.cursor(f"reading dead letters of index {name}") as cursor:
                return self._registry.dead_letters(cursor, name)
        except BuildMissing:  # The registry's tables are not there.
            return []

    def replace_dead_letters(self, lease: Lease, name: str, letters: Sequence[DeadLetter]) -> None:
        if name != lease.name:
            raise StoreError(f"the lease is on {lease.name!r}, not on {name!r}", where=self._connector.place)
        with self._write(lease, f"writing dead letters of index {name}") as cursor:
            self._registry.raise_serial(cursor, name)
            self._registry.replace_dead_letters(cursor, name, letters)

    # -- search -----------------------------------------------------------------------------------

    def search(
        self,
        build: BuildRecord,
        vectors: Matrix,
        k: int,
        *,
        search: Mapping[str, Any],
        filter: Filter | None = None,
        exact: bool = False,
    ) -> list[list[Candidate]]:
        exact = exact or build.index["type"] == "exact"
        extension = self._session.extension()
        settings = searching.settings(search, k, exact=exact)
        with self._session.transaction(f"searching build {build.id}", settings) as cursor:
            return searching.find(
                cursor, self._names(build), extension, build, vectors, k, filter=filter, exact=exact
            )

    # -- the connections themselves --------------------------------------------------------------------

    def _names(self, build: BuildRecord) -> Names:
        return Names.of(self._registry.schema, build)

    def _reading(self, doing: str) -> contextlib.AbstractContextManager[None]:
        return translated(doing, self._connector.place, self._connector.secret)

    def close(self) -> None:
        self._session.close()
        self._heartbeat.close()
        self._connector.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
