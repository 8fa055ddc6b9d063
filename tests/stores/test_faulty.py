"""The store that fails where it is told to, before or after the write took effect."""

from __future__ import annotations

from pathlib import Path

import pytest

from embedspec.errors import LeaseLost, StoreError
from embedspec.stores.memory import MemoryTargetModel, adapter
from embedspec.stores.protocol import OpenContext
from embedspec.testing import Bench, Crash, Fault, FaultyStore
from embedspec.testing.bench import batch, make_items


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    model = MemoryTargetModel(store="memory", url=str(tmp_path))

    def open_store(*, write: bool = True) -> object:
        return adapter.open(model, OpenContext(tmp_path, tmp_path, write=write))

    return Bench(adapter, model.model_dump(), open_store)  # type: ignore[arg-type]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("kind", ["transient", "permanent"])
def test_one_write_fails(bench: Bench, kind: str, after: bool) -> None:
    items = make_items(4)
    inner = bench.open_store()
    build = bench.build()
    with FaultyStore(inner, {2: Fault(kind, after=after)}) as store:  # type: ignore[arg-type]
        lease = bench.start(store, build)
        with pytest.raises(StoreError, match=r"write 2 \(upsert\) failed as planned") as failed:
            store.upsert(lease, build, batch(build, items), fresh=True)
        assert failed.value.transient is (kind == "transient")
        assert store.count(build) == (4 if after else 0)
        store.upsert(lease, build, batch(build, items), fresh=False)
        assert store.count(build) == 4
        assert store.calls == 3


@pytest.mark.parametrize("after", [False, True])
def test_nothing_happens_after_a_crash(bench: Bench, after: bool) -> None:
    inner = bench.open_store()
    build = bench.build()
    store = FaultyStore(inner, {2: Fault("crash", after=after)})
    lease = bench.start(store, build)
    with pytest.raises(Crash, match="write 2"):
        store.upsert(lease, build, batch(build, make_items(4)), fresh=True)
    assert store.crashed
    assert inner.count(build) == (4 if after else 0)
    for call in (lambda: store.count(build), lambda: store.release(lease), lambda: store.observe(bench.name)):
        with pytest.raises(Crash, match="after the crash"):
            call()
    with pytest.raises(LeaseLost):
        store.renew(lease, 60)
    assert bench.observed(inner).lease is not None, "a killed process gives no lease back"
    store.close()


def test_a_crash_is_caught_by_no_handler_of_exceptions() -> None:
    assert not issubclass(Crash, Exception)
