"""Conformance tests of search: scores, order, k, approximate recall."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import numpy.typing as npt
import pytest

from embedspec.stores.protocol import Lease, Store
from embedspec.stores.records import BuildRecord
from embedspec.testing.bench import Bench, Item, batch, keys, make_items, unit_vectors
from embedspec.types import Candidate, Eq, FieldType, Metric, Quantization

RECALL_ROWS = 1500
RECALL_FLOOR = 0.9


def true_scores(
    metric: Metric, rows: npt.NDArray[np.floating], query: npt.NDArray[np.floating]
) -> npt.NDArray[np.float64]:
    """(n,) the metric as `Candidate.score` is defined, in float64."""
    wide, q = rows.astype(np.float64), query.astype(np.float64)
    if metric is Metric.l2:
        distances: npt.NDArray[np.float64] = np.linalg.norm(wide - q, axis=1)
        return -distances
    if metric is Metric.cosine:
        wide = wide / np.linalg.norm(wide, axis=1, keepdims=True)
        q = q / np.linalg.norm(q)
    product: npt.NDArray[np.float64] = wide @ q
    return product


def check_hits(
    hits: list[Candidate], items: list[Item], scores: npt.NDArray[np.float64], tolerance: float
) -> None:
    """Every hit has its own true score, text and metadata; scores never rise; no hit twice."""
    by_id = {(item.id, item.chunk): i for i, item in enumerate(items)}
    found = [by_id[hit.id, hit.chunk] for hit in hits]
    assert len(set(found)) == len(found), "search gave a row twice"
    assert all(a.score >= b.score for a, b in itertools.pairwise(hits)), "scores must never rise"
    for hit, i in zip(hits, found, strict=True):
        assert hit.score == pytest.approx(scores[i], abs=tolerance), (
            f"the score of {hit.id} is not the metric itself; if this fails, check the sign and that a "
            "distance is turned into cosine = 1 - distance, dot = -distance, l2 = -distance"
        )
        assert (hit.text, hit.metadata) == (items[i].text, dict(items[i].metadata)), (
            "a hit carries another row's text or metadata"
        )


def fill_indexed(bench: Bench, store: Store, items: list[Item]) -> tuple[Lease, BuildRecord]:
    """A build with the store's approximate index, or a skip where it has none."""
    kinds = sorted(bench.adapter.capabilities.index_types - {"exact"})
    if not kinds:
        pytest.skip("this store has no approximate index")
    return bench.fill(store, items, index=kinds[0], dimension=len(items[0].vector))


class SearchPromises:
    @pytest.mark.parametrize("quantization", list(Quantization))
    @pytest.mark.parametrize("metric", list(Metric))
    def test_exact_search_against_numpy(
        self, bench: Bench, metric: Metric, quantization: Quantization
    ) -> None:
        if metric not in bench.adapter.capabilities.metrics:
            pytest.skip(f"this store does not declare the metric {metric}")
        tolerance = 1e-3 if quantization is Quantization.float16 else 1e-5
        items = make_items(200, dimension=24)
        if metric is not Metric.cosine:
            lengths = np.linspace(0.5, 1.5, len(items), dtype=np.float32)
            items = [
                dataclasses.replace(it, vector=it.vector * n) for it, n in zip(items, lengths, strict=True)
            ]
        queries = unit_vectors(5, 24, seed=9)
        held = np.stack([item.vector for item in items])
        if quantization is Quantization.float16:
            held = held.astype(np.float16).astype(np.float32)
        with bench.open_store() as store:
            _, build = bench.fill(store, items, dimension=24, metric=metric, quantization=quantization)
            for k in (1, 7, len(items), len(items) + 50):
                results = store.search(build, queries, k, search={}, exact=True)
                assert len(results) == len(queries), "search must give one list per query, in order"
                for query, hits in zip(queries, results, strict=True):
                    scores = true_scores(metric, held, query)
                    assert len(hits) == min(k, len(items)), (
                        f"exact search for k={k} over {len(items)} rows gave {len(hits)} hits"
                    )
                    check_hits(hits, items, scores, tolerance)
                    floor = np.sort(scores)[::-1][len(hits) - 1]
                    assert all(hit.score >= floor - 2 * tolerance for hit in hits), (
                        "exact search missed nearer rows; if this fails, check the operator and its direction"
                    )

    def test_scores_at_the_ends_of_the_scale(self, bench: Bench) -> None:
        east, north = np.eye(2, 8, dtype=np.float32)
        items = [Item("same", east), Item("across", north), Item("opposite", -east), Item("long", east * 3)]
        wanted = {
            Metric.cosine: {"same": 1.0, "across": 0.0, "opposite": -1.0, "long": 1.0},
            Metric.dot: {"same": 1.0, "across": 0.0, "opposite": -1.0, "long": 3.0},
            Metric.l2: {"same": 0.0, "across": -(2**0.5), "opposite": -2.0, "long": -2.0},
        }
        with bench.open_store() as store:
            lease = None
            for number, metric in enumerate(sorted(bench.adapter.capabilities.metrics), 1):
                build = bench.build(number, metric=metric)
                lease = lease or bench.lease(store)
                store.create_build(lease, bench.state(), build)
                store.upsert(lease, build, batch(build, items), fresh=True)
                (hits,) = store.search(build, east.reshape(1, -1), 4, search={}, exact=True)
                found = {hit.id: hit.score for hit in hits}
                assert found == pytest.approx(wanted[metric], abs=1e-5), (
                    f"{metric} scores are not as `Candidate.score` says: cosine in [-1, 1], dot product, "
                    "minus the L2 distance (its root, not its square)"
                )

    def test_equal_scores_are_ordered_by_id_then_chunk(self, bench: Bench) -> None:
        vector, other = unit_vectors(2, 8)
        ids = ["b", "a", "Z", "é", "ä", "a10", "a9", "_", "\U0001f600", "\uffee", "d0", "B"]
        items = [Item(id, vector, chunk, text=f"{id} {chunk}") for id in ids for chunk in (10, 2, 0, 300)]
        items.append(Item("zz", other))
        wanted = sorted((item.id, item.chunk) for item in items[:-1])
        with bench.open_store() as store:
            _, build = bench.fill(store, items)
            for k in (1, 5, 13, len(wanted)):
                (hits,) = store.search(build, vector.reshape(1, -1), k, search={}, exact=True)
                assert [(hit.id, hit.chunk) for hit in hits] == wanted[:k], (
                    f"equal scores (k={k}) are not ordered by id, then chunk; if this fails, check that ids "
                    "compare by code point, chunks as numbers, and that ties are broken before the cut at k"
                )

    def test_a_zero_vector_has_no_cosine(self, bench: Bench) -> None:
        """It is near to nothing, so no search finds it, by index or exactly; under dot and l2 it is
        a vector like any other."""
        zero = np.zeros(8, dtype=np.float32)
        items = [*make_items(3), Item("zero", zero, text="zero")]
        with bench.open_store() as store:
            lease, build = bench.fill(store, items, metric=Metric.cosine)
            assert sorted(bench.ids(store, build, items[0].vector, 9)) == ["d0", "d1", "d2"]
            assert bench.ids(store, build, zero, 9) == [], "a zero query has no nearest rows"
            assert store.count(build) == 4
            if Metric.dot in bench.adapter.capabilities.metrics:
                dot = bench.build(2, metric=Metric.dot)
                store.create_build(lease, bench.state(), dot)
                bench.write(store, lease, dot, items)
                assert len(bench.ids(store, dot, items[0].vector, 9)) == 4

    def test_search_in_an_empty_build(self, bench: Bench) -> None:
        with bench.open_store() as store:
            lease, build = bench.fill(store, [])
            queries = unit_vectors(3, 8)
            assert store.search(build, queries, 5, search={}, exact=True) == [[], [], []]
            store.upsert(lease, build, batch(build, make_items(1)), fresh=True)
            assert [len(hits) for hits in store.search(build, queries, 5, search={}, exact=True)] == [1, 1, 1]

    def test_approximate_search_has_recall(self, bench: Bench) -> None:
        items = make_items(RECALL_ROWS, dimension=16)
        matrix = np.stack([item.vector for item in items])
        queries = unit_vectors(20, 16, seed=5)
        with bench.open_store() as store:
            _, build = fill_indexed(bench, store, items)
            settings = bench.resolve(index=build.index["type"], dimension=16).search
            limit = bench.adapter.capabilities.max_k or RECALL_ROWS
            for k in (10, 200, min(limit, RECALL_ROWS)):
                results = store.search(build, queries, k, search=settings)
                found = 0
                for query, hits in zip(queries, results, strict=True):
                    scores = true_scores(build.metric, matrix, query)
                    check_hits(hits, items, scores, 1e-5)
                    assert len(hits) <= k
                    nearest = {f"d{i}" for i in np.argsort(-scores)[:k]}
                    found += len(nearest & {hit.id for hit in hits})
                recall = found / (k * len(queries))
                assert recall >= RECALL_FLOOR, (
                    f"recall@{k} of the index is {recall:.3f}; if this fails, check that the reader settings "
                    "are applied and raised where k needs it (an index gives no more rows than it looks at)"
                )

    def test_approximate_search_sees_later_writes(self, bench: Bench) -> None:
        items = make_items(300, dimension=16)
        with bench.open_store() as store:
            lease, build = fill_indexed(bench, store, items[:200])
            store.upsert(lease, build, batch(build, items[200:]), fresh=True)
            store.delete(lease, build, keys(items[:100]))
            moved = dataclasses.replace(items[150], vector=-items[150].vector)
            store.upsert(lease, build, batch(build, [moved]), fresh=False)
            store.finish(lease, build)
            settings = bench.resolve(index=build.index["type"], dimension=16).search
            for item in (items[250], moved, items[120]):
                (hits,) = store.search(build, item.vector.reshape(1, -1), 1, search=settings)
                assert hits[0].id == item.id, "the index does not know a row written after finish"
            (hits,) = store.search(build, items[0].vector.reshape(1, -1), 100, search=settings)
            assert not {hit.id for hit in hits} & {item.id for item in items[:100]}, (
                "the index gives rows that were deleted"
            )

    def test_approximate_search_with_a_filter(self, bench: Bench) -> None:
        """One row in fifty matches: the index must look on until it has them, or say fewer."""
        items = [
            dataclasses.replace(item, metadata={"lang": "la" if i % 50 == 0 else "en"})
            for i, item in enumerate(make_items(1000, dimension=16))
        ]
        wanted = {item.id for item in items[::50]}
        with bench.open_store() as store:
            _, build = fill_indexed(bench, store, items)
            settings = bench.resolve(index=build.index["type"], dimension=16).search
            latin = Eq("lang", FieldType.keyword, "la")
            query = unit_vectors(1, 16, seed=5)
            (hits,) = store.search(build, query, 10, search=settings, filter=latin)
            assert {hit.id for hit in hits} <= wanted, "a filtered search gave rows that do not match"
            assert len(hits) >= 0.9 * 10, (
                f"a filtered search gave {len(hits)} of 10 hits; if this fails, check that the index scan "
                "goes on until enough rows pass the filter"
            )
            (all_hits,) = store.search(build, query, 50, search={}, filter=latin, exact=True)
            assert {hit.id for hit in all_hits} == wanted, "exact search with a filter missed rows"
