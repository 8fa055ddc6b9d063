"""What a line becomes: id, text, metadata and their hashes, or a refusal with its reason.

Rules (docs/concepts.md). An id is a string, or an integer written in decimal: 1 to 512 bytes of
UTF-8, no NUL, no half surrogate pair. A text is never normalised, only NUL and halves of surrogate
pairs become U+FFFD, before hashing, and are counted; metadata likewise.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import orjson

from embedspec.corpus.metadata import MetadataRefused, compile_metadata, dump_canonical
from embedspec.corpus.parse import LineRefused, compile_key_check, has_surrogate, mend, parse_exactly
from embedspec.corpus.render import compile_render
from embedspec.spec.template import ABSENT, Template, look_up
from embedspec.types import MAX_ID_BYTES, FieldType, digest, row_key

_REPLACEMENT = "\ufffd"


@dataclass(frozen=True, slots=True)
class RecordRules:
    """How a line becomes a record; all of it comes from the spec and the store's limits."""

    id_field: str
    template: Template
    metadata: tuple[tuple[str, FieldType], ...] = ()
    max_text_bytes: int | None = None
    """Longest text that the store takes, in UTF-8 bytes."""


@dataclass(frozen=True, slots=True)
class Record:
    """A record read in full. An empty `text` means that the document has no row."""

    position: int
    """Ordinal of the record over all files of the source, blank lines not counted."""
    place: str
    """file:line"""
    id: str
    text: str
    metadata: str
    """Canonical JSON."""
    key: bytes
    """Row key of the document's first chunk."""
    content: bytes
    metadata_hash: bytes


class RecordRefused(Exception):
    """The line gives no row. `id` is the document's, where one could be read."""

    def __init__(self, reason: str, document_id: str | None = None, content: bytes | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.id = document_id
        self.content = content


@dataclass(slots=True)
class Tally:
    """How many documents something was found in, and the first of them."""

    count: int = 0
    first: str = ""
    _last: str = ""

    def add(self, document_id: str) -> None:
        if document_id != self._last:
            self.count += 1
            self.first = self.first or document_id
            self._last = document_id


@dataclass(slots=True)
class Findings:
    """What a reader noticed on the way."""

    unseen_fields: set[str]
    """Declared fields that no record has had so far (a null counts as had)."""
    surrogates: Tally = field(default_factory=Tally)
    nuls: Tally = field(default_factory=Tally)


Parsed: TypeAlias = tuple[bytes, bytes, bytes]
"""id, text and canonical metadata, all UTF-8."""


def compile_reader(rules: RecordRules) -> tuple[Callable[[bytes, int], Parsed], Findings]:
    """A function (line, expected keys) → Parsed that raises RecordRefused, and what it finds.

    `expected keys` comes from `screen.expected_keys`. This is the inner loop of every run, with
    hashing and decompression its whole cost, which is why it is one closure.
    """
    id_field = rules.id_field
    render = compile_render(rules.template)
    metadata_of = compile_metadata(rules.metadata)
    max_text_bytes = rules.max_text_bytes or 2**62
    findings = Findings({*rules.template.fields(), *(path for path, _ in rules.metadata)})
    unseen = findings.unseen_fields
    max_id_bytes = MAX_ID_BYTES
    loads = orjson.loads
    backslash = 0x5C
    nul = "\0"
    keys_match = compile_key_check()

    def read(line: bytes, expected_keys: int) -> Parsed:
        try:
            record = loads(line)
            exact = type(record) is dict and (
                len(record) == expected_keys or keys_match(record, expected_keys)
            )
        except (orjson.JSONDecodeError, RecursionError):
            exact = False
        if not exact:
            record = _parse_again(line, id_field, findings)
        document_id = record.get(id_field)
        if type(document_id) is not str:
            document_id = _read_id(record, id_field)
        id_bytes = document_id.encode()
        if not 0 < len(id_bytes) <= max_id_bytes or 0 in id_bytes:
            raise RecordRefused(_id_fault(document_id, id_field))
        if unseen:
            unseen.difference_update([path for path in unseen if look_up(record, path) is not ABSENT])
        try:
            text = render(record)
            metadata = metadata_of(record)
        except MetadataRefused as error:
            raise RecordRefused(str(error), document_id) from None
        except RecursionError:
            raise RecordRefused("a field is nested too deeply", document_id) from None
        if nul in text:
            text = text.replace(nul, _REPLACEMENT)
            findings.nuls.add(document_id)
        text_bytes = text.encode()
        if len(text_bytes) > max_text_bytes:
            raise RecordRefused(
                f"the text has {len(text_bytes):,} bytes, the store takes at most {max_text_bytes:,}; "
                "shorten it or leave the record out",
                document_id,
                digest(text_bytes),
            )
        if backslash in metadata and b"\\u0000" in metadata:
            metadata = _without_nul(metadata, document_id, findings)
        return id_bytes, text_bytes, metadata

    return read, findings


def _parse_again(line: bytes, id_field: str, findings: Findings) -> dict[str, Any]:
    """Parse exactly, halves of surrogate pairs replaced. Raises RecordRefused."""
    try:
        record = parse_exactly(line)
        if b"\\u" not in line:
            return record
        document_id = look_up(record, id_field)
        if isinstance(document_id, str) and has_surrogate(document_id):
            shown = json.dumps(mend(document_id), ensure_ascii=False)
            raise RecordRefused(f"the id {shown} holds one half of a surrogate pair")
        mended: dict[str, Any] = mend(record)
        if mended != record:
            findings.surrogates.add(str(document_id))
        return mended
    except LineRefused as error:
        raise RecordRefused(error.reason, _id_of_refused(error, id_field)) from None
    except RecursionError:
        raise RecordRefused("not readable: nested too deeply") from None


def _id_of_refused(error: LineRefused, id_field: str) -> str | None:
    """The id of a record that is refused for another fault, if it can be trusted."""
    if error.record is None or not error.doubled.isdisjoint(id_field.split(".")):
        return None
    try:
        document_id = _read_id(error.record, id_field)
        return None if _is_bad(document_id) else document_id
    except RecordRefused:
        return None


def _read_id(record: dict[str, Any], id_field: str) -> str:
    """The id of any place and type. Raises RecordRefused for what is neither text nor integer."""
    value = look_up(record, id_field)
    if isinstance(value, str):
        return value
    if type(value) is int:
        return str(value)
    if value is ABSENT:
        raise RecordRefused(f"no id: the record has no field {id_field!r}")
    shown = json.dumps(value, ensure_ascii=False)[:60]
    raise RecordRefused(f"no id: the field {id_field!r} is {shown}, neither text nor an integer")


def _is_bad(document_id: str) -> bool:
    if has_surrogate(document_id):
        return True
    data = document_id.encode()
    return not 0 < len(data) <= MAX_ID_BYTES or b"\0" in data


def _id_fault(document_id: str, id_field: str) -> str:
    if not document_id:
        return f"no id: the field {id_field!r} is empty"
    if "\0" in document_id:
        return "the id holds a NUL character"
    size = len(document_id.encode())
    return f"the id {document_id[:40]!r}… has {size:,} bytes, an id takes at most {MAX_ID_BYTES}"


def _without_nul(metadata: bytes, document_id: str, findings: Findings) -> bytes:
    """Canonical metadata with NUL replaced; as it was if the escape is only the text `\\u0000`."""
    found = False

    def replace(value: Any) -> Any:
        nonlocal found
        if isinstance(value, str):
            found = found or "\0" in value
            return value.replace("\0", _REPLACEMENT)
        if isinstance(value, dict):
            return {replace(key): replace(inner) for key, inner in value.items()}
        return [replace(inner) for inner in value] if isinstance(value, list) else value

    mended = replace(json.loads(metadata))
    if not found:
        return metadata
    findings.nuls.add(document_id)
    return dump_canonical(mended)


def make_record(parsed: Parsed, position: int, place: str) -> Record:
    id_bytes, text_bytes, metadata = parsed
    document_id = id_bytes.decode()
    return Record(
        position=position,
        place=place,
        id=document_id,
        text=text_bytes.decode(),
        metadata=metadata.decode(),
        key=row_key(document_id, 0),
        content=digest(text_bytes),
        metadata_hash=digest(metadata),
    )
