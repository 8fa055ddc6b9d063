"""When a run ends early: a signal, a budget of tokens, a time."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class Limits:
    """`stop` is set by a signal. Whatever the limit, the batch in flight is finished."""

    stop: threading.Event = field(default_factory=threading.Event)
    budget_tokens: int | None = None
    deadline: float | None = None
    """time.monotonic() seconds"""
    spent: int = 0
    """Tokens sent through the model so far, over all passes of the run."""
    reason: str | None = None
    """Why the run stopped; None while it goes on."""

    def reached(self, tokens: int = 0) -> bool:
        """Whether a next step, of so many tokens, may not start any more."""
        if self.reason is None:
            if self.stop.is_set():
                self.reason = "stopped by a signal"
            elif self.budget_tokens is not None and self.spent + tokens > self.budget_tokens:
                self.reason = f"stopped at the budget of {self.budget_tokens:,} tokens"
            elif self.deadline is not None and time.monotonic() >= self.deadline:
                self.reason = "stopped at --max-seconds"
        return self.reason is not None
