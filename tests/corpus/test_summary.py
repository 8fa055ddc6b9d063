"""Summaries of real files: what counts, what is refused and why, what proves that nothing is missing."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedspec.corpus.jsonl import MAX_LINE_BYTES, JsonlSource
from embedspec.corpus.records import Record, RecordRules
from embedspec.corpus.reread import read_selected
from embedspec.corpus.summary import CorpusSummary, summarize
from embedspec.errors import SourceError
from embedspec.spec.template import parse_template
from embedspec.types import DeadLetter, FieldType, digest, document_prefixes, hash_list, row_key

Fields = Sequence[tuple[str, FieldType]]
KEYWORD = FieldType.keyword


def rules(
    text: str = "{text}", metadata: Fields = (), id_field: str = "id", max_text_bytes: int | None = None
) -> RecordRules:
    return RecordRules(id_field, parse_template(text), tuple(metadata), max_text_bytes)


def lines(*records: Any) -> bytes:
    return b"".join(
        record + b"\n" if isinstance(record, bytes) else json.dumps(record).encode() + b"\n"
        for record in records
    )


def source(folder: Path, *patterns: str) -> JsonlSource:
    return JsonlSource(folder, patterns or ("c.jsonl",))


def read(folder: Path, content: bytes, like: RecordRules | None = None) -> CorpusSummary:
    (folder / "c.jsonl").write_bytes(content)
    return summarize(source(folder), like or rules())


def records(
    folder: Path, summary: CorpusSummary, like: RecordRules | None = None
) -> list[Record | DeadLetter]:
    return list(read_selected(source(folder), like or rules(), summary.positions))


def texts(folder: Path, summary: CorpusSummary, like: RecordRules | None = None) -> dict[str, str]:
    return {r.id: r.text for r in records(folder, summary, like) if isinstance(r, Record)}


def test_rows_hold_the_hashes_that_types_define(tmp_path: Path) -> None:
    like = rules("{title}: {text}", [("meta.year", FieldType.integer), ("tags", KEYWORD)])
    content = lines(
        {"id": "a", "title": "Ä", "text": "x ", "meta": {"year": 3}, "tags": ["p", "q"]},
        {"id": 7, "title": "B", "text": None, "other": 1},
    )
    summary = read(tmp_path, content, like)
    assert hash_list(summary.rows.key) == [row_key("a", 0), row_key("7", 0)]
    assert hash_list(summary.rows.content) == [digest("Ä: x".encode()), digest(b"B:")]
    assert hash_list(summary.rows.metadata) == [
        digest(b'{"meta.year":3,"tags":["p","q"]}'),
        digest(b"{}"),
    ]
    assert summary.positions.tolist() == [0, 1]
    assert summary.text_bytes == len("Ä: x".encode()) + 2
    assert (summary.records, summary.empty, summary.dead, summary.complete) == (2, 0, (), True)


def test_reread_gives_the_same_hashes_as_the_summary(tmp_path: Path) -> None:
    like = rules("{text}", [("n", KEYWORD)])
    content = b"\n \n" + lines(*({"id": i, "text": f"text {i}", "n": i % 3} for i in range(5000)))
    summary = read(tmp_path, content, like)
    wanted = summary.positions[::701]
    found = list(read_selected(source(tmp_path), like, wanted))
    assert [r.position for r in found if isinstance(r, Record)] == wanted.tolist()
    for record in found:
        assert isinstance(record, Record)
        at = record.position
        assert record.key == hash_list(summary.rows.key[at : at + 1])[0]
        assert record.content == hash_list(summary.rows.content[at : at + 1])[0]
        assert record.metadata_hash == hash_list(summary.rows.metadata[at : at + 1])[0]
        assert record.place == f"c.jsonl:{at + 3}"
        assert record.text == f"text {at}"


def test_f01_a_byte_order_mark_is_no_content(tmp_path: Path) -> None:
    content = lines({"id": "a", "text": "red fox"}, {"id": "b", "text": "blue whale"})
    marked = read(tmp_path, b"\xef\xbb\xbf" + content)
    assert texts(tmp_path, marked) == {"a": "red fox", "b": "blue whale"}
    assert marked.dead == ()
    assert marked.complete
    plain = read(tmp_path, content)
    assert plain.digest == marked.digest
    packed = tmp_path / "packed"
    packed.mkdir()
    (packed / "c.jsonl").write_bytes(gzip.compress(b"\xef\xbb\xbf" + content))
    assert summarize(source(packed), rules()).digest == plain.digest


def test_a_file_in_utf16_is_named_as_such(tmp_path: Path) -> None:
    summary = read(tmp_path, lines({"id": "a", "text": "x"}).decode().encode("utf-16"))
    assert not summary.complete
    assert "UTF-16" in summary.dead[0].reason
    assert len(summary.rows) == 0


def test_f03_half_a_surrogate_pair(tmp_path: Path) -> None:
    like = rules("{text}", [("tag", KEYWORD)])
    content = lines(
        rb'{"id":"1","text":"ok \ud83d end"}',
        rb'{"id":"2","text":"\ud83d\ude00 smile","tag":"\ud83d\ude00"}',
        rb'{"id":"x\ud83d","text":"broken id"}',
        rb'{"id":"4","text":"plain","tag":["\udc00"]}',
    )
    summary = read(tmp_path, content, like)
    assert texts(tmp_path, summary, like) == {"1": "ok \ufffd end", "2": "\U0001f600 smile", "4": "plain"}
    found = {r.id: r.metadata for r in records(tmp_path, summary, like) if isinstance(r, Record)}
    assert found["2"] == '{"tag":"\U0001f600"}'
    assert found["4"] == '{"tag":["\ufffd"]}'
    (letter,) = summary.dead
    assert letter.place == "c.jsonl:3"
    assert letter.id is None
    assert "surrogate" in letter.reason
    assert not summary.complete
    assert summary.notices == ("2 records with half a surrogate pair, replaced by U+FFFD (the first: '1')",)
    for text in (letter.reason, letter.key, *summary.incomplete_because):
        text.encode()
    assert summary.digest == read(tmp_path, content, like).digest


def test_f04_nan_and_doubled_keys(tmp_path: Path) -> None:
    like = rules("{text}", [("score", FieldType.float)])
    summary = read(
        tmp_path,
        lines(
            b'{"id":"1","text":"one","score":NaN}',
            b'{"id":"2","text":"first","text":"second"}',
            b'{"id":"3","text":"three","score":1.5}',
            b'{"id":"4","text":"four","deep":[{"a":{"b":1,"b":2}}]}',
            b'{"id":"5","text":"five","score":-Infinity}',
            b'{"id":"6","text":"six","score":1e999}',
            b'{"id":"7","id":"8","text":"seven"}',
            b'{"id" :"9","text": "spaced\\":","text"\t :"twice"}',
        ),
        like,
    )
    assert texts(tmp_path, summary, like) == {"3": "three"}
    reasons = {letter.place: letter.reason for letter in summary.dead}
    assert reasons == {
        "c.jsonl:1": "NaN is no number that JSON can hold",
        "c.jsonl:2": 'the key "text" stands twice in the record',
        "c.jsonl:4": 'the key "b" stands twice in the record',
        "c.jsonl:5": "-Infinity is no number that JSON can hold",
        "c.jsonl:6": "1e999 is no number that JSON can hold",
        "c.jsonl:7": 'the key "id" stands twice in the record',
        "c.jsonl:8": 'the key "text" stands twice in the record',
    }
    assert [letter.id for letter in summary.dead] == ["1", "2", "4", "5", "6", None, "9"]
    assert len(summary.protected) == 6
    assert not summary.complete
    assert "c.jsonl:7" in summary.incomplete_because[0]


def test_f04_refused_records_with_an_id_leave_the_source_complete(tmp_path: Path) -> None:
    summary = read(tmp_path, lines(b'{"id":"1","text":"a","text":"b"}', {"id": "2", "text": "two"}))
    assert summary.complete
    (protected,) = summary.protected
    assert protected == document_prefixes(np.frombuffer(row_key("1", 0), dtype="S16"))[0]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"id":"1","text":"cut', "not JSON: Unterminated string starting at column 18"),
        (b"[1,2]", "not a JSON object but a list"),
        (b'"text"', "not a JSON object but a text"),
        (b"null", "not a JSON object but null"),
        (b'{"id":"1","text":"M\xfcller"}', "not UTF-8: byte 0xfc at offset 19 of the line"),
        (b'{"id":"1","text":"\xed\xa0\x80"}', "not UTF-8: byte 0xed at offset 18 of the line"),
        (b'{"id":"1","text":"a\tb"}', "not JSON: Invalid control character at column 20"),
        (b"[" * 200_000 + b"]" * 200_000, "not readable: nested too deeply"),
        (b'{"id":"1","a":' * 200_000 + b"1" + b"}" * 200_000, "not readable: nested too deeply"),
        (b'{"id":' + b"9" * 5000 + b"}", "not readable: an integer has more than 4300 digits"),
        (b'{"text":"no id"}', "no id: the record has no field 'id'"),
        (b'{"id":null,"text":"x"}', "no id: the field 'id' is null, neither text nor an integer"),
        (b'{"id":1.0,"text":"x"}', "no id: the field 'id' is 1.0, neither text nor an integer"),
        (b'{"id":true,"text":"x"}', "no id: the field 'id' is true, neither text nor an integer"),
        (b'{"id":["a"],"text":"x"}', """no id: the field 'id' is ["a"], neither text nor an integer"""),
        (b'{"id":"","text":"x"}', "no id: the field 'id' is empty"),
        (b'{"id":"a\\u0000b","text":"x"}', "the id holds a NUL character"),
        (
            b'{"id":"' + "é".encode() * 257 + b'","text":"x"}',
            f"the id {'é' * 40!r}… has 514 bytes, an id takes at most 512",
        ),
    ],
)
def test_a_line_without_a_record_is_a_dead_letter_and_no_proof(
    tmp_path: Path, line: bytes, reason: str
) -> None:
    summary = read(tmp_path, lines({"id": "ok", "text": "fine"}, line, {"id": "ok2", "text": "fine"}))
    (letter,) = summary.dead
    assert letter.reason == reason
    assert letter.place == "c.jsonl:2"
    assert letter.id is None
    assert letter.key.startswith("c.jsonl:")
    assert len(summary.rows) == 2
    assert summary.records == 3
    assert not summary.complete
    assert reason in summary.incomplete_because[0]


def test_ids_are_kept_verbatim(tmp_path: Path) -> None:
    big = 2**70
    content = lines(
        b'{"id":007,"text":"x"}',
        {"id": "007", "text": "x"},
        {"id": 7, "text": "x"},
        {"id": -3, "text": "x"},
        {"id": big, "text": "x"},
        {"id": " a ", "text": "x"},
        {"id": "é" * 256, "text": "x"},
        {"id": "null", "text": "x"},
    )
    summary = read(tmp_path, content)
    assert list(texts(tmp_path, summary)) == ["007", "7", "-3", str(big), " a ", "é" * 256, "null"]
    assert [letter.place for letter in summary.dead] == ["c.jsonl:1"]


def test_an_id_and_metadata_below_other_fields(tmp_path: Path) -> None:
    like = rules(
        "{doc.text}", [("doc.a.b", KEYWORD), ("doc.c", KEYWORD), ("x.y", KEYWORD)], id_field="doc.id"
    )
    summary = read(
        tmp_path,
        lines(
            {
                "doc": {"id": "1", "text": "one", "a": {"b": 2}, "c": {"z": 1, "y": None}},
                "x.y": 3,
                "x": {"y": 4},
            },
            {"doc": [], "doc.id": "2", "doc.text": "two", "x": "no object"},
        ),
        like,
    )
    found = {r.id: r for r in records(tmp_path, summary, like) if isinstance(r, Record)}
    assert found["1"].metadata == '{"doc.a.b":2,"doc.c":{"y":null,"z":1},"x.y":3}'
    assert (found["2"].text, found["2"].metadata) == ("two", "{}")


def test_integers_beyond_64_bits_keep_every_digit(tmp_path: Path) -> None:
    like = rules("{n} {text}", [("n", KEYWORD), ("m", KEYWORD)])
    big = 123456789012345678901234567890
    summary = read(tmp_path, lines({"id": "a", "text": "1234567890" * 3, "n": big, "m": -(2**63)}), like)
    (record,) = records(tmp_path, summary, like)
    assert isinstance(record, Record)
    assert record.text == f"{big} {'1234567890' * 3}"
    assert record.metadata == f'{{"m":{-(2**63)},"n":{big}}}'


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (FieldType.integer, [0, -5, 2**63 - 1, [1, 2], []], [1.0, "1", True, 2**63, [1, "x"], {}, [None]]),
        (FieldType.float, [0, 1.5, -2, 2**80, [1, 2.5]], ["1", False, 10**400, {}]),
        (FieldType.boolean, [True, False, [True]], [0, 1, "true"]),
        (FieldType.keyword, ["x", 1, 1.5, True, ["a", 1], {"b": 1}], []),
    ],
)
def test_typed_metadata(tmp_path: Path, kind: FieldType, good: list[Any], bad: list[Any]) -> None:
    like = rules("{text}", [("f", kind)])
    content = [{"id": f"good{i}", "text": "x", "f": value} for i, value in enumerate(good)]
    content += [{"id": f"bad{i}", "text": "x", "f": value} for i, value in enumerate(bad)]
    content += [{"id": "null", "text": "x", "f": None}, {"id": "absent", "text": "x"}]
    summary = read(tmp_path, lines(*content), like)
    found = {r.id: json.loads(r.metadata) for r in records(tmp_path, summary, like) if isinstance(r, Record)}
    assert found == {f"good{i}": {"f": v} for i, v in enumerate(good)} | {"null": {}, "absent": {}}
    assert [letter.id for letter in summary.dead] == [f"bad{i}" for i in range(len(bad))]
    for letter in summary.dead:
        assert letter.reason.startswith(f"metadata field 'f' is {kind.value}, but its value is ")
    assert summary.complete


def test_a_text_that_is_nested_too_deeply(tmp_path: Path) -> None:
    like = rules("{deep}")
    deep = b'{"id":"1","text":"x","deep":' + b"[" * 1000 + b"]" * 1000 + b"}"
    summary = read(tmp_path, lines(deep), like)
    if summary.dead:  # how deep is too deep is the interpreter's
        assert [(letter.id, letter.reason) for letter in summary.dead] == [
            ("1", "a field is nested too deeply")
        ]
    else:
        (record,) = records(tmp_path, summary, like)
        assert isinstance(record, Record)
        assert "[" * 1000 in record.text


def test_metadata_that_is_nested_too_deeply(tmp_path: Path) -> None:
    like = rules("{text}", [("deep", KEYWORD)])
    bodies = [
        b"[" * levels + inner + b"]" * levels for levels in (253, 254, 500) for inner in (b"", b"9" * 30)
    ]
    content = [b'{"id":"%d","text":"x","deep":%b}' % (i, body) for i, body in enumerate(bodies)]
    summary = read(tmp_path, lines(*content), like)
    reason = "metadata field 'deep' is nested more than 253 levels deep"
    assert [(letter.id, letter.reason) for letter in summary.dead] == [(str(i), reason) for i in range(2, 6)]
    assert summary.complete
    found = [record for record in records(tmp_path, summary, like) if isinstance(record, Record)]
    assert [record.metadata for record in found] == [f'{{"deep":{body.decode()}}}' for body in bodies[:2]]


def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "c.jsonl")
    summary = summarize(JsonlSource(tmp_path, ("c.jsonl",)), rules("{text}"))
    assert not summary.complete
    assert [letter.reason for letter in summary.dead] == ["is no regular file, so it cannot be read twice"]


def test_nul_becomes_a_replacement_character_and_is_counted(tmp_path: Path) -> None:
    like = rules("{text}", [("m", KEYWORD)])
    summary = read(
        tmp_path,
        lines(
            {"id": "a", "text": "x\0y", "m": "p\0q"},
            {"id": "b", "text": "z", "m": ["\0"]},
            {"id": "c", "text": "the escape \\u0000 as text", "m": "\\u0000"},
        ),
        like,
    )
    found = {r.id: (r.text, r.metadata) for r in records(tmp_path, summary, like) if isinstance(r, Record)}
    assert found == {
        "a": ("x\ufffdy", '{"m":"p\ufffdq"}'),
        "b": ("z", '{"m":["\ufffd"]}'),
        "c": ("the escape \\u0000 as text", '{"m":"\\\\u0000"}'),
    }
    assert summary.notices == ("2 records with a NUL character, replaced by U+FFFD (the first: 'a')",)


def test_texts_are_never_normalised(tmp_path: Path) -> None:
    text = "e\u0301 \u00a0 a  b\r\n\ufb01"
    summary = read(tmp_path, lines({"id": "a", "text": text}))
    assert texts(tmp_path, summary) == {"a": text}


def test_empty_documents_have_no_row_and_are_no_failure(tmp_path: Path) -> None:
    summary = read(
        tmp_path,
        lines(
            {"id": "a", "text": " \n\t\u3000"},
            {"id": "b"},
            {"id": "c", "text": "x"},
            {"id": "d", "text": None},
        ),
    )
    assert summary.empty == 3
    assert hash_list(summary.empty_keys) == [row_key(i, 0) for i in "abd"]
    assert summary.positions.tolist() == [2]
    assert summary.complete
    assert summary.dead == ()


def test_a_text_over_the_limit_of_the_store(tmp_path: Path) -> None:
    like = rules(max_text_bytes=10)
    summary = read(tmp_path, lines({"id": "a", "text": "é" * 5}, {"id": "b", "text": "é" * 5 + "x"}), like)
    (letter,) = summary.dead
    assert (letter.id, letter.content) == ("b", digest(("é" * 5 + "x").encode()).hex())
    assert "11 bytes" in letter.reason
    assert "at most 10" in letter.reason
    assert summary.complete
    assert len(summary.protected) == 1


def test_the_first_of_equal_ids_wins(tmp_path: Path) -> None:
    again = {"id": "a", "text": "third"}
    summary = read(
        tmp_path,
        lines(
            {"id": "a", "text": "first"},
            {"id": "e", "text": ""},
            again,
            {"id": "b", "text": "other"},
            again,
            {"id": "e", "text": "not empty"},
            b'{"id":"a","text":1e999}',
        ),
    )
    assert texts(tmp_path, summary) == {"a": "first", "b": "other"}
    assert hash_list(summary.empty_keys) == [row_key("e", 0)]
    places = {letter.place: letter.reason for letter in summary.dead}
    assert set(places) == {"c.jsonl:3", "c.jsonl:5", "c.jsonl:6", "c.jsonl:7"}
    assert places["c.jsonl:5"] == "the id 'a' is given twice; the first record, at c.jsonl:1, is used"
    assert places["c.jsonl:6"] == "the id 'e' is given twice; the first record, at c.jsonl:2, is used"
    assert len({letter.key for letter in summary.dead}) == 4
    assert len(summary.protected) == 0
    assert summary.complete


def test_an_integer_id_and_the_same_text_are_one_id(tmp_path: Path) -> None:
    summary = read(tmp_path, lines({"id": 1, "text": "number"}, {"id": "1", "text": "text"}))
    assert texts(tmp_path, summary) == {"1": "number"}
    assert len(summary.dead) == 1


def damaged(content: bytes) -> bytes:
    packed = bytearray(gzip.compress(content))
    packed[-6] ^= 1
    return bytes(packed)


@pytest.mark.parametrize(
    ("name", "spoil", "reason"),
    [
        ("b.jsonl.gz", lambda content: gzip.compress(content)[:-20], "ends early: the gzip data is cut off"),
        ("b.jsonl.gz", lambda content: gzip.compress(content)[:-4], "ends early: the gzip data is cut off"),
        ("b.jsonl.gz", damaged, "has damaged gzip data"),
        ("b.jsonl.gz", lambda content: gzip.compress(content) + b"junk", "has damaged gzip data"),
        ("b.jsonl.gz", lambda content: b"", "ends early: no gzip data"),
        ("b.jsonl.gz", lambda content: content, "is not gzip data"),
        ("b.jsonl", lambda content: b"\x28\xb5\x2f\xfd" + content, "is compressed with zstd"),
    ],
)
def test_a_file_not_read_to_its_end_is_no_proof(
    tmp_path: Path, name: str, spoil: Callable[[bytes], bytes], reason: str
) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines({"id": "first", "text": "x"}))
    (tmp_path / name).write_bytes(spoil(lines(*({"id": i, "text": f"text {i}"} for i in range(3000)))))
    (tmp_path / "c.jsonl").write_bytes(lines({"id": "last", "text": "x"}))
    summary = summarize(source(tmp_path, "*"), rules())
    assert not summary.complete
    assert summary.incomplete_because[0].startswith(f"{name} {reason}")
    (letter,) = summary.dead
    assert letter.key == name
    keys = hash_list(summary.rows.key)
    assert row_key("first", 0) in keys
    assert row_key("last", 0) in keys


def test_members_of_a_gzip_file_are_read_one_after_the_other(tmp_path: Path) -> None:
    parts = [gzip.compress(lines({"id": i, "text": f"text {i}"})) for i in range(5)]
    (tmp_path / "c.jsonl").write_bytes(b"".join(parts) + b"\0" * 700)
    summary = summarize(source(tmp_path), rules())
    assert len(summary.rows) == 5
    assert summary.complete
    empty = zlib.compressobj(wbits=31)
    (tmp_path / "c.jsonl").write_bytes(empty.flush())
    assert summarize(source(tmp_path), rules()).complete


def test_what_cannot_be_opened_or_searched_is_no_proof(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines({"id": "a", "text": "x"}))
    (tmp_path / "b.jsonl").symlink_to(tmp_path / "gone.jsonl")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    one = summarize(source(tmp_path, "*.jsonl"), rules())
    assert len(one.rows) == 1
    assert one.incomplete_because == ("b.jsonl cannot be read: No such file or directory, after line 0",)
    other = summarize(source(tmp_path, "a.jsonl", "loop/*.jsonl"), rules())
    assert other.incomplete_because == (
        "loop cannot be searched: Too many levels of symbolic links, after line 0",
    )


def test_files_are_read_in_the_order_of_their_names_each_once(tmp_path: Path) -> None:
    for name in ("b", "a/x", "a/b/y", "[1]", ".hidden", "a/.git/z"):
        (tmp_path / name).with_suffix(".jsonl").parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{name}.jsonl").write_bytes(lines({"id": name, "text": name}))
    (tmp_path / "a" / "again").symlink_to(tmp_path / "a")
    everything = source(tmp_path, "**/*.jsonl", "b.jsonl", str(tmp_path / "b.jsonl"), "[1].jsonl")
    summary = summarize(everything, rules())
    found = [r.id for r in read_selected(everything, rules(), summary.positions) if isinstance(r, Record)]
    assert found == ["[1]", "a/b/y", "a/x", "b"]
    assert summary.complete
    outside = summarize(JsonlSource(tmp_path / "a" / "b", ("../../b.jsonl",)), rules())
    assert len(outside.rows) == 1


def test_names_that_are_not_utf8_are_two_files_and_can_be_told(tmp_path: Path) -> None:
    for name in (b"a\xff.jsonl", b"a\xfe.jsonl"):
        (tmp_path / os.fsdecode(name)).write_bytes(lines({"id": str(name), "text": "x"}, b"{"))
    summary = summarize(source(tmp_path, "*.jsonl"), rules())
    assert len(summary.rows) == 2
    assert [letter.place for letter in summary.dead] == ["a\ufffd.jsonl:2"] * 2
    assert len({letter.key for letter in summary.dead}) == 2


@pytest.mark.parametrize("pattern", ["none.jsonl", "*.none", "no/**/*.jsonl", "sub"])
def test_a_pattern_without_a_file_is_an_error(tmp_path: Path, pattern: str) -> None:
    (tmp_path / "c.jsonl").write_bytes(b"")
    (tmp_path / "sub").mkdir()
    with pytest.raises(SourceError) as raised:
        summarize(source(tmp_path, "c.jsonl", pattern), rules())
    assert raised.value.code == 1
    assert pattern in raised.value.what
    assert raised.value.fix


def test_a_line_over_the_bound_is_a_dead_letter_not_memory(tmp_path: Path) -> None:
    long = b'{"id":"long","text":"' + b"x" * MAX_LINE_BYTES + b'"}\n'
    content = lines({"id": "a", "text": "x"}) + long + lines({"id": "b", "text": "y"})
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress(content, 1))
    packed = source(tmp_path, "c.jsonl.gz")
    summary = summarize(packed, rules())
    (letter,) = summary.dead
    assert letter.place == "c.jsonl.gz:2"
    assert letter.key == f"c.jsonl.gz:{digest(long[:-1]).hex()}"
    assert summary.positions.tolist() == [0, 2]
    assert not summary.complete
    found = list(read_selected(packed, rules(), np.array([0, 1, 2], dtype=np.uint64)))
    assert [type(r) for r in found] == [Record, DeadLetter, Record]


def test_fields_that_no_record_has(tmp_path: Path) -> None:
    like = rules("{titel} {text} {doc.x}", [("langg", KEYWORD), ("year", FieldType.integer)])
    content = lines({"id": "a", "text": "x", "doc": {}}, {"id": "b", "year": None, "text": "y"})
    summary = read(tmp_path, content, like)
    assert summary.absent_template_fields == ("doc.x", "titel")
    assert summary.absent_metadata_fields == ("langg",)
    assert read(tmp_path, b"", like).absent_template_fields == ()


def test_a_limit_reads_so_many_documents_with_text(tmp_path: Path) -> None:
    content = lines({"id": "e", "text": ""}, *({"id": i, "text": "x"} for i in range(10)))
    (tmp_path / "c.jsonl").write_bytes(content)
    summary = summarize(source(tmp_path), rules(), limit=3)
    assert summary.positions.tolist() == [1, 2, 3]
    assert summary.limited
    assert not summarize(source(tmp_path), rules(), limit=20).limited


def test_progress_is_told_and_may_stop_the_reading(tmp_path: Path) -> None:
    (tmp_path / "c.jsonl").write_bytes(lines(*({"id": i, "text": "x" * 100} for i in range(30_000))))
    told: list[int] = []
    summarize(source(tmp_path), rules(), on_progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 30_000
    assert len(told) > 3

    def stop(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        summarize(source(tmp_path), rules(), on_progress=stop)


def test_f21_the_digest_follows_content_only(tmp_path: Path) -> None:
    like = rules("{text}", [("m", KEYWORD)])
    first = read(tmp_path, lines({"id": "a", "text": "x", "m": 1}, {"id": "b", "text": "y"}), like)
    spaced = b'{ "text" : "x","id":"a", "m":1 , "other":2}\r\n\n  \n{"id":"b","text":"y","m":null}'
    assert read(tmp_path, spaced, like).digest == first.digest
    split = tmp_path / "split"
    split.mkdir()
    (split / "1.jsonl").write_bytes(lines({"id": "a", "text": "x", "m": 1}))
    (split / "2.jsonl.gz").write_bytes(gzip.compress(lines({"id": "b", "text": "y"})))
    assert summarize(source(split, "*.jsonl*"), like).digest == first.digest
    for other in (
        lines({"id": "a", "text": "x", "m": 2}, {"id": "b", "text": "y"}),
        lines({"id": "a", "text": "x", "m": 1}, {"id": "b", "text": "z"}),
        lines({"id": "a", "text": "x", "m": 1}, {"id": "c", "text": "y"}),
        lines({"id": "a", "text": "x", "m": 1}),
        lines({"id": "a", "text": "x", "m": 1}, {"id": "b", "text": "y"}, {"id": "c"}),
        lines({"id": "a", "text": "x", "m": 1}, {"id": "b", "text": "y"}, b"{"),
    ):
        assert read(tmp_path, other, like).digest != first.digest


def test_a_record_that_changed_meanwhile_is_seen_by_its_hashes(tmp_path: Path) -> None:
    summary = read(
        tmp_path, lines({"id": "a", "text": "x"}, {"id": "b", "text": "y"}, {"id": "c", "text": "z"})
    )
    (tmp_path / "c.jsonl").write_bytes(
        lines({"id": "a", "text": "x"}, b'{"id":"b","text":', {"id": "c", "text": ""})
    )
    same, broken, emptied = records(tmp_path, summary)
    assert isinstance(same, Record)
    assert same.content == hash_list(summary.rows.content)[0]
    assert isinstance(broken, DeadLetter)
    assert isinstance(emptied, Record)
    assert emptied.content != hash_list(summary.rows.content)[2]
    (tmp_path / "c.jsonl").unlink()
    with pytest.raises(SourceError):
        records(tmp_path, summary)


def test_the_debian_export(shared: Path) -> None:
    """63,436 real records; the number is the export's own."""
    debian = JsonlSource(shared / "data" / "debian-packages", ("corpus.jsonl.gz",))
    like = rules("{title} {text}", [("metadata.section", KEYWORD)], id_field="_id")
    summary = summarize(debian, like)
    assert (len(summary.rows), summary.empty, summary.dead, summary.complete) == (63_436, 0, (), True)
