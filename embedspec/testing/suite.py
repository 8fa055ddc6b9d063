"""`StoreSuite`: what every store adapter must do, as tests that a subclass runs on its own store.

A store's test is a subclass that gives four fixtures and nothing else:

- `adapter`: the adapter object;
- `target`: what a spec says under `target`, without `index` and `search`;
- `open_store`: an `OpenStore` that opens connections to one and the same target. Every test uses
  index names of its own, so the target need not be empty;
- `empty`: an `EmptyTarget`, in which nobody has written yet.

Tests may not be overridden. What a store cannot do is declared in `departures` (test name to
reason); such a test must fail, and the day it passes it says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from embedspec.stores.protocol import Adapter
from embedspec.testing.bench import Bench, OpenStore
from embedspec.testing.filter_promises import FilterPromises
from embedspec.testing.lease_promises import LeasePromises
from embedspec.testing.limit_promises import LimitPromises
from embedspec.testing.registry_promises import RegistryPromises
from embedspec.testing.row_promises import RowPromises
from embedspec.testing.search_promises import SearchPromises


class StoreSuite(RegistryPromises, LeasePromises, RowPromises, SearchPromises, FilterPromises, LimitPromises):
    """The conformance suite; see the module's text."""

    departures: ClassVar[Mapping[str, str]] = {}
    """Names of tests that this store cannot pass, each with the reason."""

    @pytest.fixture
    def bench(self, adapter: Adapter, target: Mapping[str, Any], open_store: OpenStore) -> Bench:
        return Bench(adapter, target, open_store)

    @pytest.fixture(autouse=True)
    def _mark_departures(self, request: pytest.FixtureRequest) -> None:
        reason = self.departures.get(request.function.__name__)
        if reason:
            request.node.add_marker(pytest.mark.xfail(strict=True, reason=reason))

    def test_the_suite_is_not_overridden(self) -> None:
        names = {name for name in dir(StoreSuite) if name.startswith("test_")}
        changed = sorted(n for n in names if getattr(type(self), n, None) is not getattr(StoreSuite, n))
        assert not changed, f"{changed} must not be overridden: declare a departure with its reason instead"
        unknown = sorted(self.departures.keys() - names)
        assert not unknown, f"departures name tests that do not exist: {unknown}"
        silent = sorted(name for name, reason in self.departures.items() if not reason.strip())
        assert not silent, f"departures without a reason: {silent}"
