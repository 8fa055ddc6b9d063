"""What SIGINT and SIGTERM do: interrupt a verb at once, or stop a reconcile where it can go on.

In a run that can be resumed the first signal sets an event, the second ends the process. A thread
reads them from a socket that Python's C handler writes to: so the second works at once even while
the main thread sits in a long call of an engine or a driver. Ending without cleaning up is safe: it
is what `kill -9` does, and the rows are the state.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TextIO

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def interrupt() -> None:
    """Let SIGTERM raise KeyboardInterrupt as SIGINT does, so that both end a verb in order."""
    for number in _SIGNALS:
        signal.signal(number, signal.default_int_handler)


def ignore() -> None:
    """From here on only the result is printed, and it is printed whole."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


class GracefulStop:
    """Counts signals while it is armed. `event` is set by the first; `on_first` tells the user;
    the second calls `on_second` and ends the process with 130."""

    def __init__(self, *, on_first: Callable[[], None], on_second: Callable[[], None]) -> None:
        self.event = threading.Event()
        self._on_first = on_first
        self._on_second = on_second

    @contextmanager
    def armed(self) -> Iterator[None]:
        """Signals count from here on, in the main thread's with block."""
        reader, writer = socket.socketpair()
        writer.setblocking(False)
        previous = [(number, signal.signal(number, _ignore)) for number in _SIGNALS]
        previous_descriptor = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        watcher = threading.Thread(target=self._watch, args=(reader,), name="signals", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            signal.set_wakeup_fd(previous_descriptor)
            for number, handler in previous:
                signal.signal(number, handler)
            writer.close()
            watcher.join()
            reader.close()

    def _watch(self, reader: socket.socket) -> None:
        while numbers := reader.recv(64):
            for number in numbers:
                if number not in _SIGNALS:
                    continue
                if self.event.is_set():
                    try:
                        self._on_second()
                    finally:
                        os._exit(130)
                self.event.set()
                self._on_first()


@contextmanager
def interruptible() -> Iterator[Callable[[TextIO], str]]:
    """Inside `armed`: signals raise KeyboardInterrupt again, for a question to the user.

    Gives the function that reads the answer. It waits for input and signals together: a plain read
    misses a signal that comes just before it blocks.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    descriptor = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    previous = [(number, signal.signal(number, signal.default_int_handler)) for number in _SIGNALS]

    def read_line(stream: TextIO) -> str:
        ready, _, _ = select.select([stream.fileno(), reader.fileno()], [], [])
        if reader.fileno() in ready:
            raise KeyboardInterrupt
        return stream.readline()

    try:
        yield read_line
    finally:
        for number, handler in previous:
            signal.signal(number, handler)
        signal.set_wakeup_fd(descriptor, warn_on_full_buffer=False)
        writer.close()
        reader.close()


def _ignore(number: int, frame: FrameType | None) -> None:
    """A handler of ours, so that Python's C handler runs and wakes the thread."""
