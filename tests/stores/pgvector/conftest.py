"""One server for all tests of this folder: embedded, or the one that EMBEDSPEC_TEST_PG_URL names."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from embedspec.errors import StoreError
from embedspec.stores.protocol import OpenContext, Store
from embedspec.testing import Bench, EmptyTarget
from embedspec_pgvector import adapter
from embedspec_pgvector.config import Target
from embedspec_pgvector.connection import parameters
from embedspec_pgvector.embedded import EmbeddedServer, binaries

URL_VARIABLE = "EMBEDSPEC_TEST_PG_URL"


@pytest.fixture(scope="session")
def needs_binaries(skip_or_fail: Callable[[str, str], None]) -> None:
    try:
        binaries()
    except StoreError as error:
        skip_or_fail("pgvector", str(error))


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def url(request: pytest.FixtureRequest) -> str:
    if os.environ.get(URL_VARIABLE):
        return f"env:{URL_VARIABLE}"
    request.getfixturevalue("needs_binaries")
    return "embedded"


@pytest.fixture(scope="session")
def dsn(url: str, home: Path) -> Iterator[str]:
    """How to reach the server with a driver of one's own; it runs until the last test."""
    if url == "embedded":
        server = EmbeddedServer(home / "pg")
        yield psycopg.conninfo.make_conninfo(**server.ensure())
        server.close()
    else:
        known = parameters(Target.model_validate({"store": "pgvector", "url": url}))
        yield psycopg.conninfo.make_conninfo(**known)


@pytest.fixture
def sql(dsn: str) -> Iterator[psycopg.Connection[Any]]:
    """A plain connection, in autocommit mode."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        yield connection


@pytest.fixture
def target(url: str) -> dict[str, Any]:
    return {"store": "pgvector", "url": url}


@pytest.fixture
def open_store(target: dict[str, Any], dsn: str, home: Path) -> Iterator[Callable[..., Store]]:
    yield from _opener(target, home)


def _opener(target: dict[str, Any], home: Path) -> Iterator[Callable[..., Store]]:
    opened: list[Store] = []

    def open_one(*, write: bool = True) -> Store:
        context = OpenContext(base=home, home=home, write=write)
        store = adapter.open(adapter.target_model.model_validate(target), context)
        opened.append(store)
        return store

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def bench(target: dict[str, Any], open_store: Callable[..., Store]) -> Bench:
    return Bench(adapter, target, open_store)


@pytest.fixture
def empty(target: dict[str, Any], url: str, tmp_path: Path) -> Iterator[EmptyTarget]:
    if url == "embedded":
        for open_one in _opener(target, tmp_path / "home"):
            yield EmptyTarget(open_one, lambda: sorted(tmp_path.rglob("*")))
        return
    elsewhere = {**target, "schema": f"empty_{uuid.uuid4().hex[:8]}"}
    known = parameters(Target.model_validate(target))

    def inventory() -> object:
        with psycopg.connect(psycopg.conninfo.make_conninfo(**known)) as connection:
            return connection.execute("SELECT nspname FROM pg_namespace ORDER BY 1").fetchall()

    for open_one in _opener(elsewhere, tmp_path):
        yield EmptyTarget(open_one, inventory)


@pytest.fixture
def database(dsn: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The DSN of a fresh database, also in the variable that `elsewhere` names."""
    name = f"suite_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
        fresh = psycopg.conninfo.make_conninfo(dsn, dbname=name)
        monkeypatch.setenv("EMBEDSPEC_TEST_FRESH_URL", fresh)
        yield fresh
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def elsewhere(database: str, tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    """Benches in the fresh database, with other keys of the target where asked for."""
    openers: list[Iterator[Callable[..., Store]]] = []

    def make(**keys: Any) -> Bench:
        target = {"store": "pgvector", "url": "env:EMBEDSPEC_TEST_FRESH_URL", **keys}
        opener = _opener(target, tmp_path)
        openers.append(opener)
        return Bench(adapter, target, next(opener))

    yield make
    for opener in openers:
        next(opener, None)
