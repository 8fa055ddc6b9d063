"""A plan as a comment on a pull request: short first, the details folded."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from embedspec.cli.output import printable
from embedspec.cli.quantities import count
from embedspec.cli.render_plan import MEANING, cost_lines, notes, summary

if TYPE_CHECKING:
    from embedspec.results import Plan

#: GitHub refuses comments of more than 65,536 characters; several specs may share one.
MAX_CHARACTERS = 60_000
_LIST_LIMIT = 50

_SPECIAL = re.compile(r"([\\`*_\[\]<>|~#@])")


def plan_comment(plan: Plan) -> str:
    """GitHub-flavoured markdown, at most `MAX_CHARACTERS` long, ending in a newline."""
    lines = [f"### embedspec: {_escape(plan.spec)}: `{plan.class_}`", "", f"**{_escape(summary(plan))}**", ""]
    lines += _warnings(plan)
    if not plan.empty:
        lines += _documents(plan)
        lines += [
            "<details><summary>Reasons and cost</summary>",
            "",
            _escape(MEANING[plan.class_].capitalize()) + ".",
            "",
        ]
        lines += [f"- {_escape(reason)}" for reason in plan.reasons[:_LIST_LIMIT]]
        lines += ["", "| | |", "|---|---|"]
        lines.append(f"| Chunks | {count(plan.chunks.embed)} to embed, {count(plan.chunks.reused)} reused |")
        lines += [f"| {name} | {_escape(value)} |" for name, value in cost_lines(plan)]
        lines += ["", "</details>", ""]
    lines += _policy(plan)
    return _cut("\n".join(lines).rstrip() + "\n")


def _warnings(plan: Plan) -> list[str]:
    said = [*notes(plan), *plan.warnings]
    lines = [f"> - ⚠️ {_escape(text)}" for text in said[:_LIST_LIMIT]]
    if len(said) > _LIST_LIMIT:
        lines.append(f"> - … and {len(said) - _LIST_LIMIT} more")
    return [*lines, ""] if lines else []


def _documents(plan: Plan) -> list[str]:
    kinds = plan.documents.dump()
    header = " | ".join(name.replace("_", " ") for name in kinds)
    figures = " | ".join(count(number) for number in kinds.values())
    return [f"| {header} |", "|" + "---:|" * len(kinds), f"| {figures} |", ""]


def _policy(plan: Plan) -> list[str]:
    if not plan.policy:
        return []
    rows = [
        f"| {_escape(v.rule)} | {_escape(v.verdict)}{' (blocks)' if v.blocking else ''} "
        f"| {_escape(v.reason)} | {_escape(v.source)} |"
        for v in plan.policy
    ]
    return ["| policy | verdict | reason | source |", "|---|---|---|---|", *rows, ""]


def _escape(text: str) -> str:
    """Text as markdown that shows it as it is, on one line; no mention notifies anyone."""
    return _SPECIAL.sub(r"\\\1", " ".join(printable(text).split())).replace("\\@", "@\u200b")


def _cut(text: str) -> str:
    if len(text) <= MAX_CHARACTERS:
        return text
    note = "\n\n… cut; the whole plan is in the output of `embedspec plan`.\n"
    return text[: MAX_CHARACTERS - len(note)] + note
