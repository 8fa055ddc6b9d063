"""A workspace with a tiny real model, a corpus file and a spec on the memory store."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from embedspec import sdk
from embedspec.results import Plan, ReconcileResult
from embedspec.spec.load import LoadedSpec, in_memory
from embedspec.spec.model import Spec

from .tiny_model import make_model


class Workspace:
    """One spec over files in a folder; every call plans and applies from scratch, as a process would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.base: dict[str, Any] = {
            "name": "t",
            "model": {"use": "path:./model"},
            "corpus": {"source": {"type": "jsonl", "path": "c.jsonl"}},
            "target": {"store": "memory", "url": f"memory-{uuid.uuid4().hex}", "index": {"type": "exact"}},
        }

    def write(self, records: Iterable[Mapping[str, Any]], name: str = "c.jsonl") -> None:
        lines = "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records)
        (self.folder / name).write_text(lines, encoding="utf-8")

    def spec(self, **changes: Any) -> LoadedSpec:
        """The base spec with dotted keys changed: `spec(**{"embedding.dimension": 16})`."""
        data = json.loads(json.dumps(self.base))
        for dotted, value in changes.items():
            node = data
            *parents, last = dotted.split(".")
            for key in parents:
                node = node.setdefault(key, {})
            node[last] = value
        return in_memory(Spec.model_validate(data), self.folder)

    def plan(self, **changes: Any) -> Plan:
        return sdk.plan(self.spec(**changes))

    def run(self, options: Mapping[str, Any] | None = None, **changes: Any) -> ReconcileResult:
        return sdk.reconcile(self.spec(**changes), **(options or {}))

    def hits(self, text: str, k: int = 10, **changes: Any) -> list[str]:
        return [hit.id for hit in sdk.query(self.spec(**changes), text, k=k).hits]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def workspace(tmp_path: Path, tiny_model: Path) -> Workspace:
    (tmp_path / "model").symlink_to(tiny_model, target_is_directory=True)
    made = Workspace(tmp_path)
    made.write({"id": f"d{i}", "text": text} for i, text in enumerate(TEXTS))
    return made


TEXTS = (
    "the red fox runs through the wood",
    "a blue whale sings under the sea",
    "bread rises in a warm kitchen",
    "the train to the coast leaves at noon",
    "snow covers the roofs of the village",
    "a clock ticks in the empty hall",
    "rain falls on the tin roof",
    "the gardener plants tulips in autumn",
)

MakeWorkspace = Callable[[], Workspace]
