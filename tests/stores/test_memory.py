"""The reference store passes the suite, and what is its own: names, clock, aliasing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from embedspec.errors import LeaseHeld, LeaseLost, StoreError
from embedspec.stores.lease import this_process
from embedspec.stores.memory import MemoryTargetModel, adapter, open_target
from embedspec.stores.protocol import OpenContext
from embedspec.testing import Bench, EmptyTarget, StoreSuite
from embedspec.testing.bench import OpenStore, batch, make_items
from embedspec.types import Quantization


def opener(url: str, folder: Path) -> OpenStore:
    model = MemoryTargetModel(store="memory", url=url)

    def open_store(*, write: bool = True) -> Any:
        return adapter.open(model, OpenContext(folder, folder / ".embedspec", write=write))

    return open_store


def inventory(url: str) -> object:
    target = open_target(url)
    return (sorted(target.indexes), sorted(target.leases), sorted(target.generations))


class TestMemory(StoreSuite):
    @pytest.fixture
    def adapter(self) -> Any:
        return adapter

    @pytest.fixture
    def target(self, tmp_path: Path) -> Mapping[str, Any]:
        return {"store": "memory", "url": str(tmp_path)}

    @pytest.fixture
    def open_store(self, target: Mapping[str, Any], tmp_path: Path) -> OpenStore:
        return opener(target["url"], tmp_path)

    @pytest.fixture
    def empty(self, tmp_path: Path) -> EmptyTarget:
        url = f"{tmp_path}/empty"
        return EmptyTarget(opener(url, tmp_path), lambda: inventory(url))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    url = str(tmp_path)
    return Bench(adapter, {"store": "memory", "url": url}, opener(url, tmp_path))


def test_targets_are_shared_by_url_else_by_folder(tmp_path: Path) -> None:
    def identity(url: str | None, folder: str) -> str:
        context = OpenContext(tmp_path / folder, tmp_path / folder / ".embedspec")
        return adapter.open(MemoryTargetModel(store="memory", url=url), context).identity()

    assert identity("one", "a") == identity("one", "b")
    assert identity("one", "a") != identity("two", "a")
    assert identity(None, "a") == identity(None, "a")
    assert identity(None, "a") != identity(None, "b")


def test_leases_expire_by_the_targets_clock(bench: Bench) -> None:
    now = datetime(2024, 1, 1, tzinfo=UTC)
    target = open_target(bench.target["url"])
    target.clock = lambda: now
    store = bench.open_store()
    old = store.acquire(bench.name, this_process(), 60)
    now += timedelta(seconds=59)
    with pytest.raises(LeaseHeld, match=r"for 59 s; its lease ends in 1 s"):
        bench.lease(store)
    now += timedelta(seconds=1)
    store.create_build(old, bench.state(), bench.build())  # expired, but nobody else has been there
    bench.lease(store)
    with pytest.raises(LeaseLost, match="holds it now"):
        store.save(old, bench.state())
    assert bench.observed(store).now == now


def test_what_is_held_cannot_be_changed_from_outside(bench: Bench) -> None:
    items = make_items(2)
    store = bench.open_store()
    build = bench.build()
    state = bench.state().model_copy(update={"last_run": {"written": 1}})
    lease = bench.lease(store)
    store.create_build(lease, state, build)
    columns = batch(build, items)
    store.upsert(lease, build, columns, fresh=True)
    before, contents = bench.observed(store), bench.contents(store, build)

    columns.vectors[:] = 0
    build.spec["description"] = "changed"
    assert state.last_run is not None
    state.last_run["written"] = 99
    given = bench.observed(store)
    given.builds[0].identity["encoder"]["pooling"] = "changed"
    assert given.state.last_run is not None
    given.state.last_run["written"] = 98
    (hits,) = store.search(build, items[0].vector.reshape(1, -1), 1, search={})
    hits[0].metadata["lang"] = "changed"  # type: ignore[index]
    for _, vector in store.vectors(build, columns.content):
        vector[:] = 0

    after = bench.observed(store)
    assert (after.builds, after.state) == (before.builds, before.state)
    assert bench.contents(store, build) == contents


def test_a_build_is_written_under_its_own_index(bench: Bench) -> None:
    other = Bench(bench.adapter, bench.target, bench.open_store)
    store = bench.open_store()
    build = bench.build()
    bench.start(store, build)
    with pytest.raises(StoreError, match="belongs to index"):
        store.create_build(other.lease(store), other.state(), build)
    assert store.observe(other.name) is None


def test_vectors_of_another_dimension_are_refused(bench: Bench) -> None:
    store = bench.open_store()
    build = bench.build(dimension=8)
    lease = bench.start(store, build)
    wrong = batch(bench.build(dimension=9), make_items(2, dimension=9))
    with pytest.raises(StoreError, match=r"\(2, 9\) do not fit dimension 8"):
        store.upsert(lease, build, wrong, fresh=True)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ({"type": "exact", "m": 8}, "belong to type hnsw"),
        ({"type": "hnsw", "m": 40}, "at least 2"),
        ({"type": "hnsw", "m": 1}, "greater than or equal to 2"),
    ],
)
def test_index_settings_are_checked(index: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MemoryTargetModel.model_validate({"store": "memory", "index": index})


def test_index_settings_are_resolved(bench: Bench) -> None:
    model = MemoryTargetModel.model_validate(
        {"store": "memory", "index": {"type": "hnsw", "m": 8}, "search": {"ef_search": 50}}
    )
    resolved = adapter.resolve(
        model, dimension=8, quantization=Quantization.float16, metric=bench.build().metric
    )
    assert resolved.storage.index == {"type": "hnsw", "m": 8, "ef_construction": 64}
    assert resolved.search == {"ef_search": 50}
