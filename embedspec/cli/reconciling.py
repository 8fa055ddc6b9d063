"""`reconcile` at a terminal or in a job: the plan shown, approval, signals, and how it ended."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedspec.cli import exits
from embedspec.cli.exits import Interrupted, Outcome
from embedspec.cli.session import Session
from embedspec.cli.signals import GracefulStop, interruptible
from embedspec.errors import EmbedspecError, PlanRefused, UsageError

if TYPE_CHECKING:
    from embedspec.cli.progress import Reporter
    from embedspec.results import Plan, ReconcileResult
    from embedspec.spec.load import LoadedSpec

_SHOW_CURSOR = "\x1b[?25h"


class Reconciling:
    """One `reconcile` command. `options` go to `sdk.reconcile` as they are."""

    def __init__(
        self, session: Session, *, assume_yes: bool, plan_file: Path | None, options: dict[str, Any]
    ) -> None:
        self._session = session
        self._output = session.output
        self._assume_yes = assume_yes
        self._plan_file = plan_file
        self._options = options
        self._stop = GracefulStop(on_first=self._announce_stop, on_second=self._end_at_once)

    def over(self, paths: Sequence[Path], soft: frozenset[int]) -> Outcome:
        """Reconcile every spec at `paths`, one after the other."""
        with self._stop.armed():
            return self._session.for_each(paths, self._one, soft=soft, stopped=self._stop.event.is_set)

    def _one(self, loaded: LoadedSpec) -> Outcome:
        from embedspec import sdk

        saved = sdk.load_plan(self._plan_file) if self._plan_file is not None else None
        with self._session.progress() as reporter:
            approval = _Approval(self, loaded, reporter)
            try:
                result = sdk.reconcile(
                    loaded,
                    plan=saved,
                    approve=approval,
                    stop=self._stop.event,
                    on_event=reporter,
                    **self._options,
                )
            except EmbedspecError as error:
                error.result = error.result if error.result is not None else approval.plan
                failed: EmbedspecError | None = error
            else:
                failed = approval.refusal or _unfinished(result)
        if failed is None:
            self._show_result(result, loaded, approval.plan)
            return Outcome(exits.DONE, result.dump())
        self._show_failed(failed, loaded, planned=approval.plan)
        return exits.failure(failed)

    def _show_result(self, result: ReconcileResult, loaded: LoadedSpec, planned: Plan | None) -> None:
        from embedspec.cli.render_run import after_reconcile, reconcile_text

        self._output.show(reconcile_text(result, said=planned.warnings if planned else ()))
        self._output.show(after_reconcile(result, loaded.path or loaded.base), fold=False)

    def _show_failed(self, error: EmbedspecError, loaded: LoadedSpec, *, planned: Plan | None) -> None:
        from embedspec.results import ReconcileResult

        if isinstance(error.result, ReconcileResult):
            self._show_result(error.result, loaded, planned)
        elif error.result is not None and planned is None:
            self.show_plan(error.result)

    def show_plan(self, planned: Plan) -> None:
        from embedspec.cli.render_plan import plan_text

        self._output.show(plan_text(planned, self._output.console))

    def may_run(self, planned: Plan, loaded: LoadedSpec) -> EmbedspecError | None:
        """None if the plan may be executed, else why not. Asks where there is someone to ask."""
        if self._assume_yes or self._plan_file is not None:
            return None
        if not _someone_is_there(self._output.progress_is_terminal):
            return UsageError(
                "the plan is not empty, and there is no terminal to approve it on",
                where=f"embedspec reconcile {loaded.path}",
                fix="add --yes, or save a plan with `plan --out FILE` and pass it with --plan FILE",
            )
        if self._output.as_json:
            from embedspec.cli.render_plan import plan_text

            self._output.say(plan_text(planned, self._output.error_console))
        if self._ask():
            return None
        return PlanRefused("not approved; nothing was changed")

    def _ask(self) -> bool:
        from rich.text import Text

        with interruptible() as read_line:
            # From before the question is seen: whoever sees it may already press Ctrl-C.
            if self._stop.event.is_set():
                raise KeyboardInterrupt
            self._output.say(
                Text.assemble(
                    "\n",
                    ("Do you want to make these changes?", "bold"),
                    "\n  Only 'yes' is accepted.\n",
                )
            )
            self._output.error_console.print(Text("  Answer: ", style="bold"), end="")
            answer = read_line(sys.stdin)
        if not answer.endswith("\n"):
            self._output.say("")
        return answer.strip() == "yes"

    def _announce_stop(self) -> None:
        from rich.text import Text

        self._output.say(
            Text(
                "Stopping after the batch in flight; what is done stays done. "
                "A second signal ends the process at once.",
                style="yellow",
            )
        )

    def _end_at_once(self) -> None:
        if self._output.progress_is_terminal:
            self._output.say_raw(_SHOW_CURSOR)
        error = Interrupted("ended at once by a second signal", fix="run the same command again: it goes on")
        self._session.report(error)
        self._output.finish({"error": error.as_json()})


class _Approval:
    """What `sdk.reconcile` calls with a plan that is not empty: shows it, and lets it pass or not."""

    def __init__(self, run: Reconciling, loaded: LoadedSpec, reporter: Reporter) -> None:
        self._run = run
        self._loaded = loaded
        self._reporter = reporter
        self.plan: Plan | None = None
        self.refusal: EmbedspecError | None = None

    def __call__(self, planned: Plan) -> bool:
        with self._reporter.paused():
            self.plan = planned
            self._run.show_plan(planned)
            self.refusal = self._run.may_run(planned, self._loaded)
        if self.refusal is not None:
            self.refusal.result = planned
        return self.refusal is None


def _someone_is_there(error_is_terminal: bool) -> bool:
    return error_is_terminal and sys.stdin is not None and sys.stdin.isatty()


_FIXES = {
    exits.HELD: "`promote` it in spite of that, or change the spec",
    exits.INCONCLUSIVE: "`promote` it in spite of that, or measure with more queries",
    exits.STOPPED: "run the same command again: it goes on where it stopped",
    exits.UNFINISHED: "mend the records or the source, and run again",
}


def _unfinished(result: ReconcileResult) -> EmbedspecError | None:
    """The error that goes with a result whose exit code is not 0."""
    if result.exit_code == exits.DONE:
        return None
    fix = _FIXES.get(result.exit_code)
    if result.exit_code == exits.UNFINISHED and result.dead_letters:
        fix = f"read {result.dead_letters}, mend the records, and run again"
    error = EmbedspecError(result.message or "the run did not finish", fix=fix)
    error.code = result.exit_code
    error.result = result
    return error
