"""Adapters are found by entry point; what is missing is said in one line."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from embedspec.errors import SpecError
from embedspec.stores import adapters, memory


def test_installed_adapters_are_found() -> None:
    assert "memory" in adapters.installed()
    assert "pgvector" in adapters.installed()
    assert adapters.adapter("memory") is memory.adapter


def test_an_unknown_store_names_those_installed() -> None:
    with pytest.raises(SpecError) as refused:
        adapters.adapter("pgvectr")
    message = str(refused.value)
    assert "'pgvectr'" in message
    assert "did you mean 'pgvector'" in message
    assert "pgvector" in str(refused.value.fix)
    assert "memory" not in message, "it ends with the process, which nobody expects of a store"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("no_such_driver_package:adapter", r"no_such_driver_package is missing[\s\S]*pip install"),
        ("embedspec.stores.memory:no_such_thing", "does not exist"),
    ],
)
def test_an_adapter_that_cannot_be_loaded(value: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint(name="other", value=value, group=adapters.GROUP)
    monkeypatch.setattr(adapters, "entry_points", lambda group: [point])
    assert adapters.installed() == ["other"]
    with pytest.raises(SpecError, match=message):
        adapters.adapter("other")
