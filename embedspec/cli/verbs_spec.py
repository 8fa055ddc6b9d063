"""The verbs `init`, `validate` and `schema`: specs as files, no store and no model needed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from embedspec.cli import exits
from embedspec.cli.exits import Outcome
from embedspec.cli.options import Common, Specs, with_common
from embedspec.cli.session import Session, run_verb

if TYPE_CHECKING:
    from embedspec.spec.load import LoadedSpec


@with_common
def init(
    common: Common,
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Where to write; made if it is not there.")
    ] = Path(),
) -> int:
    """Write a first spec and a small corpus to try it on. Overwrites nothing."""

    def verb(session: Session) -> Outcome:
        from embedspec.cli.beginning import begin

        return begin(session, folder)

    return run_verb(common, verb)


@with_common
def validate(common: Common, specs: Specs) -> int:
    """Check specs without touching store, model or corpus."""

    def verb(session: Session) -> Outcome:
        def act(loaded: LoadedSpec) -> Outcome:
            from embedspec import sdk
            from embedspec.cli.render import valid_text

            result = sdk.validate(loaded)
            session.output.show(valid_text(result))
            session.warn(result.warnings)
            return Outcome(exits.DONE, result.dump())

        return session.for_each(specs, act)

    return run_verb(common, verb)


@with_common
def schema(common: Common) -> int:
    """Print the JSON schema of specs, with what the installed stores add to it."""

    def verb(session: Session) -> Outcome:
        from embedspec import sdk

        described = sdk.schema()
        session.output.show_json(described)
        return Outcome(exits.DONE, described)

    return run_verb(common, verb)


VERBS = {"init": init, "validate": validate, "schema": schema}
