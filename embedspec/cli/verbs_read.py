"""The verbs `status`, `query` and `eval`: what an index holds and how well it answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from embedspec.cli import exits
from embedspec.cli.exits import Outcome
from embedspec.cli.options import Common, OneSpec, Specs, positive, with_common
from embedspec.cli.session import Session, run_verb
from embedspec.errors import UsageError

if TYPE_CHECKING:
    from embedspec.spec.load import LoadedSpec


@with_common
def status(common: Common, specs: Specs) -> int:
    """Show the builds of an index, which one is live, and who holds it. Reads no corpus."""

    def verb(session: Session) -> Outcome:
        def act(loaded: LoadedSpec) -> Outcome:
            from embedspec import sdk
            from embedspec.cli.render_read import status_text

            result = sdk.status(loaded)
            session.output.show(status_text(result, session.output.console))
            return Outcome(exits.DONE, result.dump())

        return session.for_each(specs, act)

    return run_verb(common, verb)


@with_common
def query(
    common: Common,
    spec: OneSpec,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to search for.", show_default=False)],
    k: Annotated[int, typer.Option("-k", parser=positive, metavar="K", help="How many hits.")] = 10,
    filter: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            metavar="KEY=VALUE",
            help="Only records with this metadata; repeat for and. Also KEY!=V, KEY>=V, KEY<V, KEY=A,B.",
            show_default=False,
        ),
    ] = None,
) -> int:
    """Search the live build for the nearest texts."""

    def verb(session: Session) -> Outcome:
        from embedspec import sdk
        from embedspec.cli.render_read import query_text

        if not text.strip():
            raise UsageError(
                "the text to search for is empty", fix='write it in quotes: embedspec query SPEC "text"'
            )
        result = sdk.query(session.load_one(spec), text, k=k, filter=filter)
        session.warn(result.notices)
        session.output.show(query_text(result, session.output.console, width=session.output.text_width))
        return Outcome(exits.DONE, result.dump())

    return run_verb(common, verb)


@with_common
def evaluate(
    common: Common,
    specs: Specs,
    run: Annotated[
        Path | None,
        typer.Option(
            "--run", metavar="FILE", help="Write the ranked lists as a TREC run.", show_default=False
        ),
    ] = None,
) -> int:
    """Measure the live build with the golden queries of the spec."""

    def verb(session: Session) -> Outcome:
        if run is not None:
            session.require_one(specs, "--run")

        def act(loaded: LoadedSpec) -> Outcome:
            from embedspec import sdk
            from embedspec.cli.render_read import eval_text

            with session.progress() as listener:
                result = sdk.evaluate(loaded, run_file=run, on_event=listener)
            session.warn(result.warnings)
            session.output.show(eval_text(result))
            return Outcome(exits.DONE, result.dump())

        return session.for_each(specs, act)

    return run_verb(common, verb)


VERBS = {"status": status, "query": query, "eval": evaluate}
