"""Real texts in any number: the docstrings that the demo indexes, or a file of your own.

EMBEDSPEC_BENCH_CORPUS names a file of JSON lines (plain or gzip) with `id` (or `_id`), `title` and
`text`; its first records are taken instead.
"""

from __future__ import annotations

import gzip
import importlib.util
import itertools
import json
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

Record = dict[str, str]

VARIABLE = "EMBEDSPEC_BENCH_CORPUS"
_MAKER = Path(__file__).parent.parent / "examples" / "demo" / "make_corpus.py"
_SHORTEST_METHOD = 40
"""Characters. The demo takes methods from 180 on; here more texts are wanted."""


def source() -> str:
    """Where the texts come from, for the report."""
    chosen = os.environ.get(VARIABLE)
    return Path(chosen).name if chosen else "docstrings of Python's standard library"


def records(count: int) -> list[Record]:
    """`count` records with distinct texts. Beyond the docstrings there are, the same ones come again
    with their lines in another order."""
    found = list(itertools.islice(_distinct(), count))
    if len(found) < count:
        raise SystemExit(f"{source()} has only {len(found):,} distinct texts, {count:,} are needed")
    return found


def _distinct() -> Iterator[Record]:
    seen: set[tuple[str, str]] = set()
    for record in _every():
        text = record["title"], record["text"]
        if text not in seen and record["text"].strip():
            seen.add(text)
            yield record


def _every() -> Iterator[Record]:
    chosen = os.environ.get(VARIABLE)
    if chosen:
        yield from _file(Path(chosen))
        return
    docstrings = _docstrings()
    yield from docstrings
    for turn in range(1, 100):
        for record in docstrings:
            lines = record["text"].splitlines()
            at = turn % len(lines)
            text = "\n".join([*lines[at:], *lines[:at]])
            yield {
                **record,
                "id": f"{record['id']}#{turn}",
                "title": f"{record['title']} {turn}",
                "text": text,
            }


def _file(path: Path) -> Iterator[Record]:
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        for line in file:
            record = json.loads(line)
            yield {
                "id": str(record.get("id", record.get("_id"))),
                "title": record.get("title") or "",
                "module": str((record.get("metadata") or {}).get("section", "")),
                "kind": "",
                "text": record["text"],
            }


def _docstrings() -> list[Record]:
    spec = importlib.util.spec_from_file_location("make_corpus", _MAKER)
    assert spec is not None
    assert spec.loader is not None  # a file that is in the repository
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    maker.SHORTEST_METHOD = _SHORTEST_METHOD
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(maker.records())


def write(records: list[Record], path: Path) -> None:
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records), encoding="utf-8")
