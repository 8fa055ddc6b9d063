"""The corpus, the model's answers or the store's patience change while a run is at work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from embedspec import sdk
from embedspec.errors import PlanRefused, RowRefused
from embedspec.reconciler.run import RunOptions, reconcile
from embedspec.reconciler.session import Session
from embedspec.results import ReconcileResult
from embedspec.stores.protocol import Store
from embedspec.types import Event, RowBatch

from .conftest import TEXTS, Workspace

N = len(TEXTS)
OTHER = {"corpus.text": "about {text}"}


def records(texts: list[str] | tuple[str, ...] = TEXTS, **more: str) -> list[dict[str, str]]:
    return [{"id": f"d{i}", "text": t, **more} for i, t in enumerate(texts)]


def run_with(
    workspace: Workspace, stage: str, act: Callable[[], None], times: int = 1, **changes: Any
) -> ReconcileResult:
    """A run in which `act` happens at the first `times` events of a stage."""
    left = [times]

    def listen(event: Event) -> None:
        if event.stage == stage and left[0]:
            left[0] -= 1
            act()

    return sdk.reconcile(workspace.spec(**changes), on_event=listen)


def live_texts(workspace: Workspace, **changes: Any) -> dict[str, str]:
    return {h.id: h.text for h in sdk.query(workspace.spec(**changes), "x", k=50).hits}


def test_a_corpus_emptied_during_a_rebuild_never_empties_the_index(workspace: Workspace) -> None:
    before = workspace.run().live
    with pytest.raises(PlanRefused):
        run_with(workspace, "embed", lambda: workspace.write([]), **OTHER)
    assert sdk.status(workspace.spec()).live == before
    assert len(live_texts(workspace)) == N
    workspace.write(records())
    assert workspace.run(**OTHER).exit_code == 0


def test_a_corpus_emptied_during_the_first_run_is_not_switched_to(workspace: Workspace) -> None:
    with pytest.raises(PlanRefused, match="lost 8 of 8 rows"):
        run_with(workspace, "embed", lambda: workspace.write([]))
    assert sdk.status(workspace.spec()).live is None


def test_what_moves_during_a_rebuild_is_in_the_new_build(workspace: Workspace) -> None:
    workspace.run()
    changed = [*TEXTS[:-1], "the last text is new", "one more"]
    result = run_with(workspace, "embed", lambda: workspace.write(records(changed)), **OTHER)
    assert result.exit_code == 0
    assert sorted(live_texts(workspace, **OTHER).values()) == sorted(f"about {t}" for t in changed)
    assert workspace.run(**OTHER).class_ == "none"


def test_a_corpus_that_never_rests_is_switched_to_all_the_same(workspace: Workspace) -> None:
    workspace.run()
    grown = list(TEXTS)

    def grow() -> None:
        grown.append(f"text number {len(grown)}")
        workspace.write(records(grown))

    result = run_with(workspace, "write", grow, times=99, **OTHER)
    assert (result.exit_code, result.live) == (0, result.build)
    assert workspace.run(**OTHER).documents.added >= 1


def test_a_source_that_breaks_during_a_rebuild_is_reported(workspace: Workspace) -> None:
    before = workspace.run().live
    path = workspace.folder / "c.jsonl"
    result = run_with(workspace, "embed", lambda: path.write_text(path.read_text() + "{broken"), **OTHER)
    assert (result.exit_code, result.live, result.complete) == (9, before, False)
    assert result.blocked is not None
    assert "incomplete" in result.blocked


def test_a_text_that_moves_under_a_patch_keeps_its_own_metadata(workspace: Workspace) -> None:
    fields: dict[str, Any] = {"corpus.metadata": ["tag"]}
    workspace.write(records(tag="old"))
    workspace.run(**fields)
    workspace.write(records(tag="new"))
    moved = records(("another text entirely", *TEXTS[1:]), tag="newest")
    # The last event before the patches are read is that of the plan's own reading.
    session = Session(workspace.spec(**fields))
    result = reconcile(
        session,
        RunOptions(),
        approve=lambda _: workspace.write(moved) or True,  # type: ignore[func-returns-value]
        on_event=lambda _: None,
    )
    assert result.moved >= 1
    found = {h.id: (h.text, h.metadata["tag"]) for h in sdk.query(workspace.spec(**fields), "x", k=50).hits}
    assert found["d0"] == (TEXTS[0], "old")
    workspace.run(**fields)
    found = {h.id: (h.text, h.metadata["tag"]) for h in sdk.query(workspace.spec(**fields), "x", k=50).hits}
    assert found["d0"] == ("another text entirely", "newest")


def test_the_budget_counts_all_passes(workspace: Workspace) -> None:
    tokens = workspace.plan().tokens
    more = [*TEXTS, *(f"{t} once more" for t in TEXTS)]

    def write_more() -> None:
        workspace.write(records(more))

    left = [1]

    def listen(event: Event) -> None:
        if event.stage == "embed" and left[0]:
            left[0] = 0
            write_more()

    result = sdk.reconcile(workspace.spec(), budget_tokens=tokens + 1, on_event=listen)
    assert (result.exit_code, result.live) == (7, None)
    assert result.tokens_embedded <= tokens + 1


class Refusing:
    """A store that refuses rows whose text holds a word, as a server's limit would."""

    def __init__(self, inner: Store, word: str, named: bool) -> None:
        self._inner, self._word, self._named = inner, word, named

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def upsert(self, lease: Any, build: Any, rows: RowBatch, *, fresh: bool) -> None:
        bad = {i: "too rude" for i, text in enumerate(rows.texts) if self._word in text}
        if bad:
            raise RowRefused("too rude", rows=bad if self._named else None)
        self._inner.upsert(lease, build, rows, fresh=fresh)


class RefusingSession(Session):
    named = False

    @contextmanager
    def open_store(self, *, write: bool) -> Iterator[Store]:
        with super().open_store(write=write) as store:
            yield Refusing(store, "rude", self.named)  # type: ignore[misc]  # passes every call through


def refusing_run(workspace: Workspace, *, named: bool = False, **changes: Any) -> ReconcileResult:
    session = RefusingSession(workspace.spec(**changes))
    session.named = named
    return reconcile(session, RunOptions(), on_event=lambda _: None)


@pytest.mark.parametrize("named", [False, True], ids=["halving", "the store names the row"])
def test_a_refused_row_is_a_dead_letter_and_the_others_are_written(workspace: Workspace, named: bool) -> None:
    workspace.write(records((*TEXTS[:3], "a rude word", *TEXTS[3:])))
    result = refusing_run(workspace, named=named)
    assert (result.exit_code, result.failed, result.written) == (9, 1, N)
    assert result.dead_letters is not None
    again = refusing_run(workspace, named=named)
    assert (again.exit_code, again.failed, again.written, again.class_) == (9, 1, 0, "none")
    workspace.write(records((*TEXTS[:3], "a kind word", *TEXTS[3:])))
    mended = refusing_run(workspace, named=named)
    assert (mended.exit_code, mended.failed, mended.written) == (0, 0, 1)


@pytest.mark.parametrize(
    "change",
    [{"target.index": {"type": "hnsw"}}, {"embedding.dimension": 16}, OTHER],
    ids=["reindex", "derive", "rebuild"],
)
def test_a_refused_document_keeps_its_last_good_row_in_a_new_build(
    workspace: Workspace, change: dict[str, Any]
) -> None:
    workspace.run()
    workspace.write(records(("something rude", *TEXTS[1:])))
    assert refusing_run(workspace).exit_code == 9
    assert live_texts(workspace)["d0"] == TEXTS[0]
    result = refusing_run(workspace, **change)
    assert (result.exit_code, result.live) == (9, result.build)
    assert live_texts(workspace, **change)["d0"] == TEXTS[0]
    assert len(live_texts(workspace, **change)) == N
    assert refusing_run(workspace, **change).written == 0


def test_a_letter_of_another_build_is_settled_when_the_live_one_holds_the_text(workspace: Workspace) -> None:
    workspace.write(records(("something rude", *TEXTS[1:])))
    first = workspace.run()
    assert first.exit_code == 0
    refused = refusing_run(workspace, **OTHER)
    assert refused.exit_code == 9
    sdk.rollback(workspace.spec(**OTHER))
    back = workspace.run()
    assert (back.exit_code, back.failed, back.live) == (0, 0, first.live)


def test_a_rejected_spec_with_another_source_leaves_the_live_build_its_own(workspace: Workspace) -> None:
    old = workspace.run().live
    workspace.write([{"id": f"k{i}", "text": f"other {t}"} for i, t in enumerate(TEXTS)], "other.jsonl")
    change = {"corpus.source.path": "other.jsonl", **OTHER}
    assert workspace.run({"allow_mass_delete": True}, **change).live != old
    sdk.rollback(workspace.spec(**change))
    result = workspace.run({"allow_mass_delete": True}, **change)
    assert (result.exit_code, result.live, result.written, result.deleted) == (3, old, 0, 0)
    assert set(live_texts(workspace)) == {f"d{i}" for i in range(N)}


def test_promote_after_gc_lifts_the_rejection(workspace: Workspace) -> None:
    workspace.run()
    newer = workspace.run(**OTHER).live
    sdk.rollback(workspace.spec(**OTHER))
    gone = sdk.gc(workspace.spec(keep_builds=1, **OTHER), grace_s=0)
    assert gone.dropped == [newer]
    assert workspace.run(**OTHER).exit_code == 3
    lifted = sdk.promote(workspace.spec(**OTHER))
    assert "rejection is lifted" in lifted.reason
    result = workspace.run(**OTHER)
    assert (result.exit_code, result.class_, result.embedded) == (0, "rebuild", 0)


def test_promote_says_what_the_build_does_not_hold_yet(workspace: Workspace) -> None:
    workspace.run()
    workspace.run(**OTHER)
    sdk.rollback(workspace.spec(**OTHER))
    notices = sdk.promote(workspace.spec(**OTHER)).notices
    assert any("reconcile" in n for n in notices)


def test_the_last_run_is_written_with_the_switch(workspace: Workspace) -> None:
    """Killed right after the switch, nothing of the record is missing."""
    workspace.run()

    class Killed(BaseException):
        pass

    def kill() -> None:
        raise Killed

    with pytest.raises(Killed):
        run_with(workspace, "gc", kill, **OTHER)
    status = sdk.status(workspace.spec(**OTHER))
    assert status.last_run is not None
    assert status.last_run["class"] == "rebuild"
    assert workspace.run(**OTHER).class_ == "none"
