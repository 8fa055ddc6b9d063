"""The verbs `promote`, `rollback` and `gc`: which build readers see, and which are dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from embedspec.cli import exits
from embedspec.cli.exits import Outcome
from embedspec.cli.options import Build, Common, Grace, LockTimeout, OneSpec, Specs, with_common
from embedspec.cli.session import Session, run_verb
from embedspec.errors import UsageError

if TYPE_CHECKING:
    from embedspec.results import SwitchResult
    from embedspec.spec.load import LoadedSpec


@with_common
def promote(
    common: Common,
    spec: OneSpec,
    build: Build = None,
    force: Annotated[
        bool, typer.Option("--force", help="Promote without a passing verdict; needs --reason.")
    ] = False,
    reason: Annotated[
        str | None,
        typer.Option(
            "--reason", metavar="TEXT", help="Why; kept in the index's history.", show_default=False
        ),
    ] = None,
    lock_timeout: LockTimeout = 0.0,
) -> int:
    """Point readers at a ready, held or rejected build (default: the newest that the spec asks for)."""

    def verb(session: Session) -> Outcome:
        from embedspec import sdk

        if force and not (reason or "").strip():
            raise UsageError("--force needs a reason", fix='add --reason "why this build is fit"')
        return _switched(
            session,
            sdk.promote(
                session.load_one(spec), build, force=force, reason=reason, lock_timeout_s=lock_timeout
            ),
        )

    return run_verb(common, verb)


@with_common
def rollback(common: Common, spec: OneSpec, build: Build = None, lock_timeout: LockTimeout = 0.0) -> int:
    """Point readers back at the build that was live before; reconcile will not undo it."""

    def verb(session: Session) -> Outcome:
        from embedspec import sdk

        return _switched(session, sdk.rollback(session.load_one(spec), build, lock_timeout_s=lock_timeout))

    return run_verb(common, verb)


def _switched(session: Session, result: SwitchResult) -> Outcome:
    from embedspec.cli.render_run import switch_text

    session.output.show(switch_text(result))
    return Outcome(exits.DONE, result.dump())


@with_common
def gc(common: Common, specs: Specs, grace: Grace = None, lock_timeout: LockTimeout = 0.0) -> int:
    """Drop old builds beyond `keep_builds` that no reader needs any more."""

    def verb(session: Session) -> Outcome:
        def act(loaded: LoadedSpec) -> Outcome:
            from embedspec import sdk
            from embedspec.cli.render_run import gc_text

            result = sdk.gc(loaded, grace_s=grace, lock_timeout_s=lock_timeout)
            session.output.show(gc_text(result))
            return Outcome(exits.DONE, result.dump())

        return session.for_each(specs, act)

    return run_verb(common, verb)


VERBS = {"promote": promote, "rollback": rollback, "gc": gc}
