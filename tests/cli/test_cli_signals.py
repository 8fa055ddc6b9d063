"""The first signal stops where a run can go on, the second ends the process at once with 130."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest
from cli_process import environment

PROGRAM = """
import sys, time
from embedspec.cli.signals import GracefulStop, interrupt, interruptible

def say(text):
    print(text, flush=True)

stop = GracefulStop(on_first=lambda: say("first"), on_second=lambda: say("second"))
interrupt()
with stop.armed():
    {body}
say("end")
"""


def started(body: str) -> subprocess.Popen[str]:
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(body=body)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert program.stdout is not None
    assert program.stdout.readline() == "ready\n"
    return program


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_lets_the_run_end_by_itself(number: signal.Signals) -> None:
    program = started("say('ready'); stop.event.wait(60); time.sleep(0.1)")
    program.send_signal(number)
    out, err = program.communicate(timeout=30)
    assert (program.returncode, out, err) == (0, "first\nend\n", "")


def test_the_second_signal_ends_at_once_even_in_a_call_that_does_not_return() -> None:
    # A lock that is taken blocks the main thread in C; only the watching thread can act.
    program = started("import threading; l = threading.Lock(); l.acquire(); say('ready'); l.acquire()")
    program.send_signal(signal.SIGTERM)
    assert program.stdout is not None
    assert program.stdout.readline() == "first\n"
    begun = time.monotonic()
    program.send_signal(signal.SIGINT)
    out, err = program.communicate(timeout=30)
    assert (program.returncode, out, err) == (130, "second\n", "")
    assert time.monotonic() - begun < 10


def test_a_question_can_be_interrupted() -> None:
    body = """
    try:
        with interruptible():
            say('ready'); time.sleep(60)
    except KeyboardInterrupt:
        say('interrupted')
    say(stop.event.is_set())"""
    program = started(body.strip("\n").lstrip())
    program.send_signal(signal.SIGTERM)
    out, err = program.communicate(timeout=30)
    assert (program.returncode, out, err) == (0, "interrupted\nFalse\nend\n", "")
