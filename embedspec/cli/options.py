"""Arguments and options of the verbs, each with its help, and the ones that every verb has."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from embedspec.cli import exits
from embedspec.cli.quantities import parse_duration_s


def _duration(text: str | float) -> float:
    if isinstance(text, float):
        return text
    try:
        return parse_duration_s(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def positive(text: str | int) -> int:
    """A whole number of at least 1, for `parser=`: the message names what was given."""
    if isinstance(text, int):
        return text
    if not re.fullmatch(r"\d{1,18}", text) or int(text) < 1:
        raise typer.BadParameter(f"{text!r} is not a whole number of at least 1")
    return int(text)


def _soft_codes(text: str) -> frozenset[int]:
    allowed = ", ".join(str(code) for code in sorted(exits.SOFT))
    codes = set()
    for part in text.split(","):
        if not re.fullmatch(r"\s*\d{1,3}\s*", part) or int(part) not in exits.SOFT:
            raise typer.BadParameter(
                f"{part.strip()!r} is not one of the codes that may be softened: {allowed}"
            )
        codes.add(int(part))
    return frozenset(codes)


Specs = Annotated[
    list[Path],
    typer.Argument(
        metavar="SPEC", help="Spec files, or folders (their *.yaml and *.yml).", show_default=False
    ),
]
OneSpec = Annotated[
    Path,
    typer.Argument(metavar="SPEC", help="A spec file, or a folder that holds one.", show_default=False),
]
Build = Annotated[
    str | None,
    typer.Argument(metavar="BUILD", help="Id of the build, as `status` shows it.", show_default=False),
]
LockTimeout = Annotated[
    float,
    typer.Option(
        "--lock-timeout",
        metavar="T",
        parser=_duration,
        help="How long to wait while another run holds the index: seconds, or 90s, 5m, 2h.",
        show_default="0",
    ),
]
MaxSeconds = Annotated[
    float | None,
    typer.Option(
        "--max-seconds",
        metavar="T",
        parser=_duration,
        help="Stop after this time with exit code 7; the next run goes on. Seconds, or 90s, 5m, 2h.",
        show_default=False,
    ),
]
Grace = Annotated[
    float | None,
    typer.Option(
        "--grace",
        metavar="T",
        parser=_duration,
        help="Keep builds that readers left less than this ago: seconds, or 90s, 10m, 2h.",
        show_default="10m",
    ),
]
SoftExit = Annotated[
    # typer cannot spell frozenset; the parser makes it one.
    Any,
    typer.Option(
        "--soft-exit",
        metavar="CODES",
        parser=_soft_codes,
        help="Exit with 0 instead of these codes, e.g. 6,7,9, for schedulers that know only 0.",
        show_default=False,
    ),
]


@dataclass(frozen=True, slots=True)
class Common:
    """What every verb takes."""

    json: bool
    no_python: bool
    verbose: int
    quiet: bool


_PANEL = "Every verb"
_COMMON = {
    "json": (
        Annotated[
            bool,
            typer.Option("--json", help="Print one JSON object on standard output.", rich_help_panel=_PANEL),
        ],
        False,
    ),
    "no_python": (
        Annotated[
            bool,
            typer.Option("--no-python", help="Refuse specs that are Python code.", rich_help_panel=_PANEL),
        ],
        False,
    ),
    "verbose": (
        Annotated[
            int,
            typer.Option(
                "--verbose",
                "-v",
                count=True,
                metavar="",
                help="Log to standard error; twice for details. Unexpected errors show their traceback.",
                show_default=False,
                rich_help_panel=_PANEL,
            ),
        ],
        0,
    ),
    "quiet": (
        Annotated[
            bool,
            typer.Option("--quiet", "-q", help="No progress on standard error.", rich_help_panel=_PANEL),
        ],
        False,
    ),
}


#: As they are typed.
COMMON_OPTIONS = frozenset({"--json", "--no-python", "--verbose", "-v", "--quiet", "-q"})


def with_common(verb: Callable[..., int]) -> Callable[..., int]:
    """Add the options that every verb has to a function whose first parameter is `common`."""
    signature = inspect.signature(verb, eval_str=True)
    own = [p for name, p in signature.parameters.items() if name != "common"]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in _COMMON.items()
    ]

    @wraps(verb)
    def run(**arguments: Any) -> int:
        common = Common(**{f.name: arguments.pop(f.name) for f in fields(Common)})
        return verb(common, **arguments)

    run.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in (*own, *added)}
    del run.__wrapped__
    return run
