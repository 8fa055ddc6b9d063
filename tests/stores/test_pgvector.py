"""The pgvector store passes the suite, on the embedded server or on $EMBEDSPEC_TEST_PG_URL."""

from __future__ import annotations

import importlib.util
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from embedspec.errors import StoreError
from embedspec.stores.adapters import adapter as find_adapter
from embedspec.stores.protocol import Adapter, OpenContext, Store
from embedspec.testing import EmptyTarget, StoreSuite
from embedspec.testing.bench import OpenStore

URL_VARIABLE = "EMBEDSPEC_TEST_PG_URL"


@dataclass(frozen=True, slots=True)
class Server:
    """A running PostgreSQL. Each target is a schema of its own in it."""

    adapter: Adapter
    context: OpenContext
    connect: Callable[[], Any]
    """Opens a psycopg connection in autocommit mode."""

    def target(self, schema: str) -> dict[str, str]:
        url = f"env:{URL_VARIABLE}" if os.environ.get(URL_VARIABLE) else "embedded"
        return {"store": "pgvector", "url": url, "schema": schema}

    def open(self, schema: str, *, write: bool = True) -> Store:
        model = self.adapter.target_model.model_validate(self.target(schema))
        return self.adapter.open(model, OpenContext(self.context.base, self.context.home, write=write))

    def execute(self, statement: str) -> list[Any]:
        with self.connect() as connection:
            cursor = connection.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []


@pytest.fixture(scope="session")
def server(
    tmp_path_factory: pytest.TempPathFactory, skip_or_fail: Callable[[str, str], None]
) -> Iterator[Server]:
    """One server for the whole run."""
    if importlib.util.find_spec("psycopg") is None:
        skip_or_fail("pgvector", "psycopg is not installed: pip install 'embedspec[pgvector]'")
    import psycopg

    base = tmp_path_factory.mktemp("pg")
    context = OpenContext(base, base / ".embedspec")
    pgvector = find_adapter("pgvector")
    with ExitStack() as stack:
        url = os.environ.get(URL_VARIABLE)
        if url:
            parameters: dict[str, str] = {}
        else:
            from embedspec_pgvector.embedded import EmbeddedServer

            embedded = EmbeddedServer(context.home / "pg")
            stack.callback(embedded.close)
            missing = None
            try:
                parameters = embedded.ensure()
            except StoreError as error:
                missing = str(error)
            if missing is not None:
                skip_or_fail("pgvector", missing)

        def connect() -> Any:
            return psycopg.connect(url or "", autocommit=True, **parameters)

        yield Server(pgvector, context, connect)


@pytest.fixture
def new_schema(server: Server) -> Iterator[Callable[[], str]]:
    """Names schemas that do not exist, and drops them afterwards."""
    made: list[str] = []

    def name() -> str:
        made.append(f"suite_{uuid.uuid4().hex[:12]}")
        return made[-1]

    yield name
    for schema in made:
        server.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")


def opener(server: Server, schema: str, stack: ExitStack) -> OpenStore:
    def open_store(*, write: bool = True) -> Store:
        return stack.enter_context(server.open(schema, write=write))

    return open_store


class TestPgvector(StoreSuite):
    @pytest.fixture
    def adapter(self, server: Server) -> Adapter:
        return server.adapter

    @pytest.fixture
    def target(self, server: Server, new_schema: Callable[[], str]) -> Mapping[str, Any]:
        return server.target(new_schema())

    @pytest.fixture
    def open_store(self, server: Server, target: Mapping[str, Any]) -> Iterator[OpenStore]:
        with ExitStack() as stack:
            yield opener(server, target["schema"], stack)

    @pytest.fixture
    def empty(self, server: Server, new_schema: Callable[[], str]) -> Iterator[EmptyTarget]:
        def inventory() -> object:
            return server.execute(
                "SELECT n.nspname, c.relname FROM pg_namespace n"
                " LEFT JOIN pg_class c ON c.relnamespace = n.oid WHERE n.nspname NOT LIKE 'pg\\_%'"
                " ORDER BY 1, 2"
            ) + server.execute("SELECT extname FROM pg_extension ORDER BY 1")

        with ExitStack() as stack:
            yield EmptyTarget(opener(server, new_schema(), stack), inventory)


def test_reading_where_no_server_was_ever_started_creates_nothing(server: Server, tmp_path: Path) -> None:
    home = tmp_path / ".embedspec"
    model = server.adapter.target_model.model_validate({"store": "pgvector", "url": "embedded"})
    with server.adapter.open(model, OpenContext(tmp_path, home, write=False)) as store:
        assert store.observe("handbook") is None
        assert store.dead_letters("handbook") == []
    assert list(tmp_path.iterdir()) == []
