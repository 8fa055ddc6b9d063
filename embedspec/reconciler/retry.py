"""The one place that tries again: transient store failures, a bounded number of times, with jitter."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import stamina

from embedspec.errors import StoreError

ATTEMPTS = 6
LONGEST_WAIT_S = 5.0
LONGEST_TOTAL_S = 60.0

T = TypeVar("T")


def _is_transient(error: Exception) -> bool:
    return isinstance(error, StoreError) and error.transient


def retrying(call: Callable[[], T]) -> T:
    """Make the call, again while it fails in a transient way. Every store call may be repeated
    (protocol rule), whether or not the failed one took effect."""
    for attempt in stamina.retry_context(
        on=_is_transient,
        attempts=ATTEMPTS,
        timeout=LONGEST_TOTAL_S,
        wait_initial=0.1,
        wait_max=LONGEST_WAIT_S,
        wait_jitter=0.5,
    ):
        with attempt:
            return call()
    raise AssertionError("stamina ends a retry loop by returning or raising")
