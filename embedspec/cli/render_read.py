"""What was read from an index, for people: status, hits of a query, metrics of an evaluation."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from embedspec.cli.output import printable
from embedspec.cli.quantities import count, duration, plural
from embedspec.cli.render import columns, facts, numbers, snippet

if TYPE_CHECKING:
    from embedspec.results import BuildStatusInfo, EvalResult, QueryResult, SearchHit, StatusResult

#: The table of builds needs this many columns; below, each build has its own lines.
_WIDE = 132
_SNIPPET_LINES = 3


def status_text(result: StatusResult, console: Console) -> RenderableType:
    """The builds of an index, which one is live, and who holds it."""
    rows: list[tuple[str, RenderableType | str]] = [("Live", result.live or "nothing yet")]
    if result.store:
        rows.append(("Store", result.store))
    if result.view:
        rows.append(("View", result.view))
    if result.lock:
        lock = result.lock
        state = "its holder is dead; the next run takes it over" if lock.dead else "at work"
        rows.append(
            (
                "Lock",
                f"{lock.owner} (pid {lock.pid} on {lock.host}) since {_minute(lock.acquired)}, {state}",
            )
        )
    if result.failed:
        rows.append(("Failed", Text(plural(result.failed, "dead letter"), style="yellow")))
    parts: list[RenderableType] = [Text(printable(result.spec), style="bold"), facts(rows)]
    if result.builds:
        parts += ["", _builds_wide(result) if console.width >= _WIDE else _builds_narrow(result)]
    parts += [
        Text.assemble((f"  {build.id}: ", "dim"), printable(build.reason))
        for build in result.builds
        if build.reason
    ]
    return Group(*parts)


def _minute(time: datetime) -> str:
    """In the reader's own time zone."""
    return f"{time.astimezone():%Y-%m-%d %H:%M}"


def _storage(build: BuildStatusInfo) -> str:
    return f"{build.dimension} × {build.quantization}, {build.metric}"


def _index(build: BuildStatusInfo) -> str:
    tuning = ", ".join(f"{key} {value}" for key, value in build.index.items() if key != "type")
    return f"{build.index.get('type', '')}" + (f" ({tuning})" if tuning else "")


def _rows_of(build: BuildStatusInfo) -> str:
    return count(build.rows) if build.rows is not None else "?"


def _builds_wide(result: StatusResult) -> RenderableType:
    header = ("build", "status", "rows", "vectors", "index", "model", "created")
    rows = [
        (b.id, b.status, _rows_of(b), _storage(b), _index(b), b.model, _minute(b.created))
        for b in result.builds
    ]
    return Padding(columns(rows, header, right=("rows",)), (0, 0, 0, 2), expand=False)


def _builds_narrow(result: StatusResult) -> RenderableType:
    return facts(
        (
            b.id,
            f"{b.status}, {_rows_of(b)} rows, {_minute(b.created)}\n{_storage(b)}, {_index(b)}\n{b.model}",
        )
        for b in result.builds
    )


def query_text(result: QueryResult, console: Console, *, width: int) -> RenderableType:
    """Hits with score, id, the beginning of the text and the metadata."""
    parts: list[RenderableType] = []
    for place, hit in enumerate(result.hits, start=1):
        parts += _hit(place, hit, console, width)
    spent = result.seconds
    parts.append(
        Text(
            f"{plural(len(result.hits), 'hit')} from {result.build} in {duration(spent.total)} "
            f"(load {duration(spent.load)}, embed {duration(spent.embed)}, search {duration(spent.search)})",
            style="dim",
        )
    )
    return Group(*parts)


def _hit(place: int, hit: SearchHit, console: Console, width: int) -> list[RenderableType]:
    name = hit.id if not hit.chunk else f"{hit.id} #{hit.chunk}"
    parts: list[RenderableType] = [
        Text.assemble((f"{place:>2}  ", "dim"), (f"{hit.score:.4f}", "cyan"), "  ", (printable(name), "bold"))
    ]
    inner = max(20, width - 4)
    parts.append(
        Padding(snippet(hit.text, console, width=inner, lines=_SNIPPET_LINES), (0, 0, 0, 4), expand=False)
    )
    if hit.metadata:
        shown = "  ".join(f"{key}={_plain(value)}" for key, value in hit.metadata.items())
        parts.append(Padding(Text(printable(shown), style="dim"), (0, 0, 0, 4), expand=False))
    parts.append("")
    return parts


def eval_text(result: EvalResult) -> RenderableType:
    """Metrics over the golden queries."""
    rows = [
        (name, f"{value:.4f}" if value is not None else "not applicable")
        for name, value in result.metrics.items()
    ]
    title = Text(
        f"{plural(result.queries, 'query').replace('querys', 'queries')} on {printable(result.build)}",
        style="bold",
    )
    if result.verdict:
        title.append(f"  {result.verdict}")
    return Group(title, "", numbers(rows, ("metric", "value")))


def _plain(value: object) -> str:
    """As `--filter` takes it: text as it is, everything else as JSON writes it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
