"""Pointer moves, rollbacks and what may be dropped, as pure steps."""

from __future__ import annotations

from datetime import timedelta

import pytest

from embedspec.errors import EmbedspecError
from embedspec.reconciler.decide import decide
from embedspec.reconciler.registry import GRACE_S, accept, collectable, point_to, roll_back
from embedspec.stores.records import BuildRecord, IndexRecord
from embedspec.types import BuildStatus

from .test_decide import NOW, build_of, pointer_to, record_of, want

A, B, C = want(), want(dimension=256), want(template="{title}")


def merged(record: IndexRecord, state: object, builds: list[BuildRecord]) -> IndexRecord:
    """What the store would hold after `save` or `switch`."""
    changed = {b.id: b for b in builds}
    kept = tuple(changed.pop(b.id, b) for b in record.builds)
    return record.model_copy(update={"state": state, "builds": (*kept, *changed.values())})


def live_ids(record: IndexRecord) -> list[str]:
    return [b.id for b in record.builds if b.status is BuildStatus.live]


def switched(record: IndexRecord, desired: object, build_id: str) -> IndexRecord:
    build = record.build(build_id)
    assert build is not None
    state, builds = point_to(record, build, pointer_to(desired, build_id))  # type: ignore[arg-type]
    return merged(record, state, builds)


@pytest.fixture
def three() -> IndexRecord:
    """A was live, then B, now C."""
    record = record_of(
        build_of(A, "a", BuildStatus.ready, 9),
        build_of(B, "b", BuildStatus.ready, 8),
        build_of(C, "c", BuildStatus.ready, 7),
    )
    for desired, build_id in ((A, "a"), (B, "b"), (C, "c")):
        record = switched(record, desired, build_id)
    return record


def test_one_build_is_live_and_the_history_grows(three: IndexRecord) -> None:
    assert live_ids(three) == ["c"]
    assert [p.build for p in three.state.history] == ["a", "b"]
    left = three.build("b")
    assert left is not None
    assert (left.status, left.left_live) == (BuildStatus.kept, NOW)


def test_rollback_goes_one_step_and_sticks(three: IndexRecord) -> None:
    record = merged(three, *roll_back(three, None)[:2])
    assert live_ids(record) == ["b"]
    left = record.build("c")
    assert left is not None
    assert left.status is BuildStatus.rejected
    decision = decide(C, record)
    assert decision.blocked
    assert decision.work is not None
    assert (decision.work.id, decision.switch) == ("b", False)
    assert decide(B, record).build_class == "none", "the spec changed back asks for what is live"


def test_rollback_twice_and_to_a_named_build(three: IndexRecord) -> None:
    once = merged(three, *roll_back(three, None)[:2])
    twice = merged(once, *roll_back(once, None)[:2])
    assert live_ids(twice) == ["a"]
    straight = merged(three, *roll_back(three, "a")[:2])
    assert live_ids(straight) == ["a"]
    with pytest.raises(EmbedspecError, match="no earlier pointer"):
        roll_back(twice, None)


def test_rollback_to_a_build_that_was_rejected_before_accepts_it(three: IndexRecord) -> None:
    back = merged(three, *roll_back(three, None)[:2])
    again = switched(back, C, "c")
    again = again.model_copy(update={"state": accept(again.state, C.fingerprints.build, C.reader)})
    assert decide(C, again).blocked is None
    home = merged(again, *roll_back(again, None)[:2])
    assert live_ids(home) == ["b"]
    assert decide(B, home).blocked is None


def test_rollback_undoes_a_repoint_only(three: IndexRecord) -> None:
    other = want(template="{title}", ef_search=200)
    record = switched(three, other, "c")
    assert decide(other, record).build_class == "none"
    back = merged(record, *roll_back(record, None)[:2])
    assert live_ids(back) == ["c"]
    assert decide(other, back).blocked
    assert decide(C, back).build_class == "none"
    assert decide(want(template="{title}", ef_search=300), back).build_class == "repoint"


def test_rollback_to_a_dropped_build_says_so(three: IndexRecord) -> None:
    builds = tuple(b.model_copy(update={"dropped": b.id == "b"}) for b in three.builds)
    with pytest.raises(EmbedspecError, match="dropped by gc") as caught:
        roll_back(three.model_copy(update={"builds": builds}), None)
    assert caught.value.fix


def test_nothing_live_cannot_be_rolled_back() -> None:
    with pytest.raises(EmbedspecError, match="nothing is live"):
        roll_back(record_of(build_of(A, "a", BuildStatus.building)), None)


def later(record: IndexRecord, seconds: float) -> IndexRecord:
    return record.model_copy(update={"now": NOW + timedelta(seconds=seconds)})


def test_gc_counts_the_live_build_and_waits_for_readers(three: IndexRecord) -> None:
    wanted = C.fingerprints.build
    drop, stays = collectable(later(three, 1), 2, GRACE_S, wanted)
    assert drop == []
    assert set(stays) == {"a", "b", "c"}
    drop, stays = collectable(later(three, GRACE_S + 1), 2, GRACE_S, wanted)
    assert len(drop) == 1
    assert set(stays) >= {"c"}
    drop, _ = collectable(later(three, GRACE_S + 1), 1, GRACE_S, wanted)
    assert {b.id for b, _ in drop} == {"a", "b"}
    assert collectable(later(three, GRACE_S + 1), 3, GRACE_S, wanted)[0] == []


def test_gc_keeps_the_record_of_a_rejected_identity(three: IndexRecord) -> None:
    record = later(merged(three, *roll_back(three, None)[:2]), GRACE_S + 1)
    drop, _ = collectable(record, 1, GRACE_S, C.fingerprints.build)
    assert {(b.id, keep) for b, keep in drop} == {("a", False), ("c", True)}


def test_gc_leaves_unfinished_builds_the_spec_wants() -> None:
    wanted = build_of(B, "b", BuildStatus.building, 5)
    abandoned = build_of(C, "c", BuildStatus.building, 5)
    record = record_of(build_of(A, "a", BuildStatus.live, 9), wanted, abandoned, pointer=pointer_to(A, "a"))
    drop, stays = collectable(record, 2, GRACE_S, B.fingerprints.build)
    assert [(b.id, keep) for b, keep in drop] == [("c", False)]
    assert "b" in stays
    assert collectable(record, 2, GRACE_S, None)[0] == [], "without a spec nothing unfinished is dropped"
