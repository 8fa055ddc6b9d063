"""The conformance suite is tested itself: every store that breaks a promise must fail it."""

from __future__ import annotations

import importlib
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from embedspec.stores.memory import MemoryAdapter, open_target
from embedspec.stores.memory_store import MemoryStore
from embedspec.testing import EmptyTarget, StoreSuite

from .breaking import BROKEN, BROKEN_ADAPTERS

for module in ("broken_registry", "broken_rows", "broken_searches"):
    importlib.import_module(f"{__package__}.{module}")

SLIPS = ("TypeError", "AttributeError", "NameError", "IndexError", "KeyError")
"""A broken store must break its promise, not itself."""

CASE = """
from embedspec.testing import StoreSuite

class TestBroken(StoreSuite):
    pass
"""


class Fixtures:
    """A pytest plugin that gives the suite a store of this kind and notes what came of each test."""

    def __init__(self, store: type[MemoryStore], kind: type[MemoryAdapter]) -> None:
        self.store = store
        self.kind = kind
        self.failed: list[str] = []
        self.broken: list[str] = []
        self.passed: list[str] = []

    def _open(self, url: str, write: bool) -> MemoryStore:
        if self.kind is not MemoryAdapter:
            from embedspec.stores.protocol import OpenContext

            model = self.kind().target_model.model_validate({"store": "memory", "url": url})
            return self.kind().open(model, OpenContext(Path(), Path(), write=write))
        return self.store(open_target(url), write=write)

    @pytest.fixture
    def adapter(self) -> Any:
        return self.kind()

    @pytest.fixture
    def target(self, tmp_path: Path) -> Mapping[str, Any]:
        return {"store": "memory", "url": str(tmp_path)}

    @pytest.fixture
    def open_store(self, target: Mapping[str, Any]) -> Any:
        return lambda *, write=True: self._open(target["url"], write)

    @pytest.fixture
    def empty(self, tmp_path: Path) -> EmptyTarget:
        url = f"{tmp_path}/empty"
        held = open_target(url)
        return EmptyTarget(
            lambda *, write=True: self._open(url, write),
            lambda: (sorted(held.indexes), sorted(held.generations)),
        )

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = report.nodeid.rpartition("::")[2].partition("[")[0]
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            if crash is not None and crash.message.startswith(SLIPS):
                self.broken.append(f"{name}: {crash.message}")
            (self.failed if report.when == "call" else self.broken).append(name)
        elif report.when == "call":
            self.passed.append(name)


def run_suite(
    folder: Path,
    store: type[MemoryStore] = MemoryStore,
    kind: type[MemoryAdapter] = MemoryAdapter,
    *,
    only: str,
    case: str = CASE,
) -> Fixtures:
    """Run one test of the suite in a pytest of its own, without this run's settings and plugins."""
    (folder / "pytest.ini").write_text("[pytest]\n")
    module = f"case_{uuid.uuid4().hex}.py"  # a name of its own: modules are cached by name
    (folder / module).write_text(case)
    plugin = Fixtures(store, kind)
    plugins_off = [f"-pno:{name}" for name in ("cacheprovider", "faulthandler", "timeout", "terminal")]
    where = f"{folder}/{module}::TestBroken::{only}"
    pytest.main(
        [
            where,
            "-c",
            f"{folder}/pytest.ini",
            "--import-mode=importlib",
            f"--basetemp={folder}/t",
            *plugins_off,
        ],
        plugins=[plugin],
    )
    assert not plugin.broken, f"{plugin.broken} failed outside the test itself"
    assert plugin.failed or plugin.passed, f"{only} did not run"
    return plugin


@pytest.mark.parametrize(("store", "test"), BROKEN, ids=lambda x: getattr(x, "__name__", None))
def test_a_broken_store_fails(store: type[MemoryStore], test: str, tmp_path: Path) -> None:
    assert run_suite(tmp_path, store, only=test).failed, f"{test} does not notice {store.__name__}"


@pytest.mark.parametrize(("kind", "test"), BROKEN_ADAPTERS, ids=lambda x: getattr(x, "__name__", None))
def test_a_broken_adapter_fails(kind: type[MemoryAdapter], test: str, tmp_path: Path) -> None:
    assert run_suite(tmp_path, kind=kind, only=test).failed, f"{test} does not notice {kind.__name__}"


def test_the_way_of_running_lets_a_good_store_pass(tmp_path: Path) -> None:
    ran = run_suite(tmp_path, only="test_delete_counts_what_was_there")
    assert ran.passed == ["test_delete_counts_what_was_there"]
    assert not ran.failed


GUARD = "test_the_suite_is_not_overridden"


def test_overriding_a_test_fails(tmp_path: Path) -> None:
    case = CASE + "\n    def test_finish_twice(self): pass\n"
    assert run_suite(tmp_path, only=GUARD, case=case).failed


@pytest.mark.parametrize("departures", [{"test_no_such_test": "why"}, {"test_finish_twice": " "}])
def test_departures_need_a_test_and_a_reason(departures: dict[str, str], tmp_path: Path) -> None:
    case = CASE + f"\n    departures = {departures!r}\n"
    assert run_suite(tmp_path, only=GUARD, case=case).failed


def test_a_departure_must_fail(tmp_path: Path) -> None:
    """A declared departure is expected to fail; where the test passes, that is the failure."""
    name = "test_delete_counts_what_was_there"
    case = CASE + f"\n    departures = {{'{name}': 'deletes are counted by the server only'}}\n"
    store = next(kind for kind, test in BROKEN if test == name)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert not run_suite(tmp_path / "a", store, only=name, case=case).failed
    assert run_suite(tmp_path / "b", only=name, case=case).failed, "a departure that passes must be noticed"


def test_every_test_of_the_suite_has_a_broken_store() -> None:
    """A new promise comes with a store that breaks it."""
    elsewhere = {GUARD, "test_capabilities_are_whole"}  # the second compares declarations only
    proven = {test for _, test in BROKEN + BROKEN_ADAPTERS} | elsewhere
    every = {name for name in dir(StoreSuite) if name.startswith("test_")}
    assert proven == every
