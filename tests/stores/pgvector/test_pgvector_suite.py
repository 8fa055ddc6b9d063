"""pgvector passes the conformance suite."""

from __future__ import annotations

import pytest

from embedspec.testing import StoreSuite
from embedspec_pgvector import PgvectorAdapter, adapter


class TestPgvector(StoreSuite):
    @pytest.fixture(name="adapter")
    def _adapter(self) -> PgvectorAdapter:
        return adapter
