"""The names at the top of the package, whatever was imported before."""

from __future__ import annotations

import embedspec

from .conftest import Workspace


def test_the_verb_reconcile_stays_callable_once_its_package_is_imported(workspace: Workspace) -> None:
    spec = workspace.spec()
    assert embedspec.plan(spec).class_ == "create"  # imports embedspec.reconciler.observe
    assert embedspec.reconcile(spec).written == 8
    assert embedspec.reconciler.__name__ == "embedspec.reconcile"
