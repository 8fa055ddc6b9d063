"""The fast path against the plain truth: whatever a line holds, both agree; however bytes arrive, too."""

from __future__ import annotations

import json
import threading
from itertools import pairwise
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedspec.corpus.jsonl import Block, _Splitter
from embedspec.corpus.parse import count_keys
from embedspec.corpus.pieces import read_ahead
from embedspec.corpus.records import RecordRefused, RecordRules, compile_reader
from embedspec.corpus.render import compile_render
from embedspec.corpus.screen import expected_keys
from embedspec.spec.template import parse_template

words = st.text(alphabet='ab":{} \t\\,é0', max_size=6)
blanks = st.text(alphabet=" \t\r", max_size=6)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**80), 2**80),
    st.floats(allow_nan=False, allow_infinity=False),
    words,
    st.text(alphabet="0123456789", min_size=15, max_size=40),
)


@st.composite
def json_text(draw: st.DrawFn, depth: int = 2) -> str:
    """JSON with any white space; keys may come twice."""
    kind = draw(st.integers(0, 2)) if depth else 0
    gap = draw(blanks)
    if kind == 0:
        return gap + json.dumps(draw(scalars), ensure_ascii=draw(st.booleans())) + draw(blanks)
    if kind == 1:
        return gap + "[" + ",".join(draw(st.lists(json_text(depth=depth - 1), min_size=1, max_size=3))) + "]"
    return gap + draw(json_object(depth=depth - 1)) + draw(blanks)


@st.composite
def json_object(draw: st.DrawFn, depth: int = 2) -> str:
    pairs = draw(st.lists(st.tuples(words, blanks, json_text(depth=depth)), max_size=3))
    return "{" + ",".join(f"{json.dumps(k)}{gap}:{v}" for k, gap, v in pairs) + "}"


def has_doubled_key(text: str) -> bool:
    doubled = False

    def collect(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal doubled
        doubled = doubled or len(dict(pairs)) != len(pairs)
        return dict(pairs)

    json.loads(text, object_pairs_hook=collect)
    return doubled


def screen(line: bytes) -> int:
    around = b'{"a":1}\n' + line + b'\n{"b":{"c":1,"d":2}}\n'
    ends = np.flatnonzero(np.frombuffer(around, dtype=np.uint8) == 10)
    before, count, after = expected_keys(around, ends).tolist()
    assert (before, after) == (1, 3)
    return int(count)


@given(json_object())
def test_no_doubled_key_passes_the_screen(text: str) -> None:
    line = text.encode()
    keys = count_keys(orjson.loads(line))
    count = screen(line)
    assert count == -1 or count >= keys
    if has_doubled_key(text):
        assert count != keys


@given(json_object(depth=1))
def test_reading_equals_the_exact_parser(rest: str) -> None:
    """The whole record comes back as it is through a keyword field and the template."""
    text = f'{{"id":"x","field":{rest}}}'
    line = text.encode()
    rules = RecordRules("id", parse_template("{field}"))
    read, _ = compile_reader(rules)
    if has_doubled_key(text):
        with pytest.raises(RecordRefused, match="stands twice"):
            read(line, screen(line))
    else:
        assert json.loads(read(line, screen(line))[1]) == json.loads(rest)


@given(
    st.lists(st.sampled_from([b"", b" \t", b"\r", b'{"id":1}', b'{"id":2} ', b"x" * 40]), max_size=12),
    st.booleans(),
    st.lists(st.integers(0, 200), max_size=8),
)
def test_blocks_do_not_depend_on_how_the_bytes_arrive(
    lines: list[bytes], closed: bool, cuts: list[int]
) -> None:
    content = b"\n".join(lines) + (b"\n" if closed and lines else b"")
    edges = sorted({0, len(content), *(min(cut, len(content)) for cut in cuts)})
    splitter = _Splitter("f", 5)
    found = []
    blocks = [block for a, b in pairwise(edges) for block in splitter.feed(content[a:b])]
    blocks += splitter.finish()
    for block in blocks:
        assert isinstance(block, Block)
        assert block.lines() == [block.line_at(i) for i in range(len(block))]
        assert len(block.expected_keys()) == len(block)
        found += [(block.position + i, block.place(i), line) for i, line in enumerate(block.lines())]
    truth = [(f"f:{n}", line) for n, line in enumerate(content.split(b"\n"), 1) if line.strip()]
    assert found == [(5 + i, place, line) for i, (place, line) in enumerate(truth)]


@given(
    st.sampled_from(
        ["{a}", "{a} {b}", "{a}-{b}-{c}", "{a} {b}, {c}", "x{a}", "{a}{b}", "no field", "{a} {a}"]
    ),
    st.dictionaries(st.sampled_from("abc"), scalars),
)
def test_the_fast_rendering_is_the_template_s(template: str, record: dict[str, Any]) -> None:
    parsed = parse_template(template)
    assert compile_render(parsed)(record) == parsed.render(record)


def test_reading_ahead_keeps_order_and_hands_errors_on() -> None:
    def items() -> Any:
        yield from range(100)
        raise OSError("lost")

    ahead = read_ahead(items(), 3)
    assert [next(ahead) for _ in range(100)] == list(range(100))
    with pytest.raises(OSError, match="lost"):
        next(ahead)


def test_closing_a_reader_ends_its_thread() -> None:
    before = threading.active_count()
    ahead = read_ahead(iter(range(10**9)), 2)
    assert next(ahead) == 0
    ahead.close()
    assert threading.active_count() == before
