"""F01, F03, F04: what odd bytes in a corpus come to, from the file to the answer of a query."""

from __future__ import annotations

import codecs
import gzip
import json

from .case import Case

FOX, WHALE = b'{"id":"a","text":"red fox"}', b'{"id":"b","text":"blue whale"}'


def test_f01_a_byte_order_mark_eats_no_record(case: Case) -> None:
    corpus = case.folder / "c.jsonl"
    corpus.write_bytes(codecs.BOM_UTF8 + FOX + b"\n" + WHALE + b"\n")
    done = case.reconcile()
    assert (done["documents"]["added"], done["failed"], done["written"]) == (2, 0, 2)
    assert sorted(case.ids("fox", "-k", "10")) == ["a", "b"]
    corpus.write_bytes(FOX + b"\n" + WHALE + b"\n")
    case.assert_nothing_to_do()


def test_f01_a_mark_in_every_file_of_a_glob_and_in_the_spec(case: Case) -> None:
    case.change({"corpus.source.path": "part-*"})
    (case.folder / "part-1.jsonl").write_bytes(codecs.BOM_UTF8 + FOX + b"\r\n")
    (case.folder / "part-2.jsonl.gz").write_bytes(gzip.compress(codecs.BOM_UTF8 + WHALE))
    done = case.reconcile()
    assert (done["documents"]["added"], done["failed"]) == (2, 0)
    case.spec.write_bytes(codecs.BOM_UTF8 + case.spec.read_bytes())
    case.assert_nothing_to_do()


def test_f01_a_mark_between_two_files_that_were_joined_is_no_silent_loss(case: Case) -> None:
    case.write(FOX, codecs.BOM_UTF8 + WHALE, b'{"id":"c","text":"green frog"}')
    done = case.start("reconcile", "--yes", "--json")
    if done.code == 0:
        assert sorted(case.ids("frog", "-k", "10")) == ["a", "b", "c"]
    else:
        assert (done.code, done.json["failed"], done.json["written"]) == (9, 1, 2)
        (letter,) = case.dead_letters(done.json)
        assert letter["place"] == "c.jsonl:2"


def test_f03_half_an_emoji(case: Case) -> None:
    case.write(
        b'{"id":"half","text":"ok \\ud83d end"}',
        b'{"id":"pair","text":"\\ud83d\\ude00 smile"}',
        b'{"id":"x\\ud83d","text":"half in the id"}',
    )
    done = case.reconcile(code=9)
    assert (done["written"], done["failed"]) == (2, 1)
    assert any("surrogate" in warning and "half" in warning for warning in done["warnings"])
    (letter,) = case.dead_letters(done)
    assert letter["place"] == "c.jsonl:3"
    assert "surrogate" in letter["reason"]
    found = {hit["id"]: hit["text"] for hit in case.query("a smile", "-k", "10")}
    assert found == {"half": "ok \ufffd end", "pair": "\U0001f600 smile"}
    again = case.reconcile(code=9)
    assert (again["class"], again["embedded"], again["written"], again["failed"]) == ("none", 0, 0, 1)


def test_f03_half_an_emoji_in_a_query_and_in_a_filter(case: Case) -> None:
    case.change({"corpus.metadata": ["kind"]})
    case.write(b'{"id":"half","text":"ok \\ud83d end","kind":"\\ud83d"}')
    case.reconcile()
    # On the command line a byte that is no UTF-8 becomes half a pair.
    (hit,) = case.query(b"ok \xff end".decode(errors="surrogateescape"), "-k", "1")
    assert (hit["id"], hit["score"], hit["metadata"]) == ("half", 1.0, {"kind": "\ufffd"})
    asked = b"kind=\xff".decode(errors="surrogateescape")
    refused = case.run("query", "ok", "--filter", asked, code=1)
    assert "surrogate" in refused["error"]["what"]


def test_f04_nan_and_doubled_keys(case: Case) -> None:
    case.change({"corpus.metadata": ["score"]})
    case.write(
        b'{"id":"1","text":"one","score":NaN}',
        b'{"id":"2","text":"first","text":"second"}',
        b'{"id":"3","text":"three","score":1.5}',
        b'{"id":"4","text":"four","score":{"deep":[1e999]}}',
        b'{"id":"5","text":"five","score":{"same":1,"same":2}}',
    )
    done = case.reconcile(code=9)
    assert (done["written"], done["failed"], done["complete"]) == (1, 4, True)
    letters = {letter["id"]: letter for letter in case.dead_letters(done)}
    assert [letters[i]["place"] for i in "1245"] == [f"c.jsonl:{i}" for i in "1245"]
    for i, cause in (("1", "NaN"), ("2", '"text"'), ("4", "1e999"), ("5", '"same"')):
        assert cause in letters[i]["reason"]
    # `json` takes no NaN token.
    (hit,) = case.query("three", "-k", "10")
    assert (hit["id"], hit["metadata"]) == ("3", {"score": 1.5})
    assert case.run("status")["failed"] == 4


def test_f04_metadata_that_no_reader_could_print(case: Case) -> None:
    case.change({"corpus.metadata": ["m"]})
    nested = [b'{"id":"%d","text":"%d","m":%b}' % (n, n, b"[" * n + b"]" * n) for n in (1, 253, 254, 900)]
    case.write(*nested, b'{"id":"big","text":"big","m":%b}' % (b"9" * 400))
    done = case.reconcile(code=9)
    assert [letter["id"] for letter in case.dead_letters(done)] == ["254", "900"]
    found = {hit["id"]: hit["metadata"]["m"] for hit in case.query("numbers", "-k", "10")}
    assert set(found) == {"1", "253", "big"}
    assert found["big"] == int("9" * 400)
    assert json.dumps(found["253"]).count("[") == 253
