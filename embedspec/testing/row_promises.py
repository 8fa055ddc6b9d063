"""Conformance tests of rows: upsert, patch, delete, scan, rows, vectors, count, finish."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from embedspec.errors import EmbedspecError
from embedspec.testing.bench import Bench, Item, batch, keys, make_items, scan_hashes, unit_vectors
from embedspec.types import Quantization, digest, hash_array, hash_list

SCAN_ROWS = 5000
"""More than one page in any store that pages."""

ODD_TEXTS = [
    "D'Arcy",
    'say "hi"',
    "back\\slash \\n \\N \\. \\x41",
    "\\.",
    "tab\tand\nnew line\r\nand return\r",
    "ünïcödé Ελληνικά 日本語 \U0001f600 e\u0301 \u202eright to left",
    "x'; DROP TABLE embedspec; --",
    "%s %(a)s {} $1 ?",
    "null",
    "{1,2}",
    "\ufffd\ufeff\u2028\x01\x7f",
    " white space at both ends ",
    "é" * 256,
]
"""Ids and texts that break careless quoting; the last is 512 bytes long."""

METADATA_VALUES: list[Any] = [
    "text",
    "",
    "1e3",
    'D\'Arcy \\ "x" \n ünïcödé \U0001f600',
    1,
    0,
    -7,
    9007199254740993,
    1.5,
    1.0,
    -0.25,
    0.1,
    True,
    False,
    ["a", "b"],
    [1, 2.5, True, "x"],
    [],
    {"deep": {"er": [1, "y"]}},
]

HASH_ENDS = [b"", b"\0", b"\0\0\0", b"\0" * 15, b"\0" * 16, b"\\", b"\n", b"'", b"\xff", b" ", b"\t"]
"""Ends of hashes that a store may cut off or mistake for text."""


def same_json(left: Any, right: Any) -> bool:
    """Equal, types included: 1, 1.0 and true are three things."""
    return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)


class RowPromises:
    @pytest.mark.parametrize("fresh", [True, False])
    def test_upsert_keeps_every_column(self, bench: Bench, fresh: bool) -> None:
        items = [
            dataclasses.replace(item, chunk=i * 130, metadata={"lang": "de", "n": i})
            for i, item in enumerate(make_items(20))
        ]
        with bench.open_store() as store, bench.open_store(write=False) as reader:
            build = bench.build()
            lease = bench.start(store, build)
            for _ in range(2):
                store.upsert(lease, build, batch(build, items), fresh=fresh)
                check_rows(bench, reader, build, items)

    @pytest.mark.parametrize("fresh", [True, False])
    def test_upsert_replaces_rows_with_the_same_key(self, bench: Bench, fresh: bool) -> None:
        """Also when the caller was wrong to say that the keys are fresh."""
        old, new = make_items(10), make_items(12, seed=1)
        changed = [dataclasses.replace(item, text="new " + item.text) for item in new[5:]]
        with bench.open_store() as store:
            lease, build = bench.fill(store, old)
            store.upsert(lease, build, batch(build, changed), fresh=fresh)
            check_rows(bench, store, build, old[:5] + changed)
            found = bench.ids(store, build, changed[0].vector, 1)
            assert found == ["d5"], (
                "search does not find the new vector of a replaced row; if this fails, check that upsert "
                "replaces the vector beside the text"
            )

    def test_the_same_vector_of_several_rows(self, bench: Bench) -> None:
        """Equal texts of different documents have one content hash and one vector."""
        vector = unit_vectors(1, 8)[0]
        items = [Item(f"d{i}", vector, text="same", content=digest(b"same")) for i in range(3)]
        with bench.open_store() as store:
            _, build = bench.fill(store, items)
            found = list(store.vectors(build, hash_array([digest(b"same"), digest(b"same"), b"n" * 16])))
            assert [key for key, _ in found] == [digest(b"same")], (
                "vectors() must give each content hash once, and skip hashes that no row has"
            )
            np.testing.assert_array_equal(found[0][1], vector.reshape(1, -1))

    @pytest.mark.parametrize("quantization", list(Quantization))
    def test_vectors_come_back_exactly(self, bench: Bench, quantization: Quantization) -> None:
        rng = np.random.default_rng(3)
        values = (rng.standard_normal((40, 33)) * 10.0 ** rng.integers(-4, 3, (40, 33))).astype(np.float32)
        values[0, :4] = [0.0, 1.0, -1.0, 65504.0]
        items = [Item(f"d{i}", values[i], text=f"t{i}") for i in range(len(values))]
        with bench.open_store() as store:
            _, build = bench.fill(store, items, dimension=33, quantization=quantization)
            found = dict(store.vectors(build, hash_array([item.content_hash for item in items])))
            held = np.float16 if quantization is Quantization.float16 else np.float32
            for item in items:
                vector = found[item.content_hash]
                assert vector.dtype == np.float32, "vectors() gives float32, whatever the build holds"
                assert vector.shape == (1, 33)
                np.testing.assert_array_equal(
                    vector[0],
                    item.vector.astype(held).astype(np.float32),
                    err_msg="a stored vector changed; if this fails, check the codec",
                )

    def test_scan_is_complete_over_several_pages(self, bench: Bench) -> None:
        items = make_items(SCAN_ROWS, dimension=2)
        with bench.open_store() as store, bench.open_store(write=False) as reader:
            _, build = bench.fill(store, items, dimension=2)
            found = scan_hashes(reader, build)
            assert len(found) == SCAN_ROWS, (
                f"scan gave {len(found)} of {SCAN_ROWS} rows; if this fails, check the ends of pages"
            )
            for item in items:
                assert found[item.key] == (item.content_hash, digest(item.metadata_text.encode()))
            assert reader.count(build) == SCAN_ROWS

    def test_scan_reads_one_snapshot(self, bench: Bench) -> None:
        items = make_items(SCAN_ROWS, dimension=2)
        with bench.open_store() as store, bench.open_store(write=False) as reader:
            lease, build = bench.fill(store, items, dimension=2)
            pages = reader.scan(build)
            found = hash_list(next(pages).key)
            store.delete(lease, build, keys(items))
            found += [key for page in pages for key in hash_list(page.key)]
            assert sorted(found) == sorted(item.key for item in items), (
                "rows deleted during a scan are missing from it; if this fails, check that all pages are "
                "read in one transaction with one snapshot"
            )

    def test_hashes_are_exact(self, bench: Bench) -> None:
        """16 raw bytes each, whatever they are: trailing NULs, quotes, line ends."""
        vectors = unit_vectors(len(HASH_ENDS), 8)
        hashes = [(bytes(range(1, 17)) + end)[-16:] for end in HASH_ENDS]
        items = [
            Item(f"d{i}", vectors[i], chunk=i * 256, text=f"t{i}", content=content)
            for i, content in enumerate(hashes)
        ]
        with bench.open_store() as store:
            build = bench.build()
            lease = bench.start(store, build)
            columns = batch(build, items)
            rows = dataclasses.replace(columns, metadata_hash=hash_array(hashes[::-1]))
            store.upsert(lease, build, rows, fresh=True)
            wanted = {item.key: (hashes[i], hashes[::-1][i]) for i, item in enumerate(items)}
            check = "if this fails, check that hashes travel as 16 raw bytes and no trailing NUL is cut"
            assert scan_hashes(store, build) == wanted, f"scan changed a hash; {check}"
            found = {row.key: (row.content, row.metadata_hash) for row in store.rows(build, keys(items))}
            assert found == wanted, f"rows() changed a hash; {check}"
            assert {key for key, _ in store.vectors(build, hash_array(hashes))} == set(hashes), (
                f"vectors() does not find a content hash; {check}"
            )
            assert store.patch(lease, build, keys(items), hash_array(hashes), ["{}"] * len(items)) == len(
                items
            )
            assert {pair[1] for pair in scan_hashes(store, build).values()} == set(hashes), (
                f"patch changed a hash; {check}"
            )
            assert store.delete(lease, build, keys(items)) == len(items), f"delete missed a key; {check}"

    def test_rows_skips_keys_that_are_not_there(self, bench: Bench) -> None:
        items = make_items(5)
        with bench.open_store() as store:
            _, build = bench.fill(store, items[:3])
            assert {row.id for row in store.rows(build, keys(items[1:]))} == {"d1", "d2"}
            assert list(store.rows(build, hash_array([]))) == []
            assert list(store.vectors(build, hash_array([]))) == []

    def test_patch_changes_metadata_alone(self, bench: Bench) -> None:
        items = make_items(6)
        with bench.open_store() as store:
            lease, build = bench.fill(store, items)
            before = bench.contents(store, build)
            patched = [dataclasses.replace(item, metadata={"lang": "fr", "new": [1]}) for item in items[:4]]
            absent = make_items(8)[7]
            for _ in range(2):
                count = bench.patch(store, lease, build, [*patched, absent])
                assert count == 4, "patch must return how many rows it changed; absent keys are not counted"
                after = bench.contents(store, build)
                assert after.keys() == before.keys(), "patch must neither add nor remove rows"
                for item in patched:
                    row, metadata, vector = after[item.key]
                    assert metadata == {"lang": "fr", "new": [1]}
                    assert row.metadata_hash == digest(item.metadata_text.encode())
                    assert (row.text, row.content, vector) == (
                        before[item.key][0].text,
                        before[item.key][0].content,
                        before[item.key][2],
                    ), "patch must leave text, content hash and vector alone"
                for item in items[4:]:
                    assert after[item.key] == before[item.key], "patch changed a row that was not named"

    def test_delete_counts_what_was_there(self, bench: Bench) -> None:
        items = make_items(6)
        with bench.open_store() as store:
            lease, build = bench.fill(store, items[:5])
            assert store.delete(lease, build, keys(items[3:])) == 2, (
                "delete must return how many of the keys were there"
            )
            assert store.delete(lease, build, keys(items[3:])) == 0
            check_rows(bench, store, build, items[:3])
            assert sorted(bench.ids(store, build, items[4].vector, 6)) == ["d0", "d1", "d2"], (
                "a deleted row is still found; if this fails, check that its vector goes with it"
            )

    def test_empty_calls(self, bench: Bench) -> None:
        with bench.open_store() as store:
            lease, build = bench.fill(store, make_items(2))
            none = batch(build, [])
            store.upsert(lease, build, none, fresh=True)
            store.upsert(lease, build, none, fresh=False)
            assert store.patch(lease, build, none.keys, none.metadata_hash, []) == 0
            assert store.delete(lease, build, none.keys) == 0
            store.replace_dead_letters(lease, bench.name, [])
            store.save(lease, bench.observed(store).state)
            assert store.count(build) == 2

    def test_a_batch_is_one_transaction(self, bench: Bench) -> None:
        """A row that the store must refuse (its vector holds a NaN) takes its whole batch with it."""
        with bench.open_store() as store:
            lease, build = bench.fill(store, make_items(2))
            before = bench.contents(store, build)
            wrong = batch(build, make_items(4, seed=1))
            wrong.vectors[3, 0] = np.nan
            for fresh in (True, False):
                with pytest.raises(EmbedspecError):
                    store.upsert(lease, build, wrong, fresh=fresh)
                assert bench.contents(store, build) == before, "a refused batch left rows behind"
            store.upsert(lease, build, batch(build, make_items(3)), fresh=False)
            assert store.count(build) == 3, "a refused batch left the connection unusable"

    @pytest.mark.parametrize("fresh", [True, False])
    def test_odd_ids_and_texts(self, bench: Bench, fresh: bool) -> None:
        vectors = unit_vectors(len(ODD_TEXTS), 8)
        items = [
            Item(text, vectors[i], text=text + "\n" + "long " * 2000 * (i % 2))
            for i, text in enumerate(ODD_TEXTS)
        ]
        with bench.open_store() as store:
            build = bench.build()
            lease = bench.start(store, build)
            store.upsert(lease, build, batch(build, items), fresh=fresh)
            check_rows(bench, store, build, items)
            for item in items:
                (hits,) = store.search(build, item.vector.reshape(1, -1), 1, search={}, exact=True)
                assert (hits[0].id, hits[0].text) == (item.id, item.text), (
                    "search changed an id or text; if this fails, check quoting and the text codec"
                )

    @pytest.mark.parametrize("fresh", [True, False])
    def test_metadata_keeps_its_json_types(self, bench: Bench, fresh: bool) -> None:
        vectors = unit_vectors(len(METADATA_VALUES), 8)
        items = [
            Item(f"d{i}", vectors[i], text=f"t{i}", metadata={"value": value, "a.b 'c' \\ \"d\"": i})
            for i, value in enumerate(METADATA_VALUES)
        ]
        with bench.open_store() as store:
            build = bench.build()
            lease = bench.start(store, build)
            store.upsert(lease, build, batch(build, items), fresh=fresh)
            for patched in (False, True):
                if patched:
                    bench.patch(store, lease, build, items)
                contents = bench.contents(store, build)
                for item in items:
                    (hits,) = store.search(build, item.vector.reshape(1, -1), 1, search={}, exact=True)
                    for found in (contents[item.key][1], hits[0].metadata):
                        assert same_json(found, item.metadata), (
                            f"metadata {item.metadata!r} came back as {found!r}; if this fails, check that "
                            "it is kept as JSON and that numbers, booleans and lists keep their types"
                        )

    @pytest.mark.parametrize("index", ["exact", "other"])
    def test_finish_twice(self, bench: Bench, index: str) -> None:
        kinds = bench.adapter.capabilities.index_types
        kind = index if index in kinds else next((k for k in sorted(kinds) if k != "exact"), None)
        if kind is None:
            pytest.skip("this store has no such index type")
        items = make_items(50)
        with bench.open_store() as store:
            build = bench.build(index=kind)
            lease = bench.start(store, build)
            store.upsert(lease, build, batch(build, items), fresh=True)
            store.finish(lease, build)
            assert not store.finish(lease, build).index_built, (
                "finish built the index again; if this fails, check that a valid index is left alone"
            )
            check_rows(bench, store, build, items)
            store.upsert(lease, build, batch(build, make_items(60)), fresh=False)
            store.finish(lease, build)
            assert store.count(build) == 60, "rows must still be writable after finish"


def check_rows(bench: Bench, store: Any, build: Any, items: list[Item]) -> None:
    """The build holds exactly these items, in every column."""
    found = bench.contents(store, build)
    assert found.keys() == {item.key for item in items}, (
        "the build does not hold exactly the rows written; if this fails, check keys and the write path"
    )
    assert store.count(build) == len(items)
    held = np.float16 if build.quantization is Quantization.float16 else np.float32
    for item in items:
        row, metadata, vector = found[item.key]
        assert (row.id, row.chunk, row.text) == (item.id, item.chunk, item.text), (
            "a row's id, chunk or text changed; if this fails, check the text codec (quotes, backslashes, "
            "line ends, unicode)"
        )
        assert row.content == item.content_hash
        assert row.metadata_hash == digest(item.metadata_text.encode())
        assert same_json(metadata, item.metadata), "a row's metadata changed"
        assert vector == item.vector.astype(held).astype(np.float32).tobytes(), "a row's vector changed"
