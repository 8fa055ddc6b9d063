"""Golden labels: queries (BEIR jsonl) and relevance judgements (tsv with header, or TREC's four columns).

Ids are text: `007` and `7` are two documents. Only judged queries count. A line that cannot be taken
as it stands is an error with file and line, never skipped: a lost judgement would move every figure
without a word.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from embedspec.errors import SpecError

MAX_SCORE = 1000
"""Highest relevance grade. trec_eval makes a table with one entry per grade up to the highest."""

_HEADER = ("query-id", "corpus-id", "score")
_QRELS_FORMS = (
    "tab-separated with the header line `query-id<TAB>corpus-id<TAB>score`, "
    "or TREC's four columns `query 0 document score`"
)


@dataclass(frozen=True, slots=True)
class GoldenQuery:
    """One judged query. `extra` holds the record's other keys as they stand."""

    id: str
    text: str
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Golden:
    """Judged queries in the order of their file, and what is judged about them."""

    queries: tuple[GoldenQuery, ...]
    judgements: Mapping[str, Mapping[str, int]]
    """query id → document id → grade; above 0 is relevant. Holds exactly the ids of `queries`."""
    warnings: tuple[str, ...] = ()


def load_golden(queries: Path, qrels: Path) -> Golden:
    """Read both files (plain, or gzip if the name ends in `.gz`) and keep what is judged.

    Raises SpecError with file:line for a bad line, an id given twice or two different judgements
    of one pair, and if no judged query is left.
    """
    judged = read_judgements(qrels)
    known = [query for query in read_queries(queries) if query.id in judged]
    if not known:
        raise SpecError(
            f"none of the {len(judged)} judged queries ({name_some(judged)}) is in {queries.name}",
            where=str(qrels),
            fix="check that both files belong together; ids are compared as text, so 007 is not 7",
        )
    warnings = []
    found = {query.id for query in known}
    lost = [query_id for query_id in judged if query_id not in found]
    if lost:
        warnings.append(
            f"{len(lost)} of {len(judged)} judged queries are not in {queries.name} "
            f"and do not count ({name_some(lost)})"
        )
    judgements = {query.id: judged[query.id] for query in known}
    barren = [query_id for query_id, grades in judgements.items() if max(grades.values()) <= 0]
    if barren:
        warnings.append(
            f"{len(barren)} of {len(judgements)} judged queries have no relevant document "
            f"and score 0 whatever is found ({name_some(barren)})"
        )
    return Golden(tuple(known), judgements, tuple(warnings))


def name_some(ids: Iterable[str], limit: int = 3) -> str:
    """The first few ids for a message: `a, b, c, …`."""
    listed = list(ids)
    return ", ".join(listed[:limit]) + (", …" if len(listed) > limit else "")


def read_queries(path: Path) -> Iterator[GoldenQuery]:
    """Every query of a BEIR jsonl file. Raises SpecError with file:line."""
    first_line: dict[str, int] = {}
    for number, line in _lines(path):
        where = f"{path}:{number}"
        record = _parse_record(line, where)
        query_id = _query_id(record, where)
        text = record.pop("text", None)
        if not isinstance(text, str) or not text.strip():
            raise SpecError(f"query {query_id!r} has no `text`", where=where, fix="give it its text")
        _require_encodable(text, f"the text of query {query_id!r}", where)
        if query_id in first_line:
            raise SpecError(
                f"query id {query_id!r} is given twice, first in line {first_line[query_id]}", where=where
            )
        first_line[query_id] = number
        yield GoldenQuery(query_id, text, record)


def read_judgements(path: Path) -> dict[str, dict[str, int]]:
    """query id → document id → grade, of a qrels file in either form. Raises SpecError with file:line."""
    judged: dict[str, dict[str, int]] = {}
    split: Callable[[str, str], tuple[str, str, str]] | None = None
    for number, line in _lines(path):
        where = f"{path}:{number}"
        if split is None:
            columns = [name.strip().lower().replace("_", "-") for name in line.split("\t")]
            if set(_HEADER) <= set(columns):
                split = _by_header(columns)
                continue
            split = _split_trec
        query_id, document_id, grade = split(line, where)
        if not query_id or not document_id:
            raise SpecError("an id is empty", where=where)
        score = _parse_score(grade, where)
        if judged.setdefault(query_id, {}).setdefault(document_id, score) != score:
            raise SpecError(
                f"query {query_id!r} and document {document_id!r} are judged twice, "
                f"as {judged[query_id][document_id]} and as {score}",
                where=where,
                fix="keep one of the two lines",
            )
    if not judged:
        raise SpecError("holds no judgement", where=str(path), fix=f"write it {_QRELS_FORMS}")
    return judged


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """(line number from 1, text) of every line that is not blank; a byte order mark is dropped.

    Lines end at `\\n` only: a text may hold U+2028 or a form feed.
    """
    number = 0
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                if number == 1:
                    raw = raw.removeprefix(b"\xef\xbb\xbf")
                try:
                    line = raw.decode()
                except UnicodeDecodeError as error:
                    raise SpecError(
                        f"not UTF-8 (byte {error.start} of the line)",
                        where=f"{path}:{number}",
                        fix="save the file as UTF-8",
                    ) from None
                if line.strip():
                    yield number, line.rstrip("\r\n")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise SpecError(f"damaged gzip file: {error}", where=f"{path}:{number + 1}") from None
    except OSError as error:
        raise SpecError(
            f"cannot be read: {error.strerror or error}",
            where=str(path),
            fix="check `evaluation.golden` in the spec; relative paths start at the spec's folder",
        ) from None


def _parse_record(line: str, where: str) -> dict[str, Any]:
    """One JSON object; NaN, Infinity and keys given twice are refused (parsers differ on them)."""

    def refuse_constant(name: str) -> NoReturn:
        raise ValueError(f"{name} is not JSON")

    def refuse_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        record = dict(pairs)
        if len(record) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise ValueError(f"key {twice!r} is given twice")
        return record

    try:
        record = json.loads(line, parse_constant=refuse_constant, object_pairs_hook=refuse_doubles)
    except (ValueError, RecursionError) as error:
        raise SpecError(f"not a JSON record: {error}", where=where) from None
    if not isinstance(record, dict):
        raise SpecError("not a JSON object", where=where, fix='write {"_id": "q1", "text": "…"}')
    return record


def _query_id(record: dict[str, Any], where: str) -> str:
    """Take `_id` out of the record: text, or an integer, which is written in decimal."""
    value = record.pop("_id", None)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value:
        raise SpecError(
            "no `_id`" if value is None else f"`_id` is {value!r}, not text",
            where=where,
            fix='write {"_id": "q1", "text": "…"}',
        )
    _require_encodable(value, "`_id`", where)
    return value


def _require_encodable(text: str, what: str, where: str) -> None:
    """Half of a surrogate pair (JSON can spell it) is no text; NUL would end an id early in trec_eval."""
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise SpecError(f"{what} holds NUL or half of a surrogate pair", where=where)


def _by_header(columns: list[str]) -> Callable[[str, str], tuple[str, str, str]]:
    positions = [columns.index(name) for name in _HEADER]

    def split(line: str, where: str) -> tuple[str, str, str]:
        cells = line.split("\t")
        if len(cells) != len(columns):
            raise SpecError(
                f"{len(cells)} tab-separated columns where the header has {len(columns)}", where=where
            )
        query_id, document_id, score = (cells[position] for position in positions)
        return query_id, document_id, score

    return split


def _split_trec(line: str, where: str) -> tuple[str, str, str]:
    cells = line.split("\t") if line.count("\t") == 3 else line.split()
    if len(cells) != 4:
        raise SpecError(f"{len(cells)} columns", where=where, fix=f"write the file {_QRELS_FORMS}")
    return cells[0], cells[2], cells[3]


def _parse_score(cell: str, where: str) -> int:
    """A whole number up to MAX_SCORE; `1.0` is one."""
    try:
        value = float(cell)
    except ValueError:
        value = float("nan")
    if not (value.is_integer() and abs(value) <= MAX_SCORE):
        raise SpecError(
            f"score {cell.strip()!r} is not a whole number from {-MAX_SCORE} to {MAX_SCORE}", where=where
        )
    return int(value)
