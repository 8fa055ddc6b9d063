"""Binary formats both ways, without a server (the conformance suite has one read what is written)."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from embedspec.types import Quantization, RowBatch, hash_array, hash_list
from embedspec_pgvector import codec

TRAILING = [b"k" * 15 + b"\0", b"\0" * 16, b"\0" + b"k" * 15]


def _rows(vectors: np.ndarray) -> RowBatch:
    n = len(vectors)
    return RowBatch(
        keys=hash_array(TRAILING[:n]),
        ids=["a", "ünï", ""][:n],
        chunks=[0, 7, 2**31 - 1][:n],
        content=hash_array(TRAILING[:n]),
        metadata_hash=hash_array(TRAILING[:n]),
        texts=["", "zwei\n", "x" * 300][:n],
        metadata=["{}", '{"ä":1}', "[]"][:n],
        vectors=vectors,
    )


def _fields(data: bytes) -> list[list[bytes]]:
    """COPY rows taken apart one field at a time, as the server does it."""
    rows, at = [], 0
    while at < len(data):
        (count,) = struct.unpack_from(">h", data, at)
        at += 2
        row = []
        for _ in range(count):
            (size,) = struct.unpack_from(">i", data, at)
            row.append(data[at + 4 : at + 4 + size])
            at += 4 + size
        rows.append(row)
    return rows


def test_docs_rows() -> None:
    rows = _rows(np.zeros((3, 2), np.float32))
    found = _fields(codec.copy_docs(rows))
    for i, (key, content, metadata_hash, chunk, id, text, metadata) in enumerate(found):
        assert key == content == metadata_hash == TRAILING[i]
        assert int.from_bytes(chunk, "big") == rows.chunks[i]
        assert (id.decode(), text.decode()) == (rows.ids[i], rows.texts[i])
        assert metadata == b"\x01" + rows.metadata[i].encode()
    assert len(found) == 3


@pytest.mark.parametrize("quantization", [Quantization.float32, Quantization.float16])
def test_vector_rows(quantization: Quantization) -> None:
    vectors = np.array([[1, -2.5, 65504], [0, 1e-3, 3]], np.float32)
    code = "f" if quantization is Quantization.float32 else "e"
    for (key, sent), wanted, name in zip(
        _fields(codec.copy_vectors(_rows(vectors), quantization)), vectors, TRAILING, strict=False
    ):
        assert key == name
        assert sent == struct.pack(f">hh3{code}", 3, 0, *wanted)
        held = wanted.astype(np.float16) if code == "e" else wanted
        np.testing.assert_array_equal(codec.read_vector(sent, quantization)[0], held.astype(np.float32))


def test_arrays_for_unnest() -> None:
    assert codec.hash_array_wire(hash_array([])) == struct.pack(">iii", 0, 0, codec.OID_BYTEA)
    head = struct.pack(">iiiii", 1, 0, codec.OID_INT4, 2, 1)
    assert codec.int_array_wire([5, -1]) == head + struct.pack(">iiii", 4, 5, 4, -1)
    nulls = struct.pack(">iiiii", 1, 1, codec.OID_TEXT, 2, 1)
    assert codec.text_array_wire(["é", None]) == nulls + struct.pack(">i", 2) + "é".encode() + b"\xff" * 4
    vector = codec.vector_array_wire(np.ones((1, 2), np.float32), Quantization.float16, 777)
    assert vector == struct.pack(">iiiii", 1, 0, 777, 1, 1) + struct.pack(">ihhee", 8, 2, 0, 1, 1)


def test_hashes_read_back_whole() -> None:
    keys = [bytes([i]) * 15 + b"\0" for i in range(20)]
    found = codec.read_hashes(b"".join(key + b"c" * 16 + key for key in keys))
    assert hash_list(found.key) == hash_list(found.metadata) == keys
    assert set(hash_list(found.content)) == {b"c" * 16}
    with pytest.raises(ValueError, match="multiple of element size"):
        codec.read_hashes(b"x" * 47)
