"""Every kind of mistake in a spec gives one error with the line, what is wrong, and the way out."""

# ruff: noqa: E501 (a table: one case a line)
from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from embedspec.errors import SpecError
from embedspec.spec.load import load_specs
from embedspec.spec.problems import SpecProblems

GOOD = """\
name: handbook
description: pages
model:
  use: sentence-transformers/all-MiniLM-L6-v2
  engine: auto
embedding:
  dimension: 384
  quantization: float32
  metric: cosine
corpus:
  source:
    type: jsonl
    path: c.jsonl
    id: id
  text: "{title} {text}"
  metadata: [lang, {year: integer}]
  chunking: none
target:
  store: pgvector
  url: embedded
policy:
  licenses: [mit]
  unknown: allow
evaluation:
  golden:
    queries: q.jsonl
    qrels: r.tsv
keep_builds: 2
"""


class Bad(NamedTuple):
    """One change to the good spec, and what the error must say."""

    name: str
    old: str
    new: str
    line: int
    what: str
    fix: str


CASES = [
    # keys
    Bad("unknown key", "description:", "descriptoin:", 2, "descriptoin: no such key", "description"),
    Bad("unknown nested key", "  metric:", "  metrics:", 9, "embedding.metrics: no such key", "metric?"),
    Bad("key of another part", "name: handbook", "name: handbook\ndimension: 8", 2, "dimension", "embedding.dimension"),
    Bad("key nobody has", "keep_builds: 2", "zzz: 2", 28, "zzz: no such key", "known here: name"),
    Bad("later key", "  engine: auto", "  train: {}", 5, "model.train: no such key", "does not have it yet"),
    Bad("later section", "keep_builds: 2", "environments: {}", 28, "environments: no such key", "does not have it yet"),
    Bad("later gates", "  golden:\n    queries: q.jsonl\n    qrels: r.tsv", "  gates: {}", 25, "gates", "not have it yet"),
    Bad("missing name", "name: handbook\n", "", 1, "name: is missing", "add it: The index's name"),
    Bad("missing use", "  use: sentence-transformers/all-MiniLM-L6-v2\n", "", 3, "model.use: is missing", "add it"),
    Bad("missing type", "    type: jsonl\n", "", 11, "corpus.source.type: is missing", "JSON object a line"),
    Bad("missing qrels", "    qrels: r.tsv\n", "", 25, "evaluation.golden.qrels: is missing", "Judgements"),
    Bad("missing store", "  store: pgvector\n", "", 18, "target: names no store", "store: pgvector"),
    # values
    Bad("name with capitals", "name: handbook", "name: My Book", 1, "must match [a-z][a-z0-9_-]{0,39}", "my-book"),
    Bad("name of digits", "name: handbook", 'name: "123"', 1, "got '123'", "small letter"),
    Bad("name too long", "name: handbook", "name: " + "a" * 41, 1, "must match", "a" * 40),
    Bad("name is a number", "name: handbook", "name: 12", 1, "name: must be text; got 12", 'quote it: "12"'),
    Bad("revision is a float", "  engine: auto", "  revision: 12e5", 5, "model.revision: must be text", "quote it"),
    Bad("use is a folder", "use: sentence-transformers/all-MiniLM-L6-v2", "use: ./m", 4, "'./m' looks like a folder", "path:./m"),
    Bad("use is s3", "use: sentence-transformers/all-MiniLM-L6-v2", "use: s3://b/m", 4, "is no model name", "hub id"),
    Bad("use is empty", "use: sentence-transformers/all-MiniLM-L6-v2", 'use: ""', 4, "model.use: must not be empty", "hub id"),
    Bad("package escapes", "use: sentence-transformers/all-MiniLM-L6-v2", 'use: "package:a b"', 4, "no Python package", "package:"),
    Bad("empty path use", "use: sentence-transformers/all-MiniLM-L6-v2", 'use: "path:"', 4, "names no folder", "path:./model"),
    Bad("later engine", "engine: auto", "engine: torch", 5, "must be auto or openvino; got 'torch'", "not have torch yet"),
    Bad("dimension 0", "dimension: 384", "dimension: 0", 7, "must be at least 1; got 0", "at least 1"),
    Bad("dimension text", "dimension: 384", 'dimension: "384"', 7, "whole number; got '384'", "without quotes"),
    Bad("dimension true", "dimension: 384", "dimension: true", 7, "whole number; got true", "digits"),
    Bad("dimension 1.5", "dimension: 384", "dimension: 1.5", 7, "whole number; got 1.5", "digits"),
    Bad("later quantization", "quantization: float32", "quantization: int8", 8, "got 'int8'", "does not have int8 yet"),
    Bad("synonym", "quantization: float32", "quantization: fp16", 8, "got 'fp16'", "did you mean float16?"),
    Bad("metric typo", "metric: cosine", "metric: cosin", 9, "must be cosine, dot or l2; got 'cosin'", "cosine?"),
    Bad("later source", "type: jsonl", "type: csv", 12, "corpus.source.type: must be jsonl", "does not have csv yet"),
    Bad("source is text", "  source:\n    type: jsonl\n    path: c.jsonl\n    id: id", "  source: c.jsonl", 11, "keys with values", "type, path, id"),
    Bad("no paths", "path: c.jsonl", "path: []", 13, "corpus.source.path: must not be empty", "file or pattern"),
    Bad("path is a URL", "path: c.jsonl", "path: s3://b/c.jsonl", 13, "is a URL", "data/*.jsonl.gz"),
    Bad("path in list", "path: c.jsonl", "path: [a, 3]", 13, "corpus.source.path[1]: must be text; got 3", 'quote it: "3"'),
    Bad("id path", "    id: id", "    id: a..b", 14, "empty part between its dots", "meta.year"),
    Bad("template open", '"{title} {text}"', '"{title"', 15, "opening brace without its end", "{{"),
    Bad("template closed", '"{title} {text}"', '"title}"', 15, "closing brace without a field", "}}"),
    Bad("template empty field", '"{title} {text}"', '"{}"', 15, "{} at character 1 is empty", "{title}"),
    Bad("template without field", '"{title} {text}"', '"title"', 15, "names no field", "{title} {text}"),
    Bad("metadata text", "[lang, {year: integer}]", "lang", 16, "corpus.metadata: must be a list; got 'lang'", "[lang]"),
    Bad("metadata type", "{year: integer}", "{year: int}", 16, "corpus.metadata[1]: must be keyword", "did you mean integer?"),
    Bad("metadata two keys", "{year: integer}", "{a: integer, b: float}", 16, "2 keys", "one field an entry"),
    Bad("metadata twice", "{year: integer}", "{lang: integer}", 16, "names 'lang' twice", "keep one"),
    Bad("metadata number", "{year: integer}", "2024", 16, "corpus.metadata[1]: must be text; got 2024", "quote it"),
    Bad("chunking later", "chunking: none", "chunking: {max_tokens: 3}", 17, "corpus.chunking: must be none", "none"),
    Bad("target is text", "target:\n  store: pgvector\n  url: embedded", "target: pgvector", 18, "target: must be keys", "store"),
    Bad("target without end", "url: embedded", "url: .inf", 20, "target.url: .inf is no number", "finite"),
    Bad("licence text", "licenses: [mit]", "licenses: mit", 22, "policy.licenses: must be a list", "[mit]"),
    Bad("no licences", "licenses: [mit]", "licenses: []", 22, "policy.licenses: must not be empty", "apache-2.0"),
    Bad("unknown rule", "unknown: allow", "unknown: ignore", 23, "must be error, warn or allow", "write error, warn or allow"),
    Bad("keep none", "keep_builds: 2", "keep_builds: 0", 28, "keep_builds: must be at least 1; got 0", "at least 1"),
    # YAML
    Bad("no value", "description: pages", "description:", 2, "description: has no value", "remove the key"),
    Bad("empty section", "  licenses: [mit]\n  unknown: allow\n", "", 21, "policy: has no value", "remove the key"),
    Bad("tab", "  store:", "\tstore:", 19, "a tab", "spaces"),
    Bad("word no", "description: pages", "description: no", 2, "'no' unquoted is false", 'quote it: "no"'),
    Bad("word on as key", "{year: integer}", "{on: integer}", 16, "'on' unquoted is true", 'quote it: "on"'),
    Bad("sixties", "description: pages", "description: 1:30", 2, "'1:30' unquoted is a number to the base 60", '"1:30"'),
    Bad("octal", "keep_builds: 2", "keep_builds: 02", 28, "octal", "drop the leading zero"),
    Bad("tag", "description: pages", "description: !!python/name:os.system x", 2, "tag !!python/name:os.system", "remove"),
    Bad("second document", "keep_builds: 2", "---\nkeep_builds: 2", 28, "a second document", "one spec a file"),
    Bad("unknown alias", "description: pages", "description: *pages", 2, "undefined alias 'pages'", "anchor"),
    Bad("colon in text", "description: pages", "description: pages: all", 2, "mapping values are not allowed", "quote"),
    Bad("unclosed list", "licenses: [mit]", "licenses: [mit", 23, "not YAML", "brackets"),
    Bad("number as key", "keep_builds: 2", "2: keep_builds", 28, "key 2 is not text", 'quote it: "2"'),
    Bad("list as key", "keep_builds: 2", "? [a]\n: 2", 28, "a key that is not text", "plain word"),
    Bad("control character", "description: pages", "description: \x07", 2, "control character U+0007", "remove"),
    Bad("merge of text", "embedding:", "embedding:\n  <<: cosine", 7, "`<<` takes an alias", "<<: *name"),
]  # fmt: skip


@pytest.mark.parametrize("bad", CASES, ids=[case.name for case in CASES])
def test_one_mistake_gives_one_clear_error(bad: Bad, tmp_path: Path) -> None:
    assert GOOD.count(bad.old) == 1, "the case must change exactly one place"
    file = tmp_path / "spec.yaml"
    file.write_text(GOOD.replace(bad.old, bad.new))
    with pytest.raises(SpecError) as caught:
        load_specs(file)
    error = caught.value
    assert isinstance(error, SpecProblems)
    assert len(error.problems) == 1, str(error)
    assert error.code == 1
    assert error.where == f"{file}:{bad.line}"
    assert bad.what in error.what
    assert "\n" not in error.what
    assert error.fix is not None
    assert bad.fix in error.fix


def test_the_good_spec_is_good(tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(GOOD)
    assert load_specs(file)[0].spec.name == "handbook"


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(
        GOOD.replace("keep_builds: 2", "keep_builds: 0")
        .replace("metric: cosine", "metric: cosin")
        .replace("name: handbook", "name: A")
    )
    with pytest.raises(SpecProblems) as caught:
        load_specs(file)
    assert [problem.where for problem in caught.value.problems] == [f"{file}:{n}" for n in (1, 9, 28)]
    assert str(caught.value).startswith(f"{file}:1: 3 things are wrong:\n  {file}:1: name: ")
    assert f"\n  {file}:28: keep_builds: must be at least 1; got 0; fix: write at least 1" in str(
        caught.value
    )


SECRET = "hunter2-s3cr3t"


@pytest.mark.parametrize(
    "target",
    [
        f"url: postgresql://me:{SECRET}@db/x",
        f"url: postgresql://me:p@s#{SECRET}/ö@db/x",
        f"url: 'host=db password={SECRET}'",
        f"url: postgresql://db/x?password={SECRET}",
        f"auth: {{username: me, password: {SECRET}}}",
        f"auth: {{api_key: {SECRET}}}",
        f"hosts: [{{token: {SECRET}}}]",
    ],
)
def test_a_secret_written_out_is_refused_and_never_shown(target: str, tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(GOOD.replace("url: embedded", target, 1))
    with pytest.raises(SpecError) as caught:
        load_specs(file)
    assert caught.value.where == f"{file}:20"
    assert "env:NAME" in str(caught.value.fix)
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value.as_json())


@pytest.mark.parametrize(
    "target", ["url: env:DATABASE_URL", "url: postgresql://me@db:5432/x", "auth: {password: env:PGPASSWORD}"]
)
def test_secrets_by_name_are_fine(target: str, tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(GOOD.replace("url: embedded", target, 1))
    assert load_specs(file)


@pytest.mark.parametrize(
    "change",
    [
        ("path: c.jsonl", f"path: https://me:{SECRET}@host/c.jsonl"),
        ("use: sentence-transformers/all-MiniLM-L6-v2", f"use: https://me:{SECRET}@host/m"),
        ("url: embedded", f"password: {SECRET}"),
        ("metric: cosine", f"metric: password={SECRET}"),
    ],
)
def test_a_secret_in_the_wrong_place_is_masked(change: tuple[str, str], tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(GOOD.replace(*change))
    with pytest.raises(SpecError) as caught:
        load_specs(file)
    assert SECRET not in str(caught.value)
