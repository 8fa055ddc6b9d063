"""The error boundary around every verb: whatever happens, one result, one exit code, no traceback.

A verb gets a `Session` and returns an `Outcome`. Errors of `embedspec.errors` become its error
object, signals 130, anything else code 1 with the traceback only on request (`-v`).
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedspec.cli import exits, signals
from embedspec.cli.exits import Interrupted, Outcome
from embedspec.cli.options import Common
from embedspec.cli.output import Output, fill_standard_descriptors, printable
from embedspec.errors import EmbedspecError, UsageError

if TYPE_CHECKING:
    from rich.text import Text

    from embedspec.cli.progress import Reporter
    from embedspec.spec.load import LoadedSpec

_log = logging.getLogger(__name__)


class Session:
    """One run of a verb: what it was asked for in common with all verbs, and where it writes."""

    def __init__(self, common: Common, output: Output) -> None:
        self.common = common
        self.output = output

    def load(self, path: Path) -> list[LoadedSpec]:
        """The specs at `path`."""
        from embedspec import sdk

        return sdk.load(path, allow_python=not self.common.no_python)

    def load_one(self, path: Path) -> LoadedSpec:
        """The one spec at `path`. Raises UsageError if there are several."""
        specs = self.load(path)
        if len(specs) != 1:
            names = ", ".join(spec.spec.name for spec in specs)
            raise UsageError(
                f"this verb takes exactly one spec; {path} holds {len(specs)}: {names}",
                where=str(path),
                fix="name the spec's file",
            )
        return specs[0]

    def require_one(self, paths: Sequence[Path], option: str) -> None:
        """Raise UsageError unless `paths` hold one spec, for an option that names a single file."""
        if len(paths) != 1:
            raise UsageError(
                f"{option} goes with exactly one spec, not {len(paths)}", fix="run it once for each spec"
            )
        self.load_one(paths[0])

    def progress(self) -> Reporter:
        """Bars on a terminal, lines elsewhere, nothing with `--quiet`."""
        from embedspec.cli.progress import Bars, Lines, Silence

        if self.common.quiet:
            return Silence()
        if self.output.progress_is_terminal:
            return Bars(self.output.error_console)
        return Lines(lambda line: self.output.say(line))

    def report(self, error: EmbedspecError) -> None:
        """Tell people of an error. Beside `--json` only where the two do not meet on one screen."""
        if not (self.output.as_json and self.output.result_is_terminal):
            self.output.say(error_text(error))

    def warn(self, warnings: Sequence[str]) -> None:
        """Print warnings to standard error; `--json` has them in the object."""
        from rich.text import Text

        if not self.output.as_json:
            for warning in warnings:
                self.output.say(Text.assemble(("Warning: ", "bold yellow"), printable(warning)))

    def for_each(
        self,
        paths: Sequence[Path],
        act: Callable[[LoadedSpec], Outcome],
        *,
        soft: frozenset[int] = frozenset(),
        stopped: Callable[[], bool] = lambda: False,
    ) -> Outcome:
        """Do `act` for every spec at `paths`. One that fails does not stop the others.

        `soft`: codes that count as 0. `stopped`: true once no further spec may be started.
        """
        work: list[tuple[str, LoadedSpec | EmbedspecError]] = []
        for path in dict.fromkeys(paths):
            work += self._load_each(path)
        several = len(work) > 1 or len(paths) > 1
        outcomes: list[Outcome] = []
        entries: list[dict[str, Any]] = []
        for name, item in work:
            if several:
                self._heading(name, first=not outcomes)
            outcome = self._one(name, item, act, stopped)
            if outcome.error is not None:
                self.report(outcome.error)
            outcomes.append(outcome)
            entries.append({"spec": name, **outcome.data})
            if outcome.code == exits.INTERRUPTED:
                break
        code = exits.combine(exits.soften(outcome.code, soft) for outcome in outcomes)
        if several:
            return Outcome(code, {"specs": entries})
        return Outcome(code, outcomes[0].data)

    def _load_each(self, path: Path) -> list[tuple[str, LoadedSpec | EmbedspecError]]:
        """The specs at `path`, each with its name; for a file that is wrong its path and the error.
        In a folder such a file does not stop the others."""
        try:
            return [(spec.spec.name, spec) for spec in self.load(path)]
        except (Exception, SystemExit) as error:
            files: list[Path] = []
            with suppress(OSError):  # no folder, or one that may not be looked into
                files = sorted(f for f in path.glob("[!.]*") if f.suffix in (".yaml", ".yml"))
            found = [item for file in files for item in self._load_each(file)] if len(files) > 1 else []
            if any(isinstance(item, EmbedspecError) for _, item in found):
                return found
            # One file, or each is right by itself and they do not go together.
            return [(str(path), _as_ours(error, verbose=self.common.verbose))]

    def _one(
        self,
        name: str,
        item: LoadedSpec | EmbedspecError,
        act: Callable[[LoadedSpec], Outcome],
        stopped: Callable[[], bool],
    ) -> Outcome:
        if isinstance(item, EmbedspecError):
            return exits.failure(item)
        if stopped():
            return exits.failure(not_started(name))
        return guarded(lambda: act(item), verbose=self.common.verbose)

    def _heading(self, name: str, *, first: bool) -> None:
        from rich.text import Text

        self.output.show(Text(("" if first else "\n") + printable(name), style="bold underline"))


def not_started(name: str) -> EmbedspecError:
    from embedspec.errors import Stopped

    return Stopped(f"stopped before {name!r} was started", fix="run the same command again")


def guarded(act: Callable[[], Outcome], *, verbose: int) -> Outcome:
    """Run `act`; turn whatever it raises into an outcome."""
    try:
        return act()
    except KeyboardInterrupt:
        return exits.failure(Interrupted("interrupted", fix="run the same command again"))
    # SystemExit: a spec in Python may call sys.exit.
    except (Exception, SystemExit) as error:
        return exits.failure(_as_ours(error, verbose=verbose))


def _as_ours(error: Exception | SystemExit, *, verbose: int) -> EmbedspecError:
    if isinstance(error, EmbedspecError):
        _log.debug("failed", exc_info=error)
        return error
    if verbose:
        _log.error("unexpected", exc_info=error)
    return unexpected(error)


def unexpected(error: BaseException) -> EmbedspecError:
    """A defect of ours or a machine out of something: say what is known, keep the traceback back."""
    detail = " ".join(str(error).split()) or "no message"
    where = None
    if frames := traceback.extract_tb(error.__traceback__):
        where = f"{frames[-1].filename}:{frames[-1].lineno}"
    return EmbedspecError(
        f"unexpected {type(error).__name__}: {detail}",
        where=where,
        fix="run again with -v for the traceback; if embedspec is at fault, please report it",
    )


def run_verb(common: Common, verb: Callable[[Session], Outcome]) -> int:
    """Run a verb to its end and print what came of it. Returns the exit code."""
    fill_standard_descriptors()
    output = Output(as_json=common.json, quiet=common.quiet)
    session = Session(common, output)
    signals.interrupt()
    with _logging(output, common.verbose):
        try:
            outcome = guarded(lambda: verb(session), verbose=common.verbose)
            signals.ignore()
        except KeyboardInterrupt:
            outcome = exits.failure(Interrupted("interrupted"))
            signals.ignore()
        if outcome.error is not None:
            session.report(outcome.error)
        failed = output.finish(outcome.data)
    if failed is not None and outcome.code == exits.DONE:
        session.report(EmbedspecError(f"the result could not be written: {failed}", where="standard output"))
        return exits.FAILED
    return outcome.code


def error_text(error: EmbedspecError) -> Text:
    """An error for a terminal: what, where, and the way out; a spec's problems one by one."""
    from rich.text import Text

    problems = getattr(error, "problems", ())
    if len(problems) < 2:
        return _problem_text(error.what, error.where, error.fix, code=error.code)
    return Text("\n").join(_problem_text(p.what, p.where, p.fix, code=error.code) for p in problems)


#: Ends that are no failure of anything.
_LABELS = {
    exits.HELD: "Held",
    exits.INCONCLUSIVE: "Held",
    exits.LOCKED: "Locked",
    exits.STOPPED: "Unfinished",
    exits.UNFINISHED: "Unfinished",
}


def _problem_text(what: str, where: str | None, fix: str | None, *, code: int) -> Text:
    from rich.text import Text

    label = (f"{_LABELS[code]}: ", "bold yellow") if code in _LABELS else ("Error: ", "bold red")
    text = Text.assemble(label, printable(what))
    if where:
        text.append("\n  at   ", style="dim").append(printable(where))
    if fix:
        text.append("\n  fix  ", style="green").append(printable(fix))
    return text


class _ConsoleHandler(logging.Handler):
    """Log records on standard error, above the bars if there are any."""

    def __init__(self, output: Output) -> None:
        super().__init__()
        self._output = output
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s", "%H:%M:%S"))

    def emit(self, record: logging.LogRecord) -> None:
        self._output.say(printable(self.format(record)))


@contextmanager
def _logging(output: Output, verbose: int) -> Iterator[None]:
    """Log to standard error while the verb runs: warnings, with -v our steps, with -vv everything."""
    root, own = logging.getLogger(), logging.getLogger("embedspec")
    handler = _ConsoleHandler(output)
    root.addHandler(handler)
    root.setLevel(logging.DEBUG if verbose > 1 else logging.WARNING)
    own.setLevel(logging.DEBUG if verbose > 1 else logging.INFO if verbose else logging.WARNING)
    try:
        yield
    finally:
        root.removeHandler(handler)
