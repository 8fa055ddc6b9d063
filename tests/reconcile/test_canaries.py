"""Every index has canary vectors, also one that was filled from the cache alone."""

from __future__ import annotations

from embedspec.reconciler.canary import find_canary
from embedspec.reconciler.session import Session

from .conftest import Workspace


def test_an_index_moved_to_another_store_gets_canaries(workspace: Workspace) -> None:
    workspace.run()
    elsewhere = {"target.url": workspace.base["target"]["url"] + "-elsewhere"}
    moved = workspace.run(**elsewhere)
    assert (moved.embedded, moved.cached) == (0, moved.written)
    session = Session(workspace.spec(**elsewhere))
    with session.open_store(write=False) as store:
        assert find_canary(store.observe("t"), session.model.fingerprint) is not None
