"""Where a verb writes: its result to the real standard output, everything else to standard error.

While a verb runs, file descriptor 1 points at standard error: a library, a driver in C or a spec in
Python that prints cannot get between the result and whoever parses it. A reader that goes away
(`| head`) ends nothing: what is left is dropped and the run finishes with its own exit code.
"""

from __future__ import annotations

import errno
import io
import json
import os
import re
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

#: Width given to rich where no terminal says one: nothing is cut or folded for a pipe.
PIPE_WIDTH = 1000
#: Where texts are wrapped for a pipe, by us.
PIPE_TEXT_WIDTH = 100

_TRAILING = re.compile(" +\n")
_SURROGATES = re.compile("[\ud800-\udfff]")
# C0 and C1 controls without tab and newline: a document must not drive the terminal.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Sink(io.TextIOBase):
    """Text to a file descriptor, on which a reader that went away is no error.

    `failure` holds any other error of writing (a full disk), for the exit code.
    """

    def __init__(self, descriptor: int, encoding: str) -> None:
        self._descriptor = descriptor
        self._encoding = encoding
        self._open = True
        self.failure: OSError | None = None

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        # rich fills cells with blanks; in a file they are only noise for diff and grep.
        shown = text if self.isatty() else _TRAILING.sub("\n", text)
        self.write_bytes(shown.encode(self._encoding, "replace"))
        return len(text)

    def write_bytes(self, data: bytes) -> None:
        view = memoryview(data)
        while self._open and view:
            try:
                view = view[os.write(self._descriptor, view) :]
            except BlockingIOError:
                _wait_until_writable(self._descriptor)
            except OSError as error:
                self._open = False
                if error.errno != errno.EPIPE:
                    self.failure = error


def _wait_until_writable(descriptor: int) -> None:
    import select

    select.select([], [descriptor], [], 1.0)


def fill_standard_descriptors() -> None:
    """Open /dev/null on those of 0, 1, 2 that are closed, so that no socket or file ends up there."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest free number is taken, and those below are open by now.
            os.open(os.devnull, os.O_RDWR)
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115


def encode(data: dict[str, Any], *, indent: int | None = None) -> bytes:
    """Strict JSON in UTF-8: NaN and infinity become null, lone surrogates U+FFFD."""
    try:
        text = json.dumps(data, ensure_ascii=False, allow_nan=False, indent=indent)
    except ValueError:
        text = json.dumps(_finite(data), ensure_ascii=False, allow_nan=False, indent=indent)
    return (_SURROGATES.sub("\ufffd", text) + "\n").encode()


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value


def printable(text: str) -> str:
    """Text of a corpus or a server, harmless on a terminal."""
    return _CONTROLS.sub("\ufffd", _SURROGATES.sub("\ufffd", text))


class Output:
    """The two streams of one run of a verb. `show` prints for people and is silent under `--json`;
    `finish` prints the one JSON object and nothing else ever does."""

    def __init__(self, *, as_json: bool, quiet: bool) -> None:
        sys.stdout.flush()
        self.as_json = as_json
        self.quiet = quiet
        encoding = sys.stdout.encoding or "utf-8"
        self._result = Sink(os.dup(1), encoding)
        self._error_sink = Sink(2, sys.stderr.encoding or "utf-8")
        os.dup2(2, 1)
        sys.stdout = sys.stderr
        self._finishing = threading.Lock()
        self._finished = False
        self._console: Console | None = None
        self._error_console: Console | None = None

    @property
    def console(self) -> Console:
        """Standard output, for people."""
        if self._console is None:
            self._console = _console(self._result)
        return self._console

    @property
    def error_console(self) -> Console:
        """Standard error: progress, logs, questions, errors."""
        if self._error_console is None:
            self._error_console = _console(self._error_sink)
        return self._error_console

    @property
    def text_width(self) -> int:
        """Where to wrap running text on standard output."""
        return self.console.width if self._result.isatty() else PIPE_TEXT_WIDTH

    def show(self, *renderables: RenderableType, fold: bool = True) -> None:
        """Print part of a result for people; nothing under `--json`. `fold`: break long lines."""
        if not self.as_json:
            for renderable in renderables:
                self.console.print(renderable, soft_wrap=not fold)

    def write(self, text: str) -> None:
        """Print text as it is (a document for a program); nothing under `--json`."""
        if not self.as_json:
            self._result.write_bytes(_SURROGATES.sub("\ufffd", text).encode())

    def show_json(self, data: dict[str, Any]) -> None:
        """Print a result that is JSON for people too; nothing under `--json`, which prints it itself."""
        if not self.as_json:
            self._result.write_bytes(encode(data, indent=2))

    def say(self, *renderables: RenderableType) -> None:
        """Print to standard error."""
        for renderable in renderables:
            self.error_console.print(renderable)

    def say_raw(self, control: str) -> None:
        """Send a control sequence to the terminal at standard error."""
        self._error_sink.write(control)

    def finish(self, data: dict[str, Any]) -> OSError | None:
        """Print the JSON object if one was asked for. Returns the error if the result could not be
        written; a reader that went away is none. Only the first call prints."""
        with self._finishing:
            if self.as_json and not self._finished:
                self._result.write_bytes(encode(data, indent=2 if self._result.isatty() else None))
            self._finished = True
            return self._result.failure

    @property
    def result_is_terminal(self) -> bool:
        return self._result.isatty()

    @property
    def progress_is_terminal(self) -> bool:
        return self._error_sink.isatty()


def _console(sink: Sink) -> Console:
    from rich.console import Console

    # Not Console's own `stderr=True`: that follows sys.stderr wherever a library bends it to.
    return Console(
        file=sink,  # type: ignore[arg-type]
        width=None if sink.isatty() else PIPE_WIDTH,
        force_terminal=None if sink.isatty() else False,
        markup=False,
        emoji=False,
        highlight=False,
    )
