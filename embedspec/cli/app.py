"""The typer app: its verbs, and the boundary for errors of the command line itself (code 64)."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from embedspec import __version__
from embedspec.cli import exits, verbs_build, verbs_change, verbs_read, verbs_spec
from embedspec.cli.exits import Outcome
from embedspec.cli.options import COMMON_OPTIONS, Common
from embedspec.cli.session import Session, run_verb
from embedspec.errors import UsageError

app = typer.Typer(
    name="embedspec",
    help="Declared embeddings: plan, price and reconcile vector indexes from a spec in your repository.",
    epilog="Start with: embedspec init",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"embedspec {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    pass


#: In the order of a first day: this is the order of `--help`.
VERBS = {
    **{name: verbs_spec.VERBS[name] for name in ("init", "validate")},
    **verbs_change.VERBS,
    **verbs_read.VERBS,
    **verbs_build.VERBS,
    "schema": verbs_spec.VERBS["schema"],
}
for name, verb in VERBS.items():
    app.command(name)(verb)


def run(arguments: Sequence[str]) -> int:
    """Run one command line. Returns the exit code."""
    try:
        code = app(args=list(arguments) or ["--help"], prog_name="embedspec", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        # Help for a reader that went away. What is buffered must not fail once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return exits.DONE
    except typer.Exit as end:
        return end.exit_code
    except typer.Abort:
        return exits.INTERRUPTED
    except Exception as error:
        # typer carries its own copy of click's exceptions, or imports click's, by its version;
        # what both have is this method.
        if not hasattr(error, "format_message"):
            raise
        return _refuse(error, arguments)
    return code if isinstance(code, int) else exits.DONE


def _refuse(error: Exception, arguments: Sequence[str]) -> int:
    """Report what is wrong with the command line, as JSON if it asked for that."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "embedspec"
    meant = getattr(error, "possibilities", None)
    what = error.message if meant is not None else error.format_message()  # type: ignore[attr-defined]
    option = getattr(error, "option_name", None)
    if context is not None and context.parent is None and option in COMMON_OPTIONS:
        fix = f"options stand after the verb: embedspec VERB SPEC {option}"
    elif meant:
        fix = f"did you mean {' or '.join(meant)}?"
    elif "unexpected extra argument" in what:
        fix = f"put a text with spaces in quotes; see {command} --help"
    else:
        fix = f"see {command} --help"
    before_texts = arguments[: arguments.index("--")] if "--" in arguments else arguments
    common = Common(json="--json" in before_texts, no_python=False, verbose=0, quiet=False)

    def refuse(_: Session) -> Outcome:
        raise UsageError(what.strip().rstrip("."), where=command, fix=fix)

    return run_verb(common, refuse)
