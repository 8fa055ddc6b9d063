"""A plan for people: class and reasons, documents, cost with its basis, policy, warnings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.text import Text

from embedspec.cli.output import printable
from embedspec.cli.quantities import count, duration, plural, size
from embedspec.cli.render import facts
from embedspec.types import ChangeClass

if TYPE_CHECKING:
    from embedspec.results import Plan, PolicyVerdict

_CLASS_STYLE = {
    ChangeClass.rebuild: "bold magenta",
    ChangeClass.create: "bold green",
    ChangeClass.derive: "bold cyan",
    ChangeClass.reindex: "bold cyan",
    ChangeClass.repoint: "bold cyan",
    ChangeClass.delete: "bold red",
    ChangeClass.upsert: "bold yellow",
    ChangeClass.patch: "bold yellow",
    ChangeClass.none: "bold",
}

#: What each class means, in the words of a person who has not read the manual.
MEANING = {
    ChangeClass.rebuild: "the vectors change: a new build beside the live one, then the switch",
    ChangeClass.create: "the first build of this index",
    ChangeClass.derive: "a new build computed from vectors at hand",
    ChangeClass.reindex: "the same vectors under another index",
    ChangeClass.repoint: "readers are pointed elsewhere; nothing is built",
    ChangeClass.delete: "content only, with deletes",
    ChangeClass.upsert: "content only",
    ChangeClass.patch: "metadata only; nothing is embedded",
    ChangeClass.none: "nothing to do",
}

_VERDICT_STYLE = {"pass": "green", "fail": "bold red", "unknown": "yellow"}


def plan_text(plan: Plan, console: Console) -> RenderableType:
    """The whole plan, without the commands to type next."""
    parts: list[RenderableType] = [_title(plan)]
    parts += [Text.assemble(("  · ", "dim"), printable(reason)) for reason in plan.reasons]
    parts.append("")
    rows = _rows(plan, console)
    if rows:
        parts.append(facts(rows))
    parts += [
        Text.assemble(("\n" if not place else "", ""), ("Warning: ", "bold yellow"), printable(warning))
        for place, warning in enumerate(plan.warnings)
    ]
    parts.append(_summary(plan))
    return Group(*parts)


def _title(plan: Plan) -> Text:
    kind = plan.class_
    return Text.assemble(
        (printable(plan.spec), "bold"),
        "  ",
        ("no changes" if plan.empty else str(kind), _CLASS_STYLE[kind]),
        ("" if plan.empty else f"  {MEANING[kind]}", "dim"),
    )


def _rows(plan: Plan, console: Console) -> list[tuple[str, RenderableType | str]]:
    rows: list[tuple[str, RenderableType | str]] = []
    if documents := document_lines(plan, utf8=console.encoding.lower().startswith("utf")):
        rows.append(("Documents", Text("\n").join(documents)))
    if not plan.empty:
        rows.append(
            (
                "Chunks",
                f"{count(plan.chunks.embed)} to embed, {count(plan.chunks.reused)} reused without embedding",
            )
        )
        rows += [(name, value) for name, value in cost_lines(plan)]
    if plan.live:
        rows.append(("Live", plan.live))
    if plan.build not in (None, plan.live):
        rows.append(("Build", plan.build or ""))
    if plan.policy:
        rows.append(("Policy", Text("\n").join(_verdict(verdict) for verdict in plan.policy)))
    rows += [("Note", note) for note in notes(plan)]
    return rows


def document_lines(plan: Plan, *, utf8: bool = True) -> list[Text]:
    """One line per kind of document that occurs, with the sign and colour of a diff."""
    documents = plan.documents
    kinds = [
        ("+", "green", documents.added, "added"),
        ("~", "yellow", documents.changed, "changed"),
        ("~", "yellow", documents.metadata_changed, "metadata changed"),
        ("-", "red", documents.deleted, "deleted"),
        (" ", "", documents.unchanged, "unchanged"),
        (" ", "", documents.empty, "empty, without a row"),
        ("!", "yellow", documents.truncated, "cut to the model's window"),
    ]
    shown = [kind for kind in kinds if kind[2]]
    width = max((len(count(number)) for _, _, number, _ in shown), default=0)
    minus = "−" if utf8 else "-"
    return [
        Text(f"{minus if sign == '-' else sign} {count(number):>{width}} {what}", style=style)
        for sign, style, number, what in shown
    ]


def cost_lines(plan: Plan) -> list[tuple[str, str]]:
    """What the plan costs: (name, amount with how it was worked out)."""
    estimate = plan.estimate
    counted = "counted exactly" if estimate.tokens == "exact" else f"estimated from a {estimate.tokens}"
    lines = [("Tokens", f"{count(plan.tokens)} to embed ({counted})")]
    if plan.tokens:
        time = f"about {duration(estimate.seconds)}" if estimate.seconds is not None else "unknown"
        basis = estimate.seconds_basis.removeprefix("unknown").removeprefix(": ")
        lines.append(("Time", time + (f" ({basis})" if basis else "")))
    store = [
        f"{size(amount)} {what}"
        for amount, what in (
            (estimate.table_bytes, "table"),
            (estimate.index_bytes, "index"),
            (estimate.build_memory_bytes, "memory to build it"),
        )
        if amount
    ]
    if store:
        lines.append(
            ("Store", ", ".join(store) + (f" ({estimate.store_basis})" if estimate.store_basis else ""))
        )
    return lines


def notes(plan: Plan) -> list[str]:
    """What keeps the plan from doing all that was asked."""
    lines = []
    if plan.blocked:
        lines.append(f"readers stay where they are: {plan.blocked}")
    if not plan.complete:
        lines.append("the source was not read completely: nothing is deleted")
    if plan.failed:
        lines.append(f"{plural(plan.failed, 'record')} cannot be processed")
    return lines


def _verdict(verdict: PolicyVerdict) -> Text:
    style = _VERDICT_STYLE.get(verdict.verdict, "")
    return Text.assemble(
        (verdict.verdict, style),
        f" {verdict.rule}: {printable(verdict.reason)} ",
        (f"({printable(verdict.source)})", "dim"),
    )


def summary(plan: Plan) -> str:
    """One sentence: `Plan: 12 added, 3 deleted; 4,100 tokens to embed.`"""
    if plan.empty and (plan.blocked or plan.failed or not plan.complete):
        return "No changes, though the index is not all that the spec asks for."
    if plan.empty:
        return "No changes: the index is what the spec says."
    documents = plan.documents
    amounts = [
        f"{count(number)} {what}"
        for number, what in (
            (documents.added, "added"),
            (documents.changed, "changed"),
            (documents.metadata_changed, "metadata changed"),
            (documents.deleted, "deleted"),
        )
        if number
    ]
    tokens = f"{count(plan.tokens)} tokens to embed" if plan.tokens else "nothing to embed"
    return f"Plan: {plan.class_}; {', '.join(amounts) or 'no document changes'}; {tokens}."


def _summary(plan: Plan) -> Text:
    return Text("\n" + summary(plan), style="bold")
