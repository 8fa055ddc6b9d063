"""The array diff against a plain one on dictionaries."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from embedspec.reconciler.diff import absent_protected, compare, contents_of, count_documents
from embedspec.types import RowHashes, digest, document_prefixes, hash_array, hash_list, row_key

# Few ids and values, so that every case meets every other; values that end in NUL bytes included.
IDS = st.sampled_from([f"d{i}" for i in range(8)])
VALUES = st.sampled_from([b"\x00" * 16, b"a" * 15 + b"\x00", digest(b"x"), digest(b"y")])
ROWS = st.dictionaries(st.tuples(IDS, st.integers(0, 1)), st.tuples(VALUES, VALUES), max_size=12)
Rows = dict[tuple[str, int], tuple[bytes, bytes]]


def hashes(rows: Rows) -> RowHashes:
    if not rows:
        return RowHashes.empty()
    return RowHashes(
        hash_array([row_key(i, c) for i, c in rows]),
        hash_array([content for content, _ in rows.values()]),
        hash_array([metadata for _, metadata in rows.values()]),
    )


@given(ROWS, ROWS, st.sets(IDS), st.booleans())
def test_compare_agrees_with_dictionaries(corpus: Rows, build: Rows, dead: set[str], deletes: bool) -> None:
    protected = {i for i in dead if all(i != d for d, _ in corpus)}
    prefixes = document_prefixes(hashes({(i, 0): (b"\x00" * 16, b"\x00" * 16) for i in protected}).key)
    diff = compare(hashes(corpus), hashes(build), prefixes, deletes=deletes)
    keys = list(corpus)
    found = {
        "insert": {keys[i] for i in diff.insert},
        "replace": {keys[i] for i in diff.replace},
        "patch": {keys[i] for i in diff.patch},
        "same": {keys[i] for i in diff.same},
    }
    wanted: dict[str, set[tuple[str, int]]] = {
        "insert": set(),
        "replace": set(),
        "patch": set(),
        "same": set(),
    }
    for key, (content, metadata) in corpus.items():
        if key not in build:
            wanted["insert"].add(key)
        elif build[key][0] != content:
            wanted["replace"].add(key)
        elif build[key][1] != metadata:
            wanted["patch"].add(key)
        else:
            wanted["same"].add(key)
    assert found == wanted
    gone = {k for k in build if k not in corpus and k[0] not in protected} if deletes else set()
    assert set(hash_list(diff.delete)) == {row_key(*k) for k in gone}


@given(ROWS, ROWS)
def test_each_document_counts_once(corpus: Rows, live: Rows) -> None:
    none = document_prefixes(RowHashes.empty().key)
    diff = compare(hashes(corpus), hashes(live), none, deletes=True)
    counted = count_documents(hashes(corpus), hashes(live), diff)
    now, before = {i for i, _ in corpus}, {i for i, _ in live}
    assert counted.added == len(now - before)
    assert counted.deleted == len(before - now)
    assert counted.added + counted.changed + counted.metadata_changed + counted.unchanged == len(now)
    same_text = {
        i
        for i in now & before
        if {k: v[0] for k, v in corpus.items() if k[0] == i}
        == {k: v[0] for k, v in live.items() if k[0] == i}
    }
    assert counted.changed == len((now & before) - same_text)
    same = {
        i
        for i in same_text
        if {k: v for k, v in corpus.items() if k[0] == i} == {k: v for k, v in live.items() if k[0] == i}
    }
    assert counted.unchanged == len(same)


def test_protected_documents_are_taken_over_once() -> None:
    value = digest(b"v")
    live = hashes(
        {("a", 0): (value, value), ("b", 0): (digest(b"text of b"), value), ("c", 0): (value, value)}
    )
    build = hashes({("a", 0): (value, value)})
    protected = document_prefixes(hash_array([row_key("a", 0), row_key("b", 0)]))
    keys = absent_protected(build, live, protected)
    assert hash_list(keys) == [row_key("b", 0)]
    assert hash_list(contents_of(live, keys)) == [digest(b"text of b")]


def test_keys_that_share_the_number_they_are_sorted_by() -> None:
    odd, mask = 0x9E3779B97F4A7C15, 2**64 - 1
    second = [7, 2**40 + 1]
    first = [99, 99 ^ (second[0] * odd & mask) ^ (second[1] * odd & mask)]
    keys = hash_array(
        [a.to_bytes(8, "little") + b.to_bytes(8, "little") for a, b in zip(first, second, strict=True)]
    )
    values = hash_array([digest(b"x"), digest(b"y")])
    for order in ([0, 1], [1, 0]):
        build = RowHashes(keys[order], values[order], values[order])
        diff = compare(RowHashes(keys, values, values), build, document_prefixes(keys[:0]), deletes=True)
        assert sorted(diff.same.tolist()) == [0, 1]


def test_a_million_rows_need_no_python_loop() -> None:
    """Not a timing: with a loop over rows this would take minutes and hit the test's timeout."""
    n = 1_000_000
    raw = np.random.default_rng(7).integers(0, 256, (n, 16), dtype=np.uint8)
    keys = np.ascontiguousarray(raw).view("S16").reshape(-1)
    before = RowHashes(keys, keys, keys)
    after = RowHashes(keys[1000:], keys[1000:], np.roll(keys[1000:], 1))
    diff = compare(after, before, document_prefixes(keys[:0]), deletes=True)
    assert (len(diff.insert), len(diff.delete), len(diff.patch)) == (0, 1000, n - 1000)
