"""The reference is the program's: keys, verbs, options and fields are those that there are, and no others."""

from __future__ import annotations

import importlib.util
import inspect
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer
from pages import ROOT, Shell, blocks_of, run_block
from pydantic import BaseModel

import embedspec
from embedspec import results
from embedspec.cli.app import app
from embedspec.cli.exits import PRECEDENCE, SOFT
from embedspec.errors import EmbedspecError

DOCS = ROOT / "docs"


def load_generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generate = load_generator()


@pytest.mark.parametrize("page", list(generate.PARTS))
def test_generated_parts_are_up_to_date(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    assert text == generate.generated(page, text), "run `python docs/generate.py`"


def test_every_verb_and_option_is_in_the_reference() -> None:
    text = (DOCS / "cli.md").read_text(encoding="utf-8")
    for verb, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        assert f"### `{verb}`" in text
        for parameter in command.params:
            for name in parameter.opts if parameter.param_type_name == "option" else [parameter.metavar]:
                assert f"`{name}" in text, f"{verb} {name}"


def test_every_key_of_the_spec_is_in_the_reference_with_its_price() -> None:
    text = (DOCS / "spec.md").read_text(encoding="utf-8")
    assert generate.spec_keys().keys() == generate.CHANGES.keys()
    for key in generate.spec_keys():
        assert f"| `{key}` |" in text


def test_exit_codes_are_those_of_the_program() -> None:
    text = (DOCS / "cli.md").read_text(encoding="utf-8")
    told = {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)}
    unused = {4, 5}
    assert told == set(PRECEDENCE) - unused
    order = ", ".join(str(code) for code in PRECEDENCE if code not in unused)
    assert f"the first of {order} that occurred" in text
    for code in SOFT - unused:
        assert str(code) in text.partition("--soft-exit 6,7,9` makes")[2].partition(".")[0]
    raised = {kind.code for kind in _subclasses(EmbedspecError)}
    assert raised <= told


def _subclasses(kind: type[EmbedspecError]) -> list[type[EmbedspecError]]:
    return [kind, *(deeper for sub in kind.__subclasses__() for deeper in _subclasses(sub))]


# --- JSON --------------------------------------------------------------------------------------------

TABLES: dict[str, list[type[BaseModel]]] = {
    "`plan`": [results.Plan],
    "`policy[]`": [results.PolicyVerdict],
    "`documents`": [results.Documents],
    "`chunks`": [results.Chunks],
    "`estimate`": [results.Estimate],
    "`reconcile`": [results.ReconcileResult],
    "`seconds`": [results.Seconds],
    "`query`": [results.QueryResult],
    "`hits[]`": [results.SearchHit],
    "`status`": [results.StatusResult],
    "`builds[]`": [results.BuildStatusInfo],
    "`lock`": [results.LockInfo],
    "`eval`": [results.EvalResult],
    "`promote`, `rollback`": [results.SwitchResult],
    "`gc`": [results.GcResult],
    "`validate`": [results.ValidateResult],
}
INNER = {results.QuerySeconds}
"""Told in the row of the field that holds it."""


def fields_of(model: type[BaseModel]) -> set[str]:
    return {info.alias or name for name, info in model.model_fields.items() if info.exclude is not True}


def tables_of(page: Path) -> dict[str, list[str]]:
    """Heading → names in the first column of its table."""
    found: dict[str, list[str]] = {}
    heading = ""
    for line in page.read_text(encoding="utf-8").splitlines():
        if title := re.match(r"#+ (.+)", line):
            heading = title[1]
        elif row := re.match(r"\| `([^`]+)` \|", line):
            found.setdefault(heading, []).append(row[1])
    return found


def test_json_tables_hold_the_fields_of_the_results() -> None:
    told = tables_of(DOCS / "json.md")
    assert told.keys() == TABLES.keys()
    for heading, (model,) in TABLES.items():
        names = fields_of(model)
        if model is results.ReconcileResult:  # told as what it has beyond a plan
            names -= fields_of(results.Plan)
        assert sorted(told[heading]) == sorted(names), heading
    all_models = {
        model
        for _, model in inspect.getmembers(results, inspect.isclass)
        if issubclass(model, results.Result) and model is not results.Result
    }
    assert all_models == {model for models in TABLES.values() for model in models} | INNER
    row = (DOCS / "json.md").read_text(encoding="utf-8").partition("`QueryResult`.")[2].partition("###")[0]
    for name in fields_of(results.QuerySeconds):
        assert f"`{name}`" in row


def test_json_of_the_commands_is_that_of_the_results(shell: Shell) -> None:
    """What the page's commands print are the objects that it describes, with nothing beside them."""
    for block in blocks_of(DOCS / "json.md"):
        run_block(block, shell)
    kinds = {
        "plan": results.Plan,
        "reconcile": results.ReconcileResult,
        "query": results.QueryResult,
        "status": results.StatusResult,
        "gc": results.GcResult,
        "validate": results.ValidateResult,
    }
    for name, kind in kinds.items():
        data: dict[str, Any] = json.loads((shell.folder / f"{name}.json").read_text())
        assert data.keys() == fields_of(kind), name
        assert kind.model_validate(data).dump() == data


# --- Python ------------------------------------------------------------------------------------------


def test_every_function_and_parameter_of_the_sdk_is_told() -> None:
    text = (DOCS / "sdk.md").read_text(encoding="utf-8")
    for name in embedspec.__all__:
        if name == "Spec":
            continue
        assert f"`{name}(" in text, name
        parameters = inspect.signature(getattr(embedspec, name)).parameters.values()
        call = " ".join(re.findall(rf"`{name}\(([^`]*)\)`", text))
        for parameter in parameters:
            if parameter.kind is parameter.KEYWORD_ONLY:
                assert f"{parameter.name}=" in call, f"{name} {parameter.name}"
