"""Tiny models, projects on an embedded server of their own, and the corpus they begin with."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from reconcile.tiny_model import make_model

from embedspec.errors import StoreError
from embedspec_pgvector.embedded import EmbeddedServer, binaries
from embedspec_pgvector.watcher import data_folder

from .project import Project, wait_for


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two models of the same shape that agree in nothing."""
    folder = tmp_path_factory.mktemp("models")
    return make_model(folder / "one"), make_model(folder / "two", seed=2)


@pytest.fixture(scope="session")
def needs_server(skip_or_fail: Callable[[str, str], None]) -> None:
    try:
        binaries()
    except StoreError as error:
        skip_or_fail("pgvector", str(error))


@pytest.fixture(scope="session")
def fresh_data(needs_server: None, tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """The data folder of an embedded server as its first start leaves it: making one takes seconds.
    None where the server's user cannot enter the folder, and its data is elsewhere."""
    folder = tmp_path_factory.mktemp("server") / "pg"
    server = EmbeddedServer(folder)
    server.ensure()
    server.close()
    data = data_folder(folder)
    wait_for(lambda: not (data / "postmaster.pid").exists(), 60.0, lambda: "the server does not stop")
    return data if data.parent == folder else None


@pytest.fixture
def bare_project(tmp_path: Path, tiny_models: tuple[Path, Path], needs_server: None) -> Iterator[Project]:
    """A project where nothing was ever run: the first command makes its server."""
    made = Project(tmp_path / "project", tiny_models[0])
    yield made
    made.close()
    made.assert_nothing_is_left()


@pytest.fixture
def project(bare_project: Project, fresh_data: Path | None) -> Project:
    """A project whose embedded server is made, and stopped. Nothing of embedspec is in it."""
    if fresh_data is not None:
        bare_project.server_folder.mkdir(parents=True, mode=0o700)
        shutil.copytree(fresh_data, bare_project.server_folder / "data")
    return bare_project
