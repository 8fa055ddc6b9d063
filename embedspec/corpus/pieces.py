"""The bytes of one file in pieces of bounded size, decompressed on the way, read ahead by a thread."""

from __future__ import annotations

import queue
import stat
import threading
import zlib
from collections.abc import Callable, Generator, Iterator
from typing import TypeVar

from embedspec.corpus.parts import Part

PIECE_BYTES = 4 * 2**20
"""Decompressed bytes handed on at once: large, so that the reading thread needs the interpreter's
lock rarely; small beside the memory of a run."""
_COMPRESSED_BYTES = 2**20
_GZIP = b"\x1f\x8b"
_ZSTANDARD = b"\x28\xb5\x2f\xfd"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_UTF8_MARK = b"\xef\xbb\xbf"

T = TypeVar("T")


class PartUnreadable(Exception):
    """A file of the source could not be read to its end; the text is the reason."""


def read_pieces(part: Part) -> Iterator[bytes]:
    """The decompressed content, a byte order mark removed. Raises PartUnreadable, after the pieces
    that could be read. Plain and gzip (by content; a name ending in .gz must be gzip)."""
    if part.fault is not None:
        raise PartUnreadable(part.fault)
    try:
        # Opening a pipe would wait for whoever writes into it.
        if not stat.S_ISREG(part.path.stat().st_mode):
            raise PartUnreadable("is no regular file, so it cannot be read twice")
        with part.path.open("rb", buffering=0) as file:
            head = file.read(4) or b""
            file.seek(0)
            if head.startswith(_ZSTANDARD):
                raise PartUnreadable("is compressed with zstd; compress it with gzip or not at all")
            if head.startswith(_GZIP):
                yield from _without_mark(_gunzip(file.read))
            elif part.name.endswith(".gz"):
                raise PartUnreadable("ends early: no gzip data" if not head else "is not gzip data")
            else:
                yield from _without_mark(iter(lambda: file.read(PIECE_BYTES), b""))
    except OSError as error:
        raise PartUnreadable(f"cannot be read: {error.strerror or error}") from error


def _without_mark(pieces: Iterator[bytes]) -> Iterator[bytes]:
    first = next(pieces, b"")
    if first.startswith(_UTF16):
        raise PartUnreadable("is UTF-16; JSON lines must be UTF-8")
    yield first.removeprefix(_UTF8_MARK)
    yield from pieces


def _gunzip(read: Callable[[int], bytes | None]) -> Iterator[bytes]:
    """Members of a gzip file one after the other, checksums verified, zero padding allowed.

    Not gzip.GzipFile: it decompresses 8 KB at a time, each time giving up and taking back the
    interpreter's lock, which makes a thread of it useless.
    """
    waiting = read(_COMPRESSED_BYTES) or b""
    while waiting:
        member = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        while not member.eof:
            if not waiting:
                waiting = read(_COMPRESSED_BYTES) or b""
                if not waiting:
                    raise PartUnreadable("ends early: the gzip data is cut off")
            try:
                piece = member.decompress(waiting, PIECE_BYTES)
            except zlib.error as error:
                raise PartUnreadable(f"has damaged gzip data: {error}") from error
            waiting = member.unconsumed_tail
            if piece:
                yield piece
        waiting = member.unused_data or read(_COMPRESSED_BYTES) or b""
        while waiting and not (waiting := waiting.lstrip(b"\0")):
            waiting = read(_COMPRESSED_BYTES) or b""


def read_ahead(items: Iterator[T], depth: int) -> Generator[T]:
    """The same items, made by a thread that runs up to `depth` ahead; its error is raised here.
    Closing the generator ends the thread."""
    waiting: queue.Queue[tuple[T | None, BaseException | None, bool]] = queue.Queue(depth)
    stop = threading.Event()

    def offer(entry: tuple[T | None, BaseException | None, bool]) -> bool:
        while not stop.is_set():
            try:
                waiting.put(entry, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def work() -> None:
        try:
            for item in items:
                if not offer((item, None, False)):
                    return
        except BaseException as error:
            offer((None, error, True))
        else:
            offer((None, None, True))

    thread = threading.Thread(target=work, name="embedspec-read", daemon=True)
    thread.start()
    try:
        while True:
            item, error, last = waiting.get()
            if error is not None:
                raise error
            if last:
                return
            yield item  # type: ignore[misc]  # only the last entry has no item
    finally:
        stop.set()
        thread.join()
