"""The verbs `plan` and `reconcile`: what would change, and making it so."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from embedspec.cli import exits
from embedspec.cli.exits import Outcome
from embedspec.cli.options import Common, LockTimeout, MaxSeconds, SoftExit, Specs, positive, with_common
from embedspec.cli.reconciling import Reconciling
from embedspec.cli.session import Session, run_verb
from embedspec.errors import EmbedspecError, PolicyError, UsageError

if TYPE_CHECKING:
    from rich.text import Text

    from embedspec.results import Plan
    from embedspec.spec.load import LoadedSpec


@with_common
def plan(
    common: Common,
    specs: Specs,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Save the plan, to be executed exactly by `reconcile --plan FILE`.",
            show_default=False,
        ),
    ] = None,
    markdown: Annotated[
        Path | None,
        typer.Option(
            "--markdown",
            metavar="FILE",
            help="Write the plan as a comment for a pull request; - for standard output.",
            show_default=False,
        ),
    ] = None,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit with 2 when there are changes.")
    ] = False,
    probe: Annotated[
        bool, typer.Option("--probe", help="Load the model and measure its speed, to estimate the time.")
    ] = False,
) -> int:
    """Show what reconcile would change, why, and what it costs. Changes nothing."""

    def verb(session: Session) -> Outcome:
        to_stdout = str(markdown) == "-"
        if to_stdout and common.json:
            raise UsageError("--markdown - and --json both want standard output", fix="name a file")
        comments: list[str] = []

        def act(loaded: LoadedSpec) -> Outcome:
            outcome, planned = _plan_one(session, loaded, probe=probe, out=out, quiet=to_stdout)
            if markdown is not None:
                from embedspec.cli.markdown import plan_comment

                comments.append(plan_comment(planned))
            if outcome.code == exits.DONE and detailed_exitcode and not planned.empty:
                return Outcome(exits.CHANGES_PENDING, outcome.data)
            return outcome

        if out is not None:
            session.require_one(specs, "--out")
        outcome = session.for_each(specs, act)
        if markdown is not None:
            _write_markdown(session, markdown, comments)
        return outcome

    return run_verb(common, verb)


def _plan_one(
    session: Session, loaded: LoadedSpec, *, probe: bool, out: Path | None, quiet: bool
) -> tuple[Outcome, Plan]:
    from embedspec import sdk
    from embedspec.cli.render_plan import plan_text

    with session.progress() as listener:
        planned = sdk.plan(loaded, probe=probe, on_event=listener)
    if out is not None:
        sdk.save_plan(planned, out)
    if not quiet:
        session.output.show(plan_text(planned, session.output.console))
    blocking = [verdict for verdict in planned.policy if verdict.blocking]
    if blocking:
        rules = ", ".join(verdict.rule for verdict in blocking)
        error = PolicyError(
            f"the policy refuses this plan: {rules}: {blocking[0].reason}",
            where=blocking[0].source,
            fix="choose another model, or change `policy` in the spec",
        )
        error.result = planned
        return exits.failure(error), planned
    if not quiet:
        session.output.show(_next_after_plan(planned, loaded, out), fold=False)
    return Outcome(exits.DONE, planned.dump()), planned


def _next_after_plan(planned: Plan, loaded: LoadedSpec, out: Path | None) -> Text:
    from embedspec.cli.render import command, next_commands

    spec = loaded.path or loaded.base
    if planned.empty:
        return next_commands(command("query", spec, "your question"))
    if out is not None:
        return next_commands(command("reconcile", spec, "--plan", out))
    return next_commands(command("reconcile", spec))


def _write_markdown(session: Session, target: Path, comments: Sequence[str]) -> None:
    text = "\n".join(comments)
    if str(target) == "-":
        session.output.write(text)
        return
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise EmbedspecError(
            f"cannot write the comment: {error.strerror}", where=str(target), fix="name a writable file"
        ) from None


@with_common
def reconcile(
    common: Common,
    specs: Specs,
    plan: Annotated[
        Path | None,
        typer.Option(
            "--plan",
            metavar="FILE",
            help="Execute exactly this plan, saved by `plan --out`; refused if anything moved since.",
            show_default=False,
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; execute the plan.")] = False,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            parser=positive,
            metavar="N",
            help="Only the first N documents: deletes nothing, and a new build does not go live.",
            show_default=False,
        ),
    ] = None,
    allow_mass_delete: Annotated[
        bool,
        typer.Option("--allow-mass-delete", help="Execute a plan that deletes a large share of the index."),
    ] = False,
    lock_timeout: LockTimeout = 0.0,
    upgrade: Annotated[
        bool, typer.Option("--upgrade", help="Accept a model that differs from embedspec.lock, and lock it.")
    ] = False,
    locked: Annotated[
        bool, typer.Option("--locked", help="Refuse a model that is not in embedspec.lock yet.")
    ] = False,
    budget_tokens: Annotated[
        int | None,
        typer.Option(
            "--budget-tokens",
            parser=positive,
            metavar="N",
            help="Stop after embedding about N tokens with exit code 7; the next run goes on.",
            show_default=False,
        ),
    ] = None,
    max_seconds: MaxSeconds = None,
    soft_exit: SoftExit = None,
) -> int:
    """Make the index what the spec says: embed what is new, write, switch readers over."""

    def verb(session: Session) -> Outcome:
        if plan is not None:
            session.require_one(specs, "--plan")
        run = Reconciling(
            session,
            assume_yes=yes,
            plan_file=plan,
            options={
                "limit": limit,
                "allow_mass_delete": allow_mass_delete,
                "lock_timeout_s": lock_timeout,
                "upgrade": upgrade,
                "locked": locked,
                "budget_tokens": budget_tokens,
                "max_seconds": max_seconds,
            },
        )
        return run.over(specs, soft_exit or frozenset())

    return run_verb(common, verb)


VERBS = {"plan": plan, "reconcile": reconcile}
