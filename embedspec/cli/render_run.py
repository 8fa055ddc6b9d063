"""Results of a run for people: reconcile against its plan, promote, rollback, gc."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from embedspec.cli import exits
from embedspec.cli.output import printable
from embedspec.cli.quantities import count, duration, percent, plural
from embedspec.cli.render import command, facts, near, next_commands, numbers
from embedspec.cli.render_plan import notes

if TYPE_CHECKING:
    from embedspec.results import GcResult, ReconcileResult, SwitchResult

_ENDINGS = {
    exits.DONE: "done",
    exits.STOPPED: "stopped",
    exits.HELD: "held",
    exits.INCONCLUSIVE: "held",
    exits.UNFINISHED: "done, but not for every record",
}
_STAGES = ("read", "embed", "write", "index")


def reconcile_text(result: ReconcileResult, *, said: Collection[str] = ()) -> RenderableType:
    """Plan against actual, where the time went, and what readers see now.

    `said`: warnings that the plan above has shown already.
    """
    warnings = [warning for warning in result.warnings if warning not in said]
    if result.empty and result.exit_code == 0:
        unchanged = plural(result.documents.unchanged, "document")
        return Group(
            Text.assemble(
                (printable(result.spec), "bold"), "  no changes", (f"  {unchanged} as they were", "dim")
            ),
            *_warnings(warnings),
        )
    said_so = _ENDINGS.get(result.exit_code, "not finished")
    title = Text.assemble(
        (printable(result.spec), "bold"),
        (f"  {said_so}", "bold green" if result.exit_code == exits.DONE else "bold yellow"),
        f" in {duration(result.seconds.total)}",
    )
    table: list[RenderableType] = []
    if not result.empty:
        table = ["", numbers(_against_plan(result), ("", "planned", "actual")), ""]
    return Group(title, *table, facts(_facts(result)), *_warnings(warnings))


def _warnings(warnings: Sequence[str]) -> list[RenderableType]:
    lines = [Text.assemble(("Warning: ", "bold yellow"), printable(warning)) for warning in warnings]
    return ["", *lines] if lines else []


def _against_plan(result: ReconcileResult) -> list[tuple[str, str, str]]:
    estimate_s = result.estimate.seconds
    rows = [
        ("texts embedded", count(result.chunks.embed), count(result.embedded)),
        ("texts reused", count(result.chunks.reused), count(result.cached)),
        ("tokens embedded", count(result.tokens), count(result.tokens_embedded)),
    ]
    if result.tokens or result.tokens_embedded:
        planned = duration(estimate_s) if estimate_s is not None else "unknown"
        rows.append(("time to embed", planned, duration(result.seconds.embed)))
    documents = result.documents
    if documents.added or documents.changed or result.written:
        rows.append(("rows written", "", count(result.written)))
    if documents.metadata_changed or result.patched:
        rows.append(("rows patched", "", count(result.patched)))
    if documents.deleted or result.deleted:
        rows.append(("rows deleted", "", count(result.deleted)))
    return rows


def _facts(result: ReconcileResult) -> list[tuple[str, RenderableType | str]]:
    spent = result.seconds
    rows: list[tuple[str, RenderableType | str]] = []
    stages = [(name, getattr(spent, name)) for name in _STAGES if getattr(spent, name)]
    if any(name != "read" for name, _ in stages):  # reading alone is no news
        rows.append(("Time", ", ".join(f"{name} {duration(seconds)}" for name, seconds in stages)))
    if result.busy and spent.total:
        # Stages overlap: which one was always at work is the one to make faster.
        rows.append(
            (
                "Busy",
                ", ".join(f"{name} {percent(busy_s / spent.total)}" for name, busy_s in result.busy.items()),
            )
        )
    rows.append(("Live", result.live or "nothing yet"))
    if result.build and result.build != result.live:
        rows.append(("Build", f"{result.build} (not live)"))
    if result.exit_code == exits.DONE and result.message and result.message != result.blocked:
        rows.append(("Note", result.message))
    rows += [("Note", note) for note in notes(result) if not note.endswith("cannot be processed")]
    if result.moved:
        rows.append(
            ("Moved", f"{plural(result.moved, 'record')} changed meanwhile; the next run takes them up")
        )
    if result.failed:
        where = f", listed in {near(result.dead_letters)}" if result.dead_letters else ""
        rows.append(("Failed", Text(f"{plural(result.failed, 'record')}{printable(where)}", style="yellow")))
    return [(name, value) for name, value in rows if value != ""]


def after_reconcile(result: ReconcileResult, spec: Path) -> Text:
    """What to type next."""
    if result.exit_code == exits.STOPPED:
        return next_commands(command("reconcile", spec))
    if result.exit_code in (exits.HELD, exits.INCONCLUSIVE):
        # Not by id: `build` is the one worked on, the live one; promote finds the wanted one.
        return next_commands(command("status", spec), command("promote", spec))
    if result.live is None or result.build not in (None, result.live):
        return next_commands(command("status", spec))
    return next_commands(command("query", spec, "your question"))


def switch_text(result: SwitchResult) -> RenderableType:
    """What readers were moved to by promote or rollback."""
    rows: list[tuple[str, RenderableType | str]] = [
        ("Live", result.live or "nothing"),
        ("Before", result.previous or "nothing"),
        ("Reason", result.reason),
    ]
    if result.view:
        rows.append(("View", result.view))
    rows += [("Note", notice) for notice in result.notices]
    word = "  switched" if result.live != result.previous else "  accepted"
    title = Text.assemble((printable(result.spec), "bold"), (word, "bold green"))
    return Group(title.append(f" in {duration(result.seconds)}"), facts(rows))


def gc_text(result: GcResult) -> RenderableType:
    """What gc dropped and what stays, with the reasons."""
    rows: list[tuple[str, RenderableType | str]] = [("Dropped", name) for name in result.dropped]
    rows += [("Kept", name) for name in result.kept]
    title = Text.assemble(
        (printable(result.spec), "bold"), f"  {plural(len(result.dropped), 'build')} dropped"
    )
    return Group(title, facts(rows)) if rows else title
