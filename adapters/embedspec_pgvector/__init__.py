"""The pgvector store: any PostgreSQL with the vector extension, or an embedded server of its own."""

from __future__ import annotations

from typing import cast

from pydantic import BaseModel

from embedspec.errors import StoreError
from embedspec.stores.protocol import Capabilities, OpenContext, ResolvedTarget, Store, StoreEstimate
from embedspec.types import Metric, Quantization, StorageDefinition
from embedspec_pgvector.config import CAPABILITIES, Target, estimate, resolve


class PgvectorAdapter:
    """What the entry point names. Importing it loads no driver; `open` does."""

    @property
    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    @property
    def target_model(self) -> type[BaseModel]:
        return Target

    def resolve(
        self, target: BaseModel, *, dimension: int, quantization: Quantization, metric: Metric
    ) -> ResolvedTarget:
        return resolve(cast(Target, target), dimension, quantization, metric)

    def estimate(self, storage: StorageDefinition, rows: int, text_bytes: int) -> StoreEstimate:
        return estimate(storage, rows, text_bytes)

    def open(self, target: BaseModel, context: OpenContext) -> Store:
        try:
            from embedspec_pgvector.opening import open_store
        except ImportError as error:
            raise StoreError(
                f"the PostgreSQL driver cannot be loaded ({error})",
                where="target.store: pgvector",
                fix="pip install 'embedspec[pgvector]'",
            ) from error
        return open_store(cast(Target, target), context)


adapter = PgvectorAdapter()
