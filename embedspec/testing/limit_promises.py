"""Conformance tests of what an adapter says without a connection: capabilities, resolve, estimate."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from embedspec.errors import CapabilityError
from embedspec.testing.bench import Bench, EmptyTarget, Item, unit_vectors
from embedspec.types import Metric, Quantization


class LimitPromises:
    def test_capabilities_are_whole(self, bench: Bench) -> None:
        can = bench.adapter.capabilities
        assert can.store == bench.target["store"]
        assert can.metrics
        assert can.quantizations
        assert can.index_types
        assert can.write_batch_rows > 0
        assert can.max_dimension.keys() == {(q, t) for q in can.quantizations for t in can.index_types}, (
            "max_dimension must have an entry for every (quantization, index type)"
        )

    def test_the_largest_dimension_works(self, bench: Bench) -> None:
        with bench.open_store() as store:
            lease = bench.lease(store)
            for number, ((quantization, index), limit) in enumerate(
                sorted(bench.adapter.capabilities.max_dimension.items()), 1
            ):
                build = bench.build(number, dimension=limit, quantization=quantization, index=index)
                vectors = unit_vectors(3, limit)
                items = [Item(f"d{i}", vectors[i], text=f"t{i}") for i in range(3)]
                store.create_build(lease, bench.state(), build)
                bench.write(store, lease, build, items)
                store.finish(lease, build)
                assert bench.ids(store, build, vectors[1], 1) == ["d1"], (
                    f"dimension {limit} ({quantization.value}, {index}) is declared and does not work"
                )

    def test_one_above_the_largest_dimension_is_refused(self, empty: EmptyTarget, bench: Bench) -> None:
        before = empty.inventory()
        for (quantization, index), limit in bench.adapter.capabilities.max_dimension.items():
            with pytest.raises(CapabilityError) as refused:
                bench.resolve(dimension=limit + 1, quantization=quantization, index=index)
            assert str(limit) in str(refused.value), "the refusal must name the limit"
            assert refused.value.fix, "the refusal must name the way out"
        assert empty.inventory() == before, "resolve must open and create nothing"

    def test_resolve_writes_every_default_out(self, bench: Bench) -> None:
        for index in sorted(bench.adapter.capabilities.index_types):
            resolved = bench.resolve(index=index)
            assert resolved == bench.resolve(index=index), "resolve must be a pure function"
            assert resolved.storage.index["type"] == index
            json.dumps([dict(resolved.storage.index), dict(resolved.search)])
            model = bench.adapter.target_model
            brief = model.model_validate({**bench.target, "index": {"type": index}})
            for spelled in (
                {**bench.target, "index": resolved.storage.index, "search": resolved.search},
                brief.model_dump(by_alias=True),
            ):
                again = bench.adapter.resolve(
                    model.model_validate(spelled),
                    dimension=8,
                    quantization=Quantization.float32,
                    metric=Metric.cosine,
                )
                assert (again.storage, again.search) == (resolved.storage, resolved.search), (
                    "defaults written out change the identity; if this fails, check that resolve fills in "
                    "every default, so that a spec which spells them is the same spec"
                )

    def test_unknown_target_keys_are_refused(self, bench: Bench) -> None:
        for wrong in (
            {**bench.target, "colour": "red"},
            {**bench.target, "index": {"type": "exact", "colour": 1}},
            {**bench.target, "index": {"type": "no such index"}},
            {**bench.target, "search": {"colour": 1}},
        ):
            with pytest.raises(ValidationError):
                bench.adapter.target_model.model_validate(wrong)

    def test_estimates_grow_with_rows(self, bench: Bench) -> None:
        for index in sorted(bench.adapter.capabilities.index_types):
            storage = bench.resolve(index=index, dimension=384).storage
            small, large = (bench.adapter.estimate(storage, n, n * 400) for n in (1_000, 100_000))
            assert small.basis, "an estimate must say how it was worked out"
            assert 1_000 * (384 * 4 + 400) <= small.table_bytes < large.table_bytes
            assert 0 <= small.index_bytes <= large.index_bytes
            assert 0 <= small.build_memory_bytes <= large.build_memory_bytes

    def test_identity_is_the_servers(self, bench: Bench) -> None:
        with bench.open_store() as store, bench.open_store(write=False) as reader:
            bench.start(store, bench.build())
            assert store.identity() == reader.identity(), "two connections to one target differ in identity"
            assert store.identity()
