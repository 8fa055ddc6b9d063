"""JSON lines, plain or gzip: a source as blocks of whole lines, in order, in bounded memory."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from embedspec.corpus.parts import Part, find_parts
from embedspec.corpus.pieces import PartUnreadable, read_ahead, read_pieces
from embedspec.corpus.screen import expected_keys

MAX_LINE_BYTES = 64 * 2**20
"""A longer line is a dead letter instead of memory."""
_BLOCK_BYTES = 2**20
_PIECES_AHEAD = 2
_SPACE = 0x20


@dataclass(frozen=True, slots=True)
class Block:
    """Whole lines of one file; lines that are blank are no records and are not counted."""

    part: str
    position: int
    """Ordinal of the first record over all files."""
    line: int
    """Number of the first line in its file, from 1."""
    data: bytes
    starts: npt.NDArray[np.intp]
    ends: npt.NDArray[np.intp]
    """Offsets of every line's first byte and of its newline, blank lines included."""
    kept: npt.NDArray[np.intp] | None
    """Indices of the lines that are not blank; None if no line is blank."""

    def __len__(self) -> int:
        return len(self.starts) if self.kept is None else len(self.kept)

    def lines(self) -> list[bytes]:
        lines = self.data.split(b"\n")
        if self.kept is not None:
            return [lines[i] for i in self.kept]
        return lines[: len(self.starts)]

    def expected_keys(self) -> list[int]:
        """For each record, see `screen.expected_keys`."""
        counts = expected_keys(self.data, self.ends)
        kept: list[int] = (counts if self.kept is None else counts[self.kept]).tolist()
        return kept

    def line_at(self, index: int) -> bytes:
        at = index if self.kept is None else int(self.kept[index])
        return self.data[self.starts[at] : self.ends[at]]

    def place(self, index: int) -> str:
        at = index if self.kept is None else int(self.kept[index])
        return f"{self.part}:{self.line + at}"


@dataclass(frozen=True, slots=True)
class LongLine:
    """A line over the bound; it takes one position."""

    part: str
    position: int
    line: int
    line_hash: str


@dataclass(frozen=True, slots=True)
class PartFault:
    """A file that could not be read to its end; `line` is the last one that was."""

    part: str
    line: int
    reason: str


Chunk: TypeAlias = Block | LongLine | PartFault


def hash_line(line: bytes) -> str:
    """Hex hash that stands for a line whose record has no id."""
    return hashlib.blake2b(line, digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class JsonlSource:
    """Files of JSON lines: `patterns` relative to the folder `base`, read in the order of their names."""

    base: Path
    patterns: tuple[str, ...]

    def chunks(self) -> Generator[Chunk]:
        """Everything, in order. Raises SourceError if a pattern matches no file; every later fault
        is a chunk. Files are read and decompressed by a thread that runs a few pieces ahead."""
        parts = find_parts(self.base, self.patterns)
        pieces = read_ahead(_pieces_of(parts), _PIECES_AHEAD)
        try:
            position = 0
            splitter = _Splitter("", 0)
            for part, piece in pieces:
                if isinstance(piece, bytes):
                    yield from splitter.feed(piece)
                    continue
                if piece is None:
                    yield from splitter.finish()
                elif isinstance(piece, PartUnreadable):
                    yield PartFault(part, splitter.line - 1, str(piece))
                position = splitter.position
                if piece is _BEGIN:
                    splitter = _Splitter(part, position)
        finally:
            pieces.close()


class _Begin:
    """Marks the start of a file in the stream of pieces."""


_BEGIN = _Begin()


def _pieces_of(parts: Sequence[Part]) -> Iterator[tuple[str, bytes | PartUnreadable | _Begin | None]]:
    """(part, piece): first _BEGIN, then bytes, at last None or the reason why the end was not reached."""
    for part in parts:
        yield part.name, _BEGIN
        try:
            for piece in read_pieces(part):
                yield part.name, piece
        except PartUnreadable as error:
            yield part.name, error
        else:
            yield part.name, None


class _Splitter:
    """Cuts the pieces of one file into blocks of whole lines."""

    def __init__(self, part: str, position: int) -> None:
        self.part = part
        self.position = position
        self.line = 1
        self._open: list[bytes] = []
        self._open_bytes = 0
        self._long: hashlib.blake2b | None = None

    def feed(self, piece: bytes) -> Iterator[Block | LongLine]:
        first = piece.find(b"\n") + 1
        if not first:
            self._extend(piece)
            return
        self._extend(piece[:first])
        yield from self._close_line()
        last = piece.rfind(b"\n") + 1
        while first < last:
            end = piece.rfind(b"\n", first, first + _BLOCK_BYTES) + 1
            if not end:
                end = piece.find(b"\n", first) + 1
            yield self._block(piece[first:end])
            first = end
        self._extend(piece[last:])

    def finish(self) -> Iterator[Block | LongLine]:
        """The last line, if the file does not end with a newline."""
        if self._open_bytes:
            yield from self._close_line()

    def _extend(self, data: bytes) -> None:
        self._open_bytes += len(data)
        self._open.append(data)
        if self._open_bytes > MAX_LINE_BYTES:
            self._long = self._long or hashlib.blake2b(digest_size=16)
            for piece in self._open:
                self._long.update(piece.removesuffix(b"\n"))
            self._open.clear()

    def _close_line(self) -> Iterator[Block | LongLine]:
        if self._long is not None:
            yield LongLine(self.part, self.position, self.line, self._long.hexdigest())
            self.position += 1
            self.line += 1
        else:
            yield self._block(b"".join(self._open))
        self._open.clear()
        self._open_bytes = 0
        self._long = None

    def _block(self, data: bytes) -> Block:
        array = np.frombuffer(data, dtype=np.uint8)
        ends = np.flatnonzero(array == 0x0A)
        if not data.endswith(b"\n"):
            ends = np.append(ends, len(data))
        starts = np.empty_like(ends)
        starts[0] = 0
        starts[1:] = ends[:-1] + 1
        kept = None
        doubtful = np.flatnonzero(array[starts] <= _SPACE)
        blank = [i for i in doubtful.tolist() if not data[starts[i] : ends[i]].strip()]
        if blank:
            kept = np.delete(np.arange(len(starts)), blank)
        block = Block(self.part, self.position, self.line, data, starts, ends, kept)
        self.position += len(block)
        self.line += len(starts)
        return block
