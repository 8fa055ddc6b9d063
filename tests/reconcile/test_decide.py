"""Every state of an index against every change of the spec: the table of DESIGN, row by row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from embedspec.reconciler.decide import decide
from embedspec.reconciler.desired import Desired, Recipe
from embedspec.spec.identity import fingerprint
from embedspec.spec.model import Source
from embedspec.stores.records import (
    BuildRecord,
    Fingerprints,
    IndexRecord,
    IndexState,
    ModelReference,
    Pointer,
    Rejection,
)
from embedspec.types import BuildStatus, Metric, Quantization, StorageDefinition

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BASE = {
    "weights": "w1",
    "document_prompt": "",
    "dimension": 384,
    "quantization": "float32",
    "template": "{text}",
    "metric": "cosine",
    "index": {"type": "hnsw", "m": 16},
    "query_prompt": "",
    "ef_search": 100,
}
CHANGES = {
    "nothing": ({}, "none"),
    "weights": ({"weights": "w2"}, "rebuild"),
    "document prompt": ({"document_prompt": "passage: "}, "rebuild"),
    "template": ({"template": "{title} {text}"}, "rebuild"),
    "dimension": ({"dimension": 256}, "derive"),
    "quantization": ({"quantization": "float16"}, "derive"),
    "template and dimension": ({"template": "{title}", "dimension": 256}, "rebuild"),
    "metric": ({"metric": "dot"}, "reindex"),
    "index tuning": ({"index": {"type": "hnsw", "m": 32}}, "reindex"),
    "index type": ({"index": {"type": "exact"}}, "reindex"),
    "dimension and metric": ({"dimension": 128, "metric": "dot"}, "derive"),
    "query prompt": ({"query_prompt": "query: "}, "repoint"),
    "ef_search": ({"ef_search": 200}, "repoint"),
    "index tuning and ef_search": ({"index": {"type": "hnsw", "m": 32}, "ef_search": 7}, "reindex"),
}


def want(**changes: object) -> Desired:
    c = {**BASE, **changes}
    encoder = {"weights": c["weights"], "document_prompt": c["document_prompt"]}
    vector = {
        "encoder": fingerprint(encoder),
        "dimension": c["dimension"],
        "quantization": c["quantization"],
        "normalized": True,
    }
    text = {"template": c["template"]}
    storage = {"store": "memory", "metric": c["metric"], "index": c["index"]}
    search = {"ef_search": c["ef_search"]}
    return Desired(
        name="t",
        spec={},
        model=ModelReference(use=f"path:{c['weights']}", revision=None, encoder=fingerprint(encoder)),
        identity={"encoder": encoder, "vector": vector, "text": text, "storage": storage},
        fingerprints=Fingerprints(
            encoder=fingerprint(encoder),
            vector=fingerprint(vector),
            build=fingerprint({"vector": vector, "text": text, "storage": storage}),
        ),
        storage=StorageDefinition(
            int(str(c["dimension"])),
            Quantization(c["quantization"]),
            Metric(c["metric"]),
            c["index"],
            1,  # type: ignore[arg-type]
        ),
        recipe=Recipe(Source(type="jsonl", path=("c.jsonl",)), str(c["template"]), {}),
        query_prompt=str(c["query_prompt"]),
        search=search,
        reader=fingerprint([c["query_prompt"], search]),
        source="jsonl c.jsonl",
        keep_builds=2,
        warnings=(),
    )


def build_of(desired: Desired, build_id: str, status: BuildStatus, age: int = 0) -> BuildRecord:
    return BuildRecord(
        index_name="t",
        id=build_id,
        status=status,
        fingerprints=desired.fingerprints,
        identity=dict(desired.identity),
        spec={},
        model=desired.model,
        dimension=desired.storage.dimension,
        quantization=desired.storage.quantization,
        metric=desired.storage.metric,
        index=dict(desired.storage.index),
        fields={},
        created=NOW - timedelta(hours=age),
    )


def pointer_to(desired: Desired, build_id: str) -> Pointer:
    return Pointer(
        build=build_id,
        model=desired.model,
        query_prompt=desired.query_prompt,
        search=dict(desired.search),
        reader=desired.reader,
        since=NOW,
        reason="test",
    )


def record_of(
    *builds: BuildRecord, pointer: Pointer | None = None, rejections: tuple[Rejection, ...] = ()
) -> IndexRecord:
    state = IndexState(pointer=pointer, rejections=rejections)
    return IndexRecord(name="t", lineage="l", serial=1, state=state, builds=builds, now=NOW)


LIVE = want()
LIVE_BUILD = build_of(LIVE, "b1", BuildStatus.live, age=9)
POINTER = pointer_to(LIVE, "b1")


@pytest.mark.parametrize(("change", "expected"), CHANGES.values(), ids=CHANGES.keys())
class TestEveryChange:
    """Against each state; `expected` is the class with a live build of the base identity."""

    def test_nothing_yet(self, change: dict[str, object], expected: str) -> None:
        decision = decide(want(**change), None)
        assert (decision.build_class, decision.makes_build, decision.switch) == ("create", True, True)

    def test_registry_without_builds(self, change: dict[str, object], expected: str) -> None:
        decision = decide(want(**change), record_of())
        assert (decision.build_class, decision.makes_build) == ("create", True)

    def test_live(self, change: dict[str, object], expected: str) -> None:
        decision = decide(want(**change), record_of(LIVE_BUILD, pointer=POINTER))
        assert decision.build_class == expected
        assert decision.makes_build is (expected in {"rebuild", "derive", "reindex"})
        assert decision.switch is (expected != "none")
        assert decision.blocked is None
        if expected != "none":
            assert decision.reasons, "a change without a reason"

    @pytest.mark.parametrize("status", [BuildStatus.building, BuildStatus.ready])
    def test_unfinished_first_build(
        self, change: dict[str, object], expected: str, status: BuildStatus
    ) -> None:
        """Killed before anything was live: the same spec resumes, another one starts anew."""
        desired = want(**change)
        decision = decide(desired, record_of(build_of(LIVE, "b1", status)))
        assert decision.build_class == "create"
        same_build = desired.fingerprints.build == LIVE.fingerprints.build
        assert (decision.work.id if decision.work else None) == ("b1" if same_build else None)
        assert decision.switch

    @pytest.mark.parametrize("status", [BuildStatus.building, BuildStatus.ready])
    def test_unfinished_beside_live(
        self, change: dict[str, object], expected: str, status: BuildStatus
    ) -> None:
        desired = want(**change)
        unfinished = build_of(desired, "b2", status)
        decision = decide(desired, record_of(LIVE_BUILD, unfinished, pointer=POINTER))
        assert decision.build_class == expected
        resumed = expected in {"rebuild", "derive", "reindex"}
        assert (decision.work.id if decision.work else None) == ("b2" if resumed else "b1")
        assert not decision.makes_build

    def test_kept_build_of_that_identity(self, change: dict[str, object], expected: str) -> None:
        desired = want(**change)
        kept = build_of(desired, "b0", BuildStatus.kept, age=20)
        decision = decide(desired, record_of(kept, LIVE_BUILD, pointer=POINTER))
        if expected in {"rebuild", "derive", "reindex"}:
            assert (decision.build_class, decision.work) == ("repoint", kept)
            assert decision.switch
        else:
            assert (decision.build_class, decision.work) == (expected, LIVE_BUILD)

    def test_dropped_build_is_not_switched_to(self, change: dict[str, object], expected: str) -> None:
        desired = want(**change)
        gone = build_of(desired, "b0", BuildStatus.kept, age=20).model_copy(update={"dropped": True})
        decision = decide(desired, record_of(gone, LIVE_BUILD, pointer=POINTER))
        assert decision.build_class == expected
        assert decision.work is None or decision.work.id == "b1"

    @pytest.mark.parametrize("status", [BuildStatus.rejected, BuildStatus.held])
    def test_refused_identity_stays_refused(
        self, change: dict[str, object], expected: str, status: BuildStatus
    ) -> None:
        """The live build is followed by its own spec, and readers do not move, whatever the spec says."""
        desired = want(**change)
        refused = Rejection(build=desired.fingerprints.build, reader=None, status=status, reason="r", at=NOW)
        wanted = build_of(desired, "b2", status)
        decision = decide(desired, record_of(LIVE_BUILD, wanted, pointer=POINTER, rejections=(refused,)))
        if desired.fingerprints.build == LIVE.fingerprints.build:
            assert decision.blocked is None, "the live build itself is never refused as a whole"
            return
        assert decision.blocked
        assert status.value in decision.blocked
        assert (decision.build_class, decision.work, decision.switch) == ("none", LIVE_BUILD, False)
        assert decision.follow_live

    def test_refused_identity_is_refused_after_its_tables_are_dropped(
        self, change: dict[str, object], expected: str
    ) -> None:
        desired = want(**change)
        if desired.fingerprints.build == LIVE.fingerprints.build:
            return
        refused = Rejection(
            build=desired.fingerprints.build, reader=None, status=BuildStatus.rejected, reason="r", at=NOW
        )
        decision = decide(desired, record_of(LIVE_BUILD, pointer=POINTER, rejections=(refused,)))
        assert decision.blocked
        assert decision.work == LIVE_BUILD

    def test_refused_with_nothing_live(self, change: dict[str, object], expected: str) -> None:
        desired = want(**change)
        refused = Rejection(
            build=desired.fingerprints.build, reader=None, status=BuildStatus.held, reason="r", at=NOW
        )
        held = build_of(desired, "b1", BuildStatus.held)
        decision = decide(desired, record_of(held, rejections=(refused,)))
        assert decision.blocked
        assert decision.work is None
        assert not decision.makes_build

    def test_rolled_back_reader_settings(self, change: dict[str, object], expected: str) -> None:
        """Only the pair of this build and these reader settings is refused; others may be tried."""
        desired = want(**change)
        refused = Rejection(
            build=LIVE.fingerprints.build,
            reader=want(ef_search=200).reader,
            status=BuildStatus.rejected,
            reason="r",
            at=NOW,
        )
        decision = decide(desired, record_of(LIVE_BUILD, pointer=POINTER, rejections=(refused,)))
        if change == {"ef_search": 200}:
            assert decision.blocked
            assert (decision.work, decision.switch) == (LIVE_BUILD, False)
        else:
            assert decision.blocked is None
            assert decision.build_class == expected


def test_reasons_name_what_changed() -> None:
    reasons = decide(
        want(dimension=256, quantization="float16"), record_of(LIVE_BUILD, pointer=POINTER)
    ).reasons
    assert reasons == ("embedding.dimension 384 → 256", "embedding.quantization float32 → float16")
    reasons = decide(want(index={"type": "hnsw", "m": 32}), record_of(LIVE_BUILD, pointer=POINTER)).reasons
    assert reasons == ("target.index.m 16 → 32",)
    reasons = decide(want(query_prompt="query: "), record_of(LIVE_BUILD, pointer=POINTER)).reasons
    assert reasons == ("query prompt '' → 'query: '",)


def test_newest_kept_build_is_taken() -> None:
    desired = want(dimension=256)
    older = build_of(desired, "b0", BuildStatus.kept, age=30)
    newer = build_of(desired, "b2", BuildStatus.kept, age=20)
    assert decide(desired, record_of(older, newer, LIVE_BUILD, pointer=POINTER)).work == newer
