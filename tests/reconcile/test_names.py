"""The names at the top of the package, whatever was imported before."""

from __future__ import annotations

from types import ModuleType

import embedspec

from .conftest import Workspace


def test_no_package_takes_the_place_of_a_verb(workspace: Workspace) -> None:
    """Importing a package puts it where a verb of the same name was found before."""
    spec = workspace.spec()
    assert embedspec.plan(spec).class_ == "create"
    assert embedspec.reconcile(spec).written == 8
    assert not [n for n in embedspec.__all__ if isinstance(getattr(embedspec, n), ModuleType)]
