"""Dead letters of reading: how each is keyed, placed and explained."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from embedspec.corpus.jsonl import MAX_LINE_BYTES, LongLine, PartFault, hash_line
from embedspec.corpus.records import RecordRefused
from embedspec.types import DeadLetter


def letter_of_record(refused: RecordRefused, part: str, place: str, line: bytes) -> DeadLetter:
    return DeadLetter(
        key=refused.id if refused.id is not None else f"{part}:{hash_line(line)}",
        reason=refused.reason,
        place=place,
        id=refused.id,
        content=refused.content.hex() if refused.content else None,
    )


def letter_of_long_line(line: LongLine) -> DeadLetter:
    return DeadLetter(
        key=f"{line.part}:{line.line_hash}",
        reason=f"the line has more than {MAX_LINE_BYTES:,} bytes",
        place=f"{line.part}:{line.line}",
    )


def letter_of_fault(fault: PartFault) -> DeadLetter:
    return DeadLetter(key=fault.part, reason=fault.reason, place=f"{fault.part}:{fault.line}")


def letter_of_duplicate(document_id: str, part: str, place: str, line: bytes, winner: str) -> DeadLetter:
    """Keyed by its line: the id belongs to the record that won."""
    return DeadLetter(
        key=f"{part}:{hash_line(line)}",
        reason=f"the id {document_id!r} is given twice; the first record, at {winner}, is used",
        place=place,
        id=document_id,
    )


def distinct_keys(letters: Iterable[DeadLetter]) -> tuple[DeadLetter, ...]:
    """The letters with a counter added to keys that came before (equal lines, ids refused twice)."""
    seen: dict[str, int] = {}
    result = []
    for letter in letters:
        count = seen[letter.key] = seen.get(letter.key, 0) + 1
        result.append(letter if count == 1 else replace(letter, key=f"{letter.key}#{count}"))
    return tuple(result)
