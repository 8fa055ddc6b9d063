"""A segment: a pair of append-only files with one writer, their form, reading and writing them.

    NAME.keys      header 32, then content hashes of 16 bytes
    NAME.vectors   as many records: content hash 16 | vector 4·dimension (float32) | checksum 8

Header: magic 8 | version u32 | dimension u32 | BLAKE2b-16 of the encoder's fingerprint. Checksum:
BLAKE2b-8 of the record, keyed by the encoder. All little-endian. The hashes stand apart because the
index needs nothing else: 16 MB instead of 1.5 GB for a million vectors of 384. Only the checksum is
trusted: whatever damage the files have, the worst is a vector that is not found.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from embedspec.types import HASH_DTYPE, HashArray, Matrix

KEYS_SUFFIX = ".keys"
_VECTORS_SUFFIX = ".vectors"
_MAGIC = b"embvec\r\n"
_VERSION = 1
_HASH_BYTES = 16
_CHECK_BYTES = 8
_GAP_RECORDS = 8
"""Unwanted records that are read along rather than starting another read."""
_READ_RECORDS = 1024

Records = npt.NDArray[np.int64]
"""Numbers of records in a segment, from 0."""


class SegmentForm:
    """Sizes, header and checksum of the segments of one encoder."""

    def __init__(self, encoder: str, dimension: int) -> None:
        self.dimension = dimension
        self._check_key = hashlib.blake2b(encoder.encode(), digest_size=16).digest()
        self.header = _MAGIC + struct.pack("<II", _VERSION, dimension) + self._check_key
        self.checked_bytes = _HASH_BYTES + 4 * dimension
        self.record_bytes = self.checked_bytes + _CHECK_BYTES
        self.record = np.dtype(
            [
                ("hash", np.uint8, (_HASH_BYTES,)),
                ("vector", "<f4", (dimension,)),
                ("check", np.uint8, (_CHECK_BYTES,)),
            ]
        )

    def pack(self, hashes: HashArray, matrix: Matrix) -> bytes:
        """Records of these hashes (n,) and vectors (n, dimension)."""
        data = bytearray(len(hashes) * self.record_bytes)
        records = np.frombuffer(data, dtype=self.record)
        records["hash"] = _raw(hashes)
        records["vector"] = matrix
        records["check"] = self.checksums(data, np.arange(len(hashes)))
        return bytes(data)

    def checksums(self, data: bytes | bytearray, records: Records) -> npt.NDArray[np.uint8]:
        """(n, 8) what the checksums of these records in `data` must be."""
        size, checked, key, blake2b = self.record_bytes, self.checked_bytes, self._check_key, hashlib.blake2b
        with memoryview(data) as view:
            checks = [
                blake2b(view[at : at + checked], digest_size=_CHECK_BYTES, key=key).digest()
                for at in (records * size).tolist()
            ]
        return np.frombuffer(b"".join(checks), dtype=np.uint8).reshape(-1, _CHECK_BYTES)


class Segment:
    """A segment as it is read, and, by the process that made it, written."""

    def __init__(self, keys: Path, form: SegmentForm) -> None:
        self.keys = keys
        self.known = 0
        """Records that are in the index."""
        self.ignored = False
        """The header is not the expected one: nothing of the segment is used."""
        self._vectors = keys.with_suffix(_VECTORS_SUFFIX)
        self._form = form
        self._own: tuple[int, int] | None = None
        """The writer's descriptors of keys and vectors. It reads on through them when someone has
        deleted the files."""

    @classmethod
    def create(cls, folder: Path, form: SegmentForm) -> Segment:
        """A new segment that this process alone writes. Raises OSError."""
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{time.time_ns():016x}-{os.getpid()}-{secrets.token_hex(4)}"
        segment = cls(folder / (name + KEYS_SUFFIX), form)
        vectors = _create(segment._vectors)
        try:
            segment._own = (_create(segment.keys), vectors)
        except OSError:
            os.close(vectors)
            raise
        return segment

    def append(self, hashes: HashArray, matrix: Matrix) -> None:
        """Write records, then their hashes, each with one call: who sees a hash finds its vector, and
        a kill right after the return loses nothing. Raises OSError, after which the segment must not
        be written any more."""
        assert self._own is not None
        keys, vectors = self._own
        _write(vectors, self._form.pack(hashes, matrix))
        _write(keys, (b"" if self.known else self._form.header) + _raw(hashes).tobytes())
        self.known += len(hashes)

    @property
    def deleted(self) -> bool:
        """Whether someone deleted a file under its writer."""
        return self._own is not None and any(os.fstat(file).st_nlink == 0 for file in self._own)

    def size(self) -> int:
        """Bytes of both files, 0 if they are gone."""
        try:
            return self.keys.stat().st_size + self._vectors.stat().st_size
        except OSError:
            return 0

    def close(self) -> None:
        for file in self._own or ():
            os.close(file)
        self._own = None

    def new_hashes(self) -> HashArray:
        """Content hashes of the records after `known`, which moves on. Raises OSError."""
        header = len(self._form.header)
        with _reading(self.keys, self._own and self._own[0]) as file:
            if self.known == 0:
                head = os.pread(file, header, 0)
                # The header comes with the first hashes, so a short one is damage, or no record yet.
                self.ignored = len(head) == header and head != self._form.header
                if head != self._form.header:
                    return np.empty(0, dtype=HASH_DTYPE)
            start = header + self.known * _HASH_BYTES
            data = bytearray(max(0, os.fstat(file).st_size - start))
            read = os.preadv(file, [data], start) if data else 0
        hashes = np.frombuffer(data, dtype=HASH_DTYPE, count=read // _HASH_BYTES)
        self.known += len(hashes)
        return hashes

    def read(self, records: Records, hashes: HashArray, out: Matrix, rows: Records) -> Records:
        """Copy the vectors of `records` (sorted) to `out[rows]`, each if it is intact and that of the
        hash beside it. Returns the indices of those that were copied. Raises OSError."""
        wanted = _raw(hashes)
        form = self._form
        copied = [np.empty(0, dtype=np.int64)]
        with _reading(self._vectors, self._own and self._own[1]) as file:
            for first, end in _runs(records):
                start = int(records[first])
                count = int(records[end - 1]) + 1 - start
                data = os.pread(file, count * form.record_bytes, start * form.record_bytes)
                table = np.frombuffer(data, dtype=form.record, count=len(data) // form.record_bytes)
                at = records[first:end] - start
                at = at[at < len(table)]
                among = np.arange(first, first + len(at))
                good = (table["hash"][at] == wanted[among]).all(axis=1)
                good &= (table["check"][at] == form.checksums(data, at)).all(axis=1)
                out[rows[among[good]]] = table["vector"][at[good]]
                copied.append(among[good])
        return np.concatenate(copied)


def _create(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)


def _write(file: int, data: bytes) -> None:
    if os.write(file, data) < len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextmanager
def _reading(path: Path, own: int | None) -> Iterator[int]:
    """A descriptor to read from. Files of others are opened for each use: there may be more segments
    than a process may have open files."""
    if own is not None:
        yield own
        return
    file = os.open(path, os.O_RDONLY)
    try:
        yield file
    finally:
        os.close(file)


def _raw(hashes: HashArray) -> npt.NDArray[np.uint8]:
    """(n, 16) the bytes of hashes; elements of an S16 array lose trailing NULs, these do not."""
    return np.ascontiguousarray(hashes).view(np.uint8).reshape(-1, _HASH_BYTES)


def _runs(records: Records) -> Iterator[tuple[int, int]]:
    """Index ranges of records that one read serves: near each other and not too many together."""
    cuts = np.flatnonzero(np.diff(records) > _GAP_RECORDS) + 1
    for first, end in pairwise([0, *cuts.tolist(), len(records)]):
        for start in range(first, end, _READ_RECORDS):
            yield start, min(end, start + _READ_RECORDS)
