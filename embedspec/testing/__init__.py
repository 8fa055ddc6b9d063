"""For authors of store adapters: the conformance suite, and a store that fails where it is told to.

Needs pytest. A store's test is a subclass of `StoreSuite` with fixtures and nothing else.
"""

import pytest

pytest.register_assert_rewrite(
    "embedspec.testing.bench",
    "embedspec.testing.filter_promises",
    "embedspec.testing.lease_promises",
    "embedspec.testing.limit_promises",
    "embedspec.testing.registry_promises",
    "embedspec.testing.row_promises",
    "embedspec.testing.search_promises",
)

from embedspec.testing.bench import Bench, EmptyTarget  # noqa: E402 - after the registration above
from embedspec.testing.faulty import Crash, Fault, FaultyStore  # noqa: E402
from embedspec.testing.suite import StoreSuite  # noqa: E402

__all__ = ["Bench", "Crash", "EmptyTarget", "Fault", "FaultyStore", "StoreSuite"]
