"""Any write may be the last one, before or after it took effect: the next run converges.

The run that is killed, and the runs after it, are the real ones on the memory store; the end is
compared with that of a run nobody disturbed, and no text is paid for twice.
"""

from __future__ import annotations

import json
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embedspec.errors import StoreError
from embedspec.reconciler.reader import Index
from embedspec.reconciler.run import RunOptions, reconcile
from embedspec.reconciler.session import Session
from embedspec.results import ReconcileResult
from embedspec.stores.memory import open_target
from embedspec.stores.protocol import Store
from embedspec.testing import Crash, Fault, FaultyStore
from embedspec.types import RowHashes

from .conftest import TEXTS, Workspace

WORDS = [*TEXTS, "one more text", "and another one"]


class FaultySession(Session):
    """A session whose store fails by plan."""

    faults: dict[int, Fault]
    calls = 0

    @contextmanager
    def open_store(self, *, write: bool) -> Iterator[Store]:
        with super().open_store(write=write) as store:
            faulty = FaultyStore(store, self.faults)
            try:
                yield faulty  # type: ignore[misc]  # passes every protocol call through
            finally:
                self.calls += faulty.calls


def attempt(
    workspace: Workspace, faults: dict[int, Fault], changes: dict[str, Any]
) -> ReconcileResult | None:
    """One run as a process of its own; None if it was killed or failed."""
    session = FaultySession(workspace.spec(**changes))
    session.faults = faults
    try:
        return reconcile(session, RunOptions(allow_mass_delete=True), on_event=lambda _: None)
    except (Crash, StoreError):
        return None
    finally:
        # The dead run's lease would be taken over at once by another process, or after its time.
        target = open_target(workspace.base["target"]["url"])
        ahead = target.clock() - datetime.now(UTC) + timedelta(seconds=61)
        target.clock = lambda: datetime.now(UTC) + ahead


def contents(workspace: Workspace, changes: dict[str, Any]) -> list[tuple[str, str, str, list[float]]]:
    """What readers can get: every row of the live build with its text, metadata and vector."""
    session = Session(workspace.spec(**changes))
    with session.open_store(write=False) as store:
        record = store.observe("t")
        assert record is not None
        build = record.live
        assert build is not None
        keys = RowHashes.concat(list(store.scan(build)))
        vectors = {h: [round(float(x), 3) for x in v[0]] for h, v in store.vectors(build, keys.content)}
        return sorted((r.id, r.text, r.metadata, vectors[r.content]) for r in store.rows(build, keys.key))


def records(words: list[int], tag: str) -> list[dict[str, str]]:
    return [{"id": f"d{i}", "text": WORDS[w], "tag": tag if i % 2 else "same"} for i, w in enumerate(words)]


CORPORA = st.lists(st.integers(0, len(WORDS) - 1), min_size=1, max_size=8)
FAULTS = st.dictionaries(
    st.integers(1, 12),
    st.builds(Fault, kind=st.sampled_from(["transient", "permanent", "crash"]), after=st.booleans()),
    max_size=3,
)
CHANGES = st.sampled_from(
    [
        {},
        {"embedding.dimension": 16},
        {"embedding.quantization": "float16"},
        {"target.index": {"type": "hnsw"}},
        {"corpus.text": "on {text}"},
        {"model.prompts": {"query": "find "}},
    ]
)


@pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisDeprecationWarning")
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=CORPORA, second=CORPORA, change=CHANGES, faults=st.lists(FAULTS, min_size=1, max_size=3))
def test_killed_anywhere_the_next_run_converges(
    tiny_model: Path,
    first: list[int],
    second: list[int],
    change: dict[str, Any],
    faults: list[dict[int, Fault]],
) -> None:
    fields = {"corpus.metadata": ["tag"]}
    with tempfile.TemporaryDirectory() as folder:
        disturbed = _workspace(Path(folder) / "a", tiny_model)
        calm = _workspace(Path(folder) / "b", tiny_model)
        for words, tag, changes in ((first, "old", fields), (second, "new", {**fields, **change})):
            disturbed.write(records(words, tag))
            calm.write(records(words, tag))
            embedded = 0
            for plan in faults:
                result = attempt(disturbed, plan, changes)
                embedded += result.embedded if result else 0
                _readers_are_served(disturbed, changes)
            last = attempt(disturbed, {}, changes)
            assert last is not None
            assert last.exit_code == 0
            expected = attempt(calm, {}, changes)
            assert expected is not None
            assert embedded + last.embedded <= expected.embedded, "a text was paid for twice"
            assert contents(disturbed, changes) == contents(calm, changes)
            again = attempt(disturbed, {}, changes)
            assert again is not None
            assert (again.class_, again.written, again.patched, again.deleted) == ("none", 0, 0, 0)


def _workspace(folder: Path, model: Path) -> Workspace:
    folder.mkdir()
    (folder / "model").symlink_to(model, target_is_directory=True)
    made = Workspace(folder)
    made.base["target"]["url"] = f"crash-{uuid.uuid4().hex}"
    return made


def _readers_are_served(workspace: Workspace, changes: dict[str, Any]) -> None:
    """If anything is live, a search answers from one finished build, also between kill and cure."""
    session = Session(workspace.spec(**changes))
    with session.open_store(write=False) as store:
        record = store.observe("t")
        if record is None or record.live is None:
            return
        index = Index(store, "t", base=workspace.folder, home=session.home)
        result = index.search(WORDS[0], k=20)
        assert result.build == record.live.id
        assert len(result.hits) == store.count(record.live) > 0
        json.dumps(result.dump(), allow_nan=False)
