"""Help is there for every verb, argument and option, and says no more than what works."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import typer
from cli_process import Ended

from embedspec.cli.app import VERBS, app
from embedspec.cli.options import COMMON_OPTIONS

COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]

OPTIONS = {
    "init": set(),
    "validate": set(),
    "plan": {"--out", "--markdown", "--detailed-exitcode", "--probe"},
    "reconcile": {
        "--plan",
        "--yes",
        "-y",
        "--limit",
        "--allow-mass-delete",
        "--lock-timeout",
        "--upgrade",
        "--locked",
        "--budget-tokens",
        "--max-seconds",
        "--soft-exit",
    },
    "status": set(),
    "query": {"-k", "--filter"},
    "eval": {"--run"},
    "promote": {"--force", "--reason", "--lock-timeout"},
    "rollback": {"--lock-timeout"},
    "gc": {"--grace", "--lock-timeout"},
    "schema": set(),
}


def test_the_verbs_and_their_options_are_the_promised_ones() -> None:
    assert list(VERBS) == list(OPTIONS) == list(COMMANDS)
    for verb, command in COMMANDS.items():
        options = {name for p in command.params for name in (*p.opts, *p.secondary_opts) if name[0] == "-"}
        assert options - {"--help", "-h"} == OPTIONS[verb] | COMMON_OPTIONS, verb


@pytest.mark.parametrize("verb", list(OPTIONS))
def test_everything_has_help(verb: str) -> None:
    command = COMMANDS[verb]
    assert (command.help or "").strip().endswith("."), verb
    for parameter in command.params:
        text = parameter.help or ""
        assert len(text) > 10 and text.strip().endswith((".", ")")), f"{verb} {parameter.name}: {text!r}"  # noqa: PT018


@pytest.mark.parametrize("columns", ["80", "120"])
def test_help_fits_and_names_each_option(columns: str, embedspec: Callable[..., Ended]) -> None:
    for verb, options in OPTIONS.items():
        done = embedspec(verb, "--help", env={"COLUMNS": columns})
        assert done.code == 0
        assert done.err == ""
        assert "\x1b" not in done.out
        assert all(option in done.out for option in options | COMMON_OPTIONS)
        assert max(map(len, done.out.splitlines())) <= int(columns)
