"""Pieces that all results are made of: rows of facts, tables, wrapped snippets, next commands."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from embedspec.cli.output import printable

if TYPE_CHECKING:
    from embedspec.results import ValidateResult


def facts(rows: Iterable[tuple[str, RenderableType | str]], *, indent: int = 2) -> Padding:
    """Names on the left, what is known on the right; long values fold under themselves."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in rows:
        grid.add_row(name, Text(printable(value)) if isinstance(value, str) else value)
    return Padding(grid, (0, 0, 0, indent), expand=False)


def numbers(rows: Sequence[Sequence[str]], header: Sequence[str]) -> Padding:
    """A small table of figures: the first column names them, the others are aligned right."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="dim", pad_edge=False)
    for place, title in enumerate(header):
        table.add_column(title, justify="right" if place else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    return Padding(table, (0, 0, 0, 2), expand=False)


def columns(rows: Sequence[Sequence[str]], header: Sequence[str], *, right: Iterable[str] = ()) -> Table:
    """A table of records; the columns named in `right` hold figures."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="dim", pad_edge=False)
    aligned = frozenset(right)
    for title in header:
        table.add_column(title, justify="right" if title in aligned else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table


def snippet(text: str, console: Console, *, width: int, lines: int) -> Text:
    """The beginning of a text, wrapped to `width` terminal cells and cut after `lines` lines."""
    # More than this cannot be shown; a document of megabytes is not wrapped to its end.
    flat = " ".join(printable(text[: 4 * width * lines]).split())
    wrapped = Text(flat).wrap(console, width - 2, overflow="fold")  # room for the ellipsis
    cut = len(wrapped) > lines or len(text) > 4 * width * lines
    shown = Text("\n").join(line.copy() for line in wrapped[:lines])
    shown.rstrip()
    if cut:
        shown.append(" …", style="dim")
    return shown


def near(path: Path | str) -> str:
    """A path as someone in this folder would type it."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith(os.pardir) else relative


def command(*words: str | Path) -> str:
    """An embedspec command line, quoted for a shell."""
    return shlex.join(["embedspec", *(near(word) if isinstance(word, Path) else word for word in words)])


def next_commands(*commands: str) -> Text:
    """What to type next. To be shown unfolded: a command that is folded cannot be copied."""
    lines = [
        Text.assemble(("Next: " if not place else "      ", "dim"), (printable(line), "bold"))
        for place, line in enumerate(commands)
    ]
    return Text("\n").join([Text(), *lines])


def valid_text(result: ValidateResult) -> RenderableType:
    """That a spec is valid, and which file it is."""
    return Text.assemble(
        (printable(result.spec), "bold"), ("  valid", "green"), f"  {printable(near(result.path))}"
    )
