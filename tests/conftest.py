"""What all tests share: the data beside the repository, what is required, which stores were covered."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from embedspec.testing import StoreSuite

ROOT = Path(__file__).resolve().parents[1]

settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "here")


@pytest.fixture(scope="session")
def skip_or_fail() -> Callable[[str, str], None]:
    """Ends a test whose means are missing: skipped with the reason, failed if EMBEDSPEC_REQUIRE (a
    comma list) names what is missing."""

    def end(name: str, reason: str) -> None:
        required = {part.strip() for part in os.environ.get("EMBEDSPEC_REQUIRE", "").split(",")}
        if name in required or (name == "shared" and os.environ.get("CI") == "true"):
            pytest.fail(f"{name} is required here: {reason}", pytrace=False)
        pytest.skip(reason)

    return end


@pytest.fixture(scope="session")
def shared(skip_or_fail: Callable[[str, str], None]) -> Path:
    """The folder of data sets beside the repository."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        skip_or_fail("shared", f"no data sets in {folder}")
    return folder


class StoreCoverage:
    """Counts the conformance tests by store, for the line at the end of the run."""

    def __init__(self) -> None:
        self.store_of: dict[str, str] = {}
        self.outcomes: dict[str, Counter[str]] = defaultdict(Counter)
        self.reasons: dict[str, set[str]] = defaultdict(set)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            kind = getattr(item, "cls", None)
            if isinstance(kind, type) and issubclass(kind, StoreSuite):
                self.store_of[item.nodeid] = kind.__name__.removeprefix("Test").lower()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        store = self.store_of.get(report.nodeid)
        if store is None or (report.when != "call" and report.outcome == "passed"):
            return
        before = report.when == "setup"
        self.outcomes[store]["not run" if before else report.outcome] += 1
        if before and report.skipped and isinstance(report.longrepr, tuple):
            self.reasons[store].add(report.longrepr[2].removeprefix("Skipped: ").replace("\n", " "))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self.outcomes:
            return
        terminalreporter.section("stores")
        for store, counts in sorted(self.outcomes.items()):
            covered = counts["passed"] + counts["failed"] > counts["not run"]
            told = ", ".join(f"{number} {outcome}" for outcome, number in sorted(counts.items()))
            why = "".join(f"; {reason}" for reason in sorted(self.reasons[store]))
            terminalreporter.line(f"{store}: {'covered' if covered else 'NOT COVERED'} ({told}){why}")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(StoreCoverage(), "store-coverage")
