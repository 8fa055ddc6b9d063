"""Loading files and folders, Python specs, places of keys, the target, and the environment."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, model_validator

from embedspec.errors import SpecError
from embedspec.spec.env import home_of
from embedspec.spec.load import LoadedSpec, in_memory, load_specs, refuse_shared_names
from embedspec.spec.model import Spec
from embedspec.spec.problems import SpecProblems


def yaml_spec(name: str = "t", target: str = "{store: pgvector, url: embedded}") -> str:
    return (
        f"name: {name}\nmodel: {{use: org/name}}\n"
        "corpus:\n  source: {type: jsonl, path: [a.jsonl, b.txt]}\n  metadata: [lang, {meta.year: integer}]\n"
        f"target:\n  {target}\n"
    )


PYTHON = """\
from embedspec.spec.model import Spec

def make(name):
    return Spec(name=name, model={"use": "org/name"},
                corpus={"source": {"type": "jsonl", "path": "a.jsonl"}}, target={"store": "memory"})
"""


def write(file: Path, text: str) -> Path:
    file.write_text(text)
    return file


def names(loaded: list[LoadedSpec]) -> list[str]:
    return [item.spec.name for item in loaded]


# --- files and folders --------------------------------------------------------------------------------


def test_a_folder_gives_its_yaml_files_in_order_and_nothing_below(tmp_path: Path) -> None:
    write(tmp_path / "b.yml", yaml_spec("second"))
    write(tmp_path / "a.yaml", yaml_spec("first"))
    for name in (
        ".hidden.yaml",
        "embedspec.lock",
        "embedspec.schema.json",
        "corpus.jsonl",
        "notes.md",
        "c.py",
    ):
        write(tmp_path / name, "not: [a spec")
    (tmp_path / "below").mkdir()
    write(tmp_path / "below" / "c.yaml", yaml_spec("third"))
    loaded = load_specs(tmp_path)
    assert names(loaded) == ["first", "second"]
    assert [item.path for item in loaded] == [tmp_path / "a.yaml", tmp_path / "b.yml"]
    assert all(item.base == tmp_path for item in loaded)


def test_a_folder_that_ends_in_yaml_is_not_skipped_silently(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", yaml_spec())
    (tmp_path / "x.yaml").mkdir()
    with pytest.raises(SpecError, match="cannot be read") as caught:
        load_specs(tmp_path)
    assert caught.value.where == str(tmp_path / "x.yaml")


def test_all_files_of_a_folder_are_checked_at_once(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", yaml_spec("A"))
    write(tmp_path / "b.yaml", "name: no\n")
    write(tmp_path / "c.yaml", yaml_spec("good"))
    with pytest.raises(SpecProblems) as caught:
        load_specs(tmp_path)
    assert [p.where for p in caught.value.problems] == [f"{tmp_path}/a.yaml:1", f"{tmp_path}/b.yaml:1"]


def test_two_names_that_fall_together_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", yaml_spec("my-book"))
    write(tmp_path / "b.yaml", "# one line more\n" + yaml_spec("my_book"))
    with pytest.raises(SpecError, match=r"'my-book' \(.*a.yaml:1\) and 'my_book'") as caught:
        load_specs(tmp_path)
    assert caught.value.where == f"{tmp_path}/b.yaml:2"
    write(tmp_path / "b.yaml", yaml_spec("mybook"))
    assert names(load_specs(tmp_path)) == ["my-book", "mybook"]
    one = load_specs(tmp_path / "a.yaml")[0]
    refuse_shared_names([one, one])


def test_a_very_long_word_takes_no_quadratic_time(tmp_path: Path) -> None:
    """Looking for passwords in it once took its length squared: many minutes for this one."""
    write(tmp_path / "a.yaml", yaml_spec() + f"description: {'x' * 1_000_000}\n")
    assert len(load_specs(tmp_path)[0].spec.description or "") == 1_000_000
    write(tmp_path / "a.yaml", yaml_spec() + f"describe: {'x' * 1_000_000}\n")
    with pytest.raises(SpecError, match="describe"):
        load_specs(tmp_path)


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no spec in this folder"):
        load_specs(tmp_path)


def test_a_file_that_is_not_there_names_the_one_meant(tmp_path: Path) -> None:
    write(tmp_path / "handbook.yaml", yaml_spec())
    with pytest.raises(SpecError, match="does not exist") as caught:
        load_specs(tmp_path / "handbok.yaml")
    assert str(tmp_path / "handbook.yaml") in str(caught.value.fix)
    with pytest.raises(SpecError, match="does not exist"):
        load_specs(tmp_path / "no" / "such")
    assert "corpus.jsonl" not in str(caught.value)


@pytest.mark.parametrize("name", ["spec.toml", "spec"])
def test_other_kinds_of_files(name: str, tmp_path: Path) -> None:
    write(tmp_path / name, yaml_spec())
    with pytest.raises(SpecError, match=r"ends in \.yaml, \.yml, \.json or \.py"):
        load_specs(tmp_path / name)


@pytest.mark.parametrize("text", ["- a\n- b\n", "just text\n", "12\n"])
def test_yaml_that_is_no_spec(text: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="is no spec: it must be keys with values"):
        load_specs(write(tmp_path / "a.yaml", text))


def test_json_with_tabs(tmp_path: Path) -> None:
    spec = {
        "name": "t",
        "model": {"use": "org/name"},
        "corpus": {"source": {"type": "jsonl", "path": "a"}, "text": "{a}\t\u00e4 😀"},
        "target": {"store": "memory"},
    }
    file = write(tmp_path / "a.json", json.dumps(spec, indent="\t"))
    loaded = load_specs(file)[0]
    assert loaded.spec.corpus.text == "{a}\t\u00e4 😀"
    assert loaded.where("corpus.source.path") == f"{file}:9"


def test_a_relative_path_stays_as_it_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.yaml", yaml_spec())
    monkeypatch.chdir(tmp_path)
    loaded = load_specs("a.yaml")[0]
    assert loaded.where("name") == "a.yaml:1"
    assert loaded.base == tmp_path


# --- places and errors ----------------------------------------------------------------------------------


def test_where_finds_keys_entries_and_what_is_around(tmp_path: Path) -> None:
    file = write(tmp_path / "a.yaml", yaml_spec())
    loaded = load_specs(file)[0]
    for path, line in {
        "": 1,
        "name": 1,
        "corpus": 3,
        "corpus.source.path": 4,
        "corpus.source.path[1]": 4,
        "corpus.source.path.1": 4,
        "corpus.metadata[1].meta.year": 5,
        "corpus.text": 3,
        "embedding.dimension": 1,
        "target.search.ef_search": 6,
    }.items():
        assert loaded.where(path) == f"{file}:{line}", path
    error = loaded.error("target.url", "target.url is down", "start it")
    assert str(error) == f"{file}:7: target.url is down\n  fix: start it"
    assert in_memory(loaded.spec).where("name") == "Spec 't'"


class Hnsw(BaseModel):
    model_config = ConfigDict(extra="forbid")
    type: Literal["hnsw"] = "hnsw"
    m: int = Field(default=16, ge=2, le=100, description="links per node")

    @model_validator(mode="after")
    def _even(self) -> Hnsw:
        if self.m % 2:
            raise ValueError(f"m {self.m} must be even")
        return self


class Exact(BaseModel):
    model_config = ConfigDict(extra="forbid")
    type: Literal["exact"]


class Target(BaseModel):
    """What a store's own model may look like: a union by type, an alias, a refusal of its own."""

    model_config = ConfigDict(extra="forbid")
    store: str
    url: str = Field(description="where the server is")
    schema_name: str = Field(default="public", alias="schema", min_length=1)
    index: Hnsw | Exact = Field(default=Hnsw(), discriminator="type")

    @model_validator(mode="after")
    def _reachable(self) -> Target:
        if self.url == "nowhere":
            raise SpecError("target.url names no server", fix="name one")
        return self


@pytest.mark.parametrize(
    ("target", "line", "what", "fix"),
    [
        ("{store: x}", 6, "target.url: is missing", "add it: where the server is"),
        ("store: x\n  url: u\n  indx: {}", 9, "target.indx: no such key", "did you mean index?"),
        ("store: x\n  url: u\n  shema: a", 9, "target.shema: no such key", "did you mean schema?"),
        ("store: x\n  url: u\n  schema: ''", 9, "target.schema: must not be empty", ""),
        (
            "store: x\n  url: u\n  index: {type: hnsww}",
            9,
            "type must be hnsw or exact; got 'hnsww'",
            "did you mean hnsw?",
        ),
        ("store: x\n  url: u\n  index: {m: 4}", 9, "target.index: key 'type' is missing", "add `type`"),
        (
            "store: x\n  url: u\n  index:\n    type: hnsw\n    m: 101",
            11,
            "target.index.m: must be at most 100; got 101",
            "links per node",
        ),
        ("store: x\n  url: u\n  index: {type: hnsw, m: 3}", 9, "target.index: m 3 must be even", ""),
        (
            "store: x\n  url: u\n  index: {type: exact, m: 4}",
            9,
            "target.index.m: no such key",
            "known here: type",
        ),
        ("store: x\n  url: nowhere", 8, "target.url names no server", "name one"),
    ],
)
def test_a_target_refused_by_the_stores_own_model(
    target: str, line: int, what: str, fix: str, tmp_path: Path
) -> None:
    file = write(tmp_path / "a.yaml", yaml_spec(target=target))
    with pytest.raises(SpecError) as caught:
        load_specs(file)[0].target_as(Target)
    assert caught.value.where == f"{file}:{line}"
    assert what in caught.value.what
    assert fix in str(caught.value.fix)
    assert "\n" not in caught.value.what


def test_a_target_read_by_the_stores_own_model(tmp_path: Path) -> None:
    file = write(tmp_path / "a.yaml", yaml_spec(target="{store: x, url: u, schema: s, index: {type: exact}}"))
    target = load_specs(file)[0].target_as(Target)
    assert (target.schema_name, target.index) == ("s", Exact(type="exact"))


def test_a_target_made_in_python_has_no_file_but_the_keys() -> None:
    spec = Spec(
        name="t",
        model={"use": "org/name"},
        corpus={"source": {"type": "jsonl", "path": "a"}},
        target={"store": "x", "url": "u", "index": {"type": "hnsw", "m": 1}},
    )
    with pytest.raises(SpecError) as caught:
        in_memory(spec).target_as(Target)
    assert caught.value.where == "Spec 't'"
    assert ".m: must be at least 2; got 1" in caught.value.what


# --- Python specs ---------------------------------------------------------------------------------------


def test_a_python_file_exposes_one_spec_or_several(tmp_path: Path) -> None:
    file = write(tmp_path / "a.py", PYTHON + "spec = make('one')\n")
    assert names(load_specs(file)) == ["one"]
    assert load_specs(file)[0].base == tmp_path
    file = write(tmp_path / "b.py", PYTHON + "specs = [make(n) for n in ('one', 'two')]\n")
    assert names(load_specs(file)) == ["one", "two"]


def test_no_python_refuses_to_run_it(tmp_path: Path) -> None:
    file = write(tmp_path / "a.py", PYTHON + f"open({str(tmp_path / 'ran')!r}, 'w')\nspec = make('one')\n")
    with pytest.raises(SpecError, match="--no-python") as caught:
        load_specs(file, allow_python=False)
    assert caught.value.code == 1
    assert not (tmp_path / "ran").exists()


def test_what_a_python_file_prints_is_kept_off_stdout(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    load_specs(write(tmp_path / "a.py", PYTHON + "print('hello')\nspec = make('one')\n"))
    out, err = capsys.readouterr()
    assert (out, err) == ("", "hello\n")


def test_a_python_file_may_import_its_neighbours_and_define_classes(tmp_path: Path) -> None:
    write(tmp_path / "neighbour_of_a_spec.py", "NAME = 'neighbour'\n")
    text = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "from typing import ClassVar\nimport neighbour_of_a_spec\n"
        + PYTHON
        + "@dataclass\nclass Settings:\n    kind: ClassVar[str] = 'x'\n    name: str\n"
        "spec = make(Settings(neighbour_of_a_spec.NAME).name)\n"
    )
    before = list(sys.path)
    assert names(load_specs(write(tmp_path / "a.py", text))) == ["neighbour"]
    assert sys.path == before
    assert not list(tmp_path.glob("__pycache__/a.*"))


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("x = 1\n", None, "exposes neither `spec` nor `specs`"),
        ("spec = specs = None\n", None, "exposes both"),
        ("spec = {'name': 't'}\n", None, "holds a dict, not a Spec"),
        ("specs = []\n", None, "`specs` is empty"),
        ("specs = 12\n", None, "TypeError"),
        ("x = 1\nspec = (\n", 2, "SyntaxError"),
        ("import no_such_module_at_all\n", 1, "ModuleNotFoundError: No module named 'no_such_module_at_all'"),
        ("def f():\n    return 1 / 0\n\nspec = f()\n", 2, "ZeroDivisionError"),
        ("raise SystemExit('enough')\n", 1, "SystemExit: enough"),
        ("raise RuntimeError('postgresql://me:hunter2@db')\n", 1, "postgresql://me:***@db"),
        (
            "import pydantic\nclass M(pydantic.BaseModel):\n    a: int\nspec = M(a='x')\n",
            4,
            "ValidationError",
        ),
        (PYTHON + "spec = make('Not a name')\n", 4, "name: must match"),
        (
            PYTHON + "from embedspec.spec.model import Model\nModel(use='./m')\n",
            7,
            "use: './m' looks like a folder",
        ),
        ("\x00", None, "null bytes"),
    ],
)
def test_a_python_file_that_fails(text: str, line: int | None, what: str, tmp_path: Path) -> None:
    file = write(tmp_path / "a.py", text)
    with pytest.raises(SpecError) as caught:
        load_specs(file)
    assert what in caught.value.what
    assert caught.value.where == (f"{file}:{line}" if line else str(file))
    assert caught.value.fix


# --- the environment --------------------------------------------------------------------------------------


def test_home_lies_beside_the_spec_or_where_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load_specs(write(tmp_path / "a.yaml", yaml_spec()))[0]
    monkeypatch.delenv("EMBEDSPEC_HOME", raising=False)
    assert home_of(loaded) == tmp_path / ".embedspec"
    monkeypatch.setenv("EMBEDSPEC_HOME", "")
    assert home_of(loaded) == tmp_path / ".embedspec"
    monkeypatch.setenv("EMBEDSPEC_HOME", str(tmp_path / "caches"))
    assert home_of(loaded) == tmp_path / "caches"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EMBEDSPEC_HOME", "relative")
    assert home_of(loaded) == tmp_path / "relative"
    assert [file.name for file in tmp_path.iterdir()] == ["a.yaml"], "asking for the folder makes nothing"
