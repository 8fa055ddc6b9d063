"""From a target to an open store: the embedded server, any other PostgreSQL, or nothing there yet."""

from __future__ import annotations

from embedspec.stores.protocol import OpenContext, Store
from embedspec_pgvector.config import Target
from embedspec_pgvector.connection import Connector, parameters
from embedspec_pgvector.embedded import EmbeddedServer, binaries, has_data
from embedspec_pgvector.empty import EmptyStore
from embedspec_pgvector.store import PgvectorStore


def open_store(target: Target, context: OpenContext) -> Store:
    """Connect. Raises StoreError. A reader of an embedded server that was never made gets an empty
    store, and nothing is created or started."""
    if target.url == "embedded":
        folder = context.home / "pg"
        if not context.write and not has_data(folder):
            binaries()  # What is missing on this machine is said by `plan`, not first by `reconcile`.
            return EmptyStore()
        connector = Connector({}, EmbeddedServer(folder))
    else:
        connector = Connector(parameters(target))
    store = PgvectorStore(connector, target.schema_name, write=context.write)
    try:
        store.connect()
    except BaseException:
        store.close()
        raise
    return store
