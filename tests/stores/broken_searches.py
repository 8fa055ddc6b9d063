"""Memory stores whose search breaks a promise, and broken adapters."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import ConfigDict

from embedspec.errors import StoreError
from embedspec.stores.filters import matches
from embedspec.stores.memory import MemoryAdapter, MemoryTargetModel
from embedspec.stores.memory_store import MemoryStore
from embedspec.stores.protocol import Finished, Lease, ResolvedTarget
from embedspec.stores.records import BuildRecord, IndexState
from embedspec.types import Candidate, Eq, Filter, Matrix, Metric, Not, RowBatch

from .breaking import fails


def backwards(hits: list[Candidate]) -> list[Candidate]:
    """By score, equal ones in the wrong order."""
    return sorted(hits, key=lambda hit: hit.score)[::-1]


class Searching(MemoryStore):
    """Gives the true answer for every row; a subclass spoils it in `spoil`."""

    def search(
        self,
        build: BuildRecord,
        vectors: Matrix,
        k: int,
        *,
        search: Mapping[str, Any],
        filter: Filter | None = None,
        exact: bool = False,
    ) -> list[list[Candidate]]:
        whole = super().search(build, vectors, 10**9, search=search, filter=filter, exact=exact)
        return [self.spoil(build, hits, k, exact) for hits in whole]

    def spoil(self, build: BuildRecord, hits: list[Candidate], k: int, exact: bool) -> list[Candidate]:
        raise NotImplementedError


@fails("test_exact_search_against_numpy")
class ReturnsOneLess(Searching):
    def spoil(self, build: BuildRecord, hits: list[Candidate], k: int, exact: bool) -> list[Candidate]:
        return hits[: k - 1]


@fails("test_exact_search_against_numpy")
class FarthestFirst(Searching):
    def spoil(self, build: BuildRecord, hits: list[Candidate], k: int, exact: bool) -> list[Candidate]:
        return sorted(hits, key=lambda hit: hit.score)[:k]


@fails("test_equal_scores_are_ordered_by_id_then_chunk")
class LeavesTiesUnsorted(Searching):
    def spoil(self, build: BuildRecord, hits: list[Candidate], k: int, exact: bool) -> list[Candidate]:
        return backwards(hits)[:k]


@fails("test_equal_scores_are_ordered_by_id_then_chunk")
class SortsTiesAfterTheCut(Searching):
    def spoil(self, build: BuildRecord, hits: list[Candidate], k: int, exact: bool) -> list[Candidate]:
        cut = backwards(hits)[:k]
        return sorted(cut, key=lambda hit: (-hit.score, hit.id, hit.chunk))


@fails("test_equal_scores_are_ordered_by_id_then_chunk")
class ComparesIdsWithoutCase(Searching):
    def spoil(self, build: BuildRecord, hits: list[Candidate], k: int, exact: bool) -> list[Candidate]:
        return sorted(hits, key=lambda hit: (-hit.score, hit.id.casefold(), hit.chunk))[:k]


@fails("test_scores_at_the_ends_of_the_scale")
class SquaresTheDistance(Searching):
    def spoil(self, build: BuildRecord, hits: list[Candidate], k: int, exact: bool) -> list[Candidate]:
        if build.metric is not Metric.l2:
            return hits[:k]
        return [replace(hit, score=-(hit.score**2)) for hit in hits[:k]]


@fails("test_approximate_search_has_recall")
class GivesAtMostForty(Searching):
    """What hnsw.ef_search does unless it is raised."""

    def spoil(self, build: BuildRecord, hits: list[Candidate], k: int, exact: bool) -> list[Candidate]:
        return hits[:k] if exact else hits[: min(k, 40)]


@fails("test_approximate_search_has_recall")
class HasPoorRecall(Searching):
    def spoil(self, build: BuildRecord, hits: list[Candidate], k: int, exact: bool) -> list[Candidate]:
        return hits[:k] if exact else hits[::2][:k]


@fails("test_a_zero_vector_has_no_cosine")
class FindsTheZeroVector(Searching):
    def spoil(self, build: BuildRecord, hits: list[Candidate], k: int, exact: bool) -> list[Candidate]:
        missing = self.count(build) - len(hits)
        return [*hits, *([Candidate("zero", 0, 0.0, "zero", {})] * missing)][:k]


@fails("test_search_in_an_empty_build")
class CannotSearchNothing(Searching):
    def spoil(self, build: BuildRecord, hits: list[Candidate], k: int, exact: bool) -> list[Candidate]:
        if not hits:
            raise StoreError("need at least one array to stack")
        return hits[:k]


@fails("test_approximate_search_sees_later_writes")
class IndexesOnce(Searching):
    """The index is a copy of the rows at the first `finish`."""

    indexed: frozenset[str] | None = None

    def finish(self, lease: Lease, build: BuildRecord) -> Finished:
        self.indexed = self.indexed or frozenset(row.stored.id for row in self._rows(build).values())
        return super().finish(lease, build)

    def spoil(self, build: BuildRecord, hits: list[Candidate], k: int, exact: bool) -> list[Candidate]:
        known = [hit for hit in hits if exact or self.indexed is None or hit.id in self.indexed]
        return known[:k]


@fails("test_approximate_search_with_a_filter")
class FiltersWhatTheIndexGives(MemoryStore):
    """What an hnsw scan does unless it is told to go on."""

    def search(
        self,
        build: BuildRecord,
        vectors: Matrix,
        k: int,
        *,
        search: Mapping[str, Any],
        filter: Filter | None = None,
        exact: bool = False,
    ) -> list[list[Candidate]]:
        if exact or filter is None:
            return super().search(build, vectors, k, search=search, filter=filter, exact=exact)
        looked_at = super().search(build, vectors, max(k, search["ef_search"]), search=search)
        return [[hit for hit in hits if matches(filter, hit.metadata)][:k] for hits in looked_at]


@fails("test_a_filter_is_applied_before_the_cut_at_k")
class FiltersTheHits(MemoryStore):
    def search(self, *args: Any, filter: Filter | None = None, **kwargs: Any) -> list[list[Candidate]]:
        results = super().search(*args, **kwargs)
        return [[h for h in hits if filter is None or matches(filter, h.metadata)] for hits in results]


class Filtering(MemoryStore):
    """Searches everything, then filters by `passes`."""

    def search(
        self,
        build: BuildRecord,
        vectors: Matrix,
        k: int,
        *,
        search: Mapping[str, Any],
        filter: Filter | None = None,
        exact: bool = False,
    ) -> list[list[Candidate]]:
        whole = super().search(build, vectors, 10**9, search=search, exact=exact)
        return [
            [hit for hit in hits if filter is None or self.passes(filter, hit.metadata)][:k] for hits in whole
        ]

    def passes(self, filter: Filter, metadata: Mapping[str, Any]) -> bool:
        raise NotImplementedError


@fails("test_filters_mean_what_the_reference_says")
class MissingFieldsMatch(Filtering):
    def passes(self, filter: Filter, metadata: Mapping[str, Any]) -> bool:
        return matches(filter, metadata) or (isinstance(filter, Eq) and filter.field not in metadata)


@fails("test_filters_mean_what_the_reference_says")
class NotNeedsTheField(Filtering):
    """SQL's three-valued NOT."""

    def passes(self, filter: Filter, metadata: Mapping[str, Any]) -> bool:
        part = filter.part if isinstance(filter, Not) else None
        return matches(filter, metadata) and not (isinstance(part, Eq) and part.field not in metadata)


@fails("test_filters_mean_what_the_reference_says")
class GuessesNumbers(Filtering):
    def passes(self, filter: Filter, metadata: Mapping[str, Any]) -> bool:
        if isinstance(filter, Eq) and isinstance(filter.value, str):
            try:
                return float(filter.value) == float(metadata.get(filter.field, "x"))
            except (TypeError, ValueError):
                pass
        return matches(filter, metadata)


@fails("test_filters_mean_what_the_reference_says")
class LooksAtFirstElementsOnly(Filtering):
    def passes(self, filter: Filter, metadata: Mapping[str, Any]) -> bool:
        return matches(filter, {k: v[0] if isinstance(v, list) and v else v for k, v in metadata.items()})


@fails("test_filters_mean_what_the_reference_says")
class RoundsIntegersToFloat(Filtering):
    def passes(self, filter: Filter, metadata: Mapping[str, Any]) -> bool:
        rounded = {k: float(v) if type(v) is int and v > 2**53 else v for k, v in metadata.items()}
        return matches(filter, rounded)


@fails("test_a_patched_row_is_filtered_by_its_new_metadata")
class FiltersByFirstMetadata(Filtering):
    first: dict[int, dict[str, Any]]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.first = {}

    def upsert(self, lease: Lease, build: BuildRecord, rows: RowBatch, *, fresh: bool) -> None:
        self.first.update(zip(rows.ids, map(json.loads, rows.metadata), strict=True))
        super().upsert(lease, build, rows, fresh=fresh)

    def passes(self, filter: Filter, metadata: Mapping[str, Any]) -> bool:
        return any(matches(filter, old) for old in self.first.values())


# --- adapters -------------------------------------------------------------------------------------


@fails("test_one_above_the_largest_dimension_is_refused")
class ChecksNoLimit(MemoryAdapter):
    def resolve(self, target: Any, *, dimension: int, **kwargs: Any) -> ResolvedTarget:
        resolved = super().resolve(target, dimension=min(dimension, 2000), **kwargs)
        return replace(resolved, storage=replace(resolved.storage, dimension=dimension))


@fails("test_resolve_writes_every_default_out")
class LeavesDefaultsOut(MemoryAdapter):
    def resolve(self, target: Any, **kwargs: Any) -> ResolvedTarget:
        resolved = super().resolve(target, **kwargs)
        spelled = {"type": resolved.storage.index["type"], **target.index.model_dump(exclude_unset=True)}
        return replace(resolved, storage=replace(resolved.storage, index=spelled))


@fails("test_estimates_grow_with_rows")
class EstimatesNothing(MemoryAdapter):
    def estimate(self, *args: Any) -> Any:
        return replace(super().estimate(*args), table_bytes=0)


@fails("test_the_largest_dimension_works")
class PromisesTooMuch(MemoryAdapter):
    def open(self, target: Any, context: Any) -> MemoryStore:
        return _Narrow(super().open(target, context)._target)


class _Narrow(MemoryStore):
    def create_build(self, lease: Lease, state: IndexState, build: BuildRecord) -> None:
        if build.dimension > 2000:
            raise StoreError("column cannot have more than 2000 dimensions")
        super().create_build(lease, state, build)


@fails("test_identity_is_the_servers")
class IdentityPerConnection(MemoryAdapter):
    def open(self, target: Any, context: Any) -> MemoryStore:
        store = super().open(target, context)
        store.identity = lambda: f"memory:{id(store)}"  # type: ignore[method-assign]
        return store


class _Open(MemoryTargetModel):
    model_config = ConfigDict(extra="allow")


@fails("test_unknown_target_keys_are_refused")
class TakesUnknownKeys(MemoryAdapter):
    @property
    def target_model(self) -> type[MemoryTargetModel]:
        return _Open
