"""Golden labels: both forms of both files, and what is said about every line that cannot be taken."""

import gzip
from pathlib import Path

import pytest

from embedspec.errors import SpecError
from embedspec.evaluation.golden import Golden, load_golden, read_judgements, read_queries

QUERIES = b'{"_id": "1", "text": "red fox", "lang": "en"}\n{"_id": "2", "text": "blue whale"}\n'
TSV = b"query-id\tcorpus-id\tscore\n1\ta\t2\n1\tb\t0\n2\tc\t1\n"
TREC = b"1 0 a 2\n1 0 b 0\n2 0 c 1\n"


def write(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def load(folder: Path, queries: bytes = QUERIES, qrels: bytes = TSV) -> Golden:
    return load_golden(write(folder, "queries.jsonl", queries), write(folder, "qrels.tsv", qrels))


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("qrels", [TSV, TREC], ids=["tsv", "trec"])
def test_both_forms_plain_and_gzip_read_the_same(tmp_path: Path, suffix: str, qrels: bytes) -> None:
    golden = load_golden(
        write(tmp_path, "queries.jsonl" + suffix, QUERIES), write(tmp_path, "qrels.tsv" + suffix, qrels)
    )
    assert [(q.id, q.text, dict(q.extra)) for q in golden.queries] == [
        ("1", "red fox", {"lang": "en"}),
        ("2", "blue whale", {}),
    ]
    assert golden.judgements == {"1": {"a": 2, "b": 0}, "2": {"c": 1}}
    assert golden.warnings == ()


def test_only_judged_queries_count_and_lost_ones_are_counted(tmp_path: Path) -> None:
    golden = load(tmp_path, QUERIES, TREC.splitlines()[0] + b"\n7 0 x 1\n8 0 x 1\n9 0 x 1\n10 0 x 1\n")
    assert [query.id for query in golden.queries] == ["1"]
    assert set(golden.judgements) == {"1"}
    assert golden.warnings == (
        "4 of 5 judged queries are not in queries.jsonl and do not count (7, 8, 9, …)",
    )


def test_query_without_relevant_document_is_mentioned(tmp_path: Path) -> None:
    golden = load(tmp_path, qrels=b"1 0 a 1\n2 0 c 0\n2 0 d -1\n")
    assert len(golden.queries) == 2
    assert golden.warnings == (
        "1 of 2 judged queries have no relevant document and score 0 whatever is found (2)",
    )


def test_f24_ids_are_text(tmp_path: Path) -> None:
    queries = b'{"_id": "007", "text": "a"}\n{"_id": 7, "text": "b"}\n'
    golden = load(tmp_path, queries, b"query-id\tcorpus-id\tscore\n007\t007\t1\n7\t7\t1\n")
    assert golden.judgements == {"007": {"007": 1}, "7": {"7": 1}}
    with pytest.raises(SpecError, match=r"none of the 1 judged queries \(07\)"):
        load(tmp_path, queries, b"07 0 x 1\n")


def test_f01_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    mark = b"\xef\xbb\xbf"
    golden = load(tmp_path, mark + QUERIES.replace(b"\n", b"\r\n"), mark + TSV.replace(b"\n", b"\r\n"))
    assert golden == load(tmp_path)


def test_header_columns_are_found_by_name(tmp_path: Path) -> None:
    path = write(tmp_path, "qrels.tsv", b"score\tquery_id\tnote\tcorpus_id\n1.0\tq one\tx\td one\n")
    assert read_judgements(path) == {"q one": {"d one": 1}}


def test_tabs_in_a_trec_file_allow_spaces_in_ids(tmp_path: Path) -> None:
    assert read_judgements(write(tmp_path, "q", b"q 1\t0\td 1\t1\n")) == {"q 1": {"d 1": 1}}


def test_the_same_judgement_twice_is_one(tmp_path: Path) -> None:
    assert read_judgements(write(tmp_path, "q", b"1 0 a 1\n\n1 0 a 1\n")) == {"1": {"a": 1}}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"not json", "not a JSON record"),
        (b"[1]", "not a JSON object"),
        (b'{"text": "x"}', "no `_id`"),
        (b'{"_id": true, "text": "x"}', "`_id` is True, not text"),
        (b'{"_id": 1.5, "text": "x"}', "`_id` is 1.5, not text"),
        (b'{"_id": "", "text": "x"}', "`_id` is '', not text"),
        (b'{"_id": "a\\u0000b", "text": "x"}', "`_id` holds NUL"),
        (b'{"_id": "3"}', "query '3' has no `text`"),
        (b'{"_id": "3", "text": " "}', "query '3' has no `text`"),
        (b'{"_id": "3", "text": 3}', "query '3' has no `text`"),
        (b'{"_id": "3", "text": "\\ud83d"}', "half of a surrogate pair"),
        (b'{"_id": "3", "text": "x", "n": NaN}', "NaN is not JSON"),
        (b'{"_id": "3", "text": "x", "text": "y"}', "key 'text' is given twice"),
        (b'{"_id": "2", "text": "again"}', "query id '2' is given twice, first in line 2"),
        (b'{"_id": "3", "text": "caf\xe9"}', "not UTF-8"),
    ],
)
def test_bad_query_line_is_named(tmp_path: Path, line: bytes, message: str) -> None:
    path = write(tmp_path, "queries.jsonl", QUERIES + b"\n" + line + b"\n")
    with pytest.raises(SpecError) as raised:
        list(read_queries(path))
    assert message in raised.value.what
    assert raised.value.where == f"{path}:4"


@pytest.mark.parametrize(
    ("text", "number", "message"),
    [
        (TSV + b"1\ta\n", 5, "2 tab-separated columns where the header has 3"),
        (TSV + b"1\ta\tyes\n", 5, "score 'yes' is not a whole number"),
        (TSV + b"1\td\t0.5\n", 5, "score '0.5' is not a whole number"),
        (TSV + b"1\td\tinf\n", 5, "score 'inf' is not a whole number"),
        (TSV + b"1\td\t1001\n", 5, "score '1001' is not a whole number from -1000 to 1000"),
        (TSV + b"1\ta\t1\n", 5, "judged twice, as 2 and as 1"),
        (TSV + b"\ta\t1\n", 5, "an id is empty"),
        (b"1 a 1\n", 1, "3 columns"),
        (TREC + b"1 0 d 1 extra\n", 4, "5 columns"),
        (b"query-id,corpus-id,score\n1,a,1\n", 1, "1 columns"),
    ],
)
def test_bad_judgement_line_is_named(tmp_path: Path, text: bytes, number: int, message: str) -> None:
    path = write(tmp_path, "qrels.tsv", text)
    with pytest.raises(SpecError) as raised:
        read_judgements(path)
    assert message in raised.value.what
    assert raised.value.where == f"{path}:{number}"


def test_file_without_judgements_says_how_to_write_one(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="holds no judgement") as raised:
        read_judgements(write(tmp_path, "qrels.tsv", TSV.splitlines()[0]))
    assert "query-id<TAB>corpus-id<TAB>score" in str(raised.value)


def test_absent_and_damaged_files(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="No such file"):
        read_judgements(tmp_path / "absent.tsv")
    with pytest.raises(SpecError, match="Is a directory"):
        read_judgements(tmp_path)
    whole = gzip.compress(b"".join(b"%d 0 d%d 1\n" % (i, i * i) for i in range(9999)))
    (tmp_path / "cut.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SpecError, match="damaged gzip file"):
        read_judgements(tmp_path / "cut.gz")
    (tmp_path / "plain.gz").write_bytes(TREC)
    with pytest.raises(SpecError, match="damaged gzip file"):
        read_judgements(tmp_path / "plain.gz")


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "queries", "judgements"),
    [("scifact", 300, 339), ("xquad/en", 1185, None), ("xquad/th", 1180, None), ("cranfield", None, None)],
)
def test_public_data_sets(shared: Path, name: str, queries: int | None, judgements: int | None) -> None:
    folder = shared / "data" / name
    golden = load_golden(folder / "queries.jsonl", folder / "qrels" / "test.tsv")
    assert golden.warnings == ()
    assert queries in (None, len(golden.queries))
    assert judgements in (None, sum(map(len, golden.judgements.values())))
