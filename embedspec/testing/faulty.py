"""A store whose n-th write fails, before or after it took effect: what reconcile must survive."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from embedspec.errors import LeaseLost, StoreError
from embedspec.stores.protocol import Store

WRITES = frozenset(
    {
        "create_build",
        "save",
        "switch",
        "finish_switch",
        "drop",
        "upsert",
        "patch",
        "delete",
        "finish",
        "replace_dead_letters",
    }
)
"""The calls that are counted. The lease's are not: a heartbeat beats when it likes, and the counts
of two equal runs must be equal."""


class Crash(BaseException):
    """Stands for `kill -9`. No `except Exception` may catch it, as none can catch a kill."""


@dataclass(frozen=True, slots=True)
class Fault:
    """How one write fails. `after`: it took effect, and only the answer was lost."""

    kind: Literal["transient", "permanent", "crash"]
    after: bool = False


class FaultyStore:
    """Wraps a store; the write number n (from 1) meets `plan[n]`, every other call passes through.

    After a crash the process counts as gone: every call raises `Crash` again and nothing reaches
    the store, so that no `finally` tidies up what a real kill would leave (the lease stays held).
    Two exceptions keep the test itself alive: `renew` raises LeaseLost, so that a heartbeat thread
    ends quietly, and `close` closes.
    """

    def __init__(self, inner: Store, plan: Mapping[int, Fault]) -> None:
        self._inner = inner
        self._plan = dict(plan)
        self._lock = threading.Lock()
        #: Write calls so far, whether they failed or not.
        self.calls = 0
        self.crashed = False

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._inner, name)
        if not callable(call) or name == "close":
            return call

        def guarded(*args: Any, **kwargs: Any) -> Any:
            if self.crashed:
                raise LeaseLost("killed") if name == "renew" else Crash(f"{name} called after the crash")
            return self._write(name, call, args, kwargs) if name in WRITES else call(*args, **kwargs)

        return guarded

    def _write(
        self, name: str, call: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        with self._lock:
            self.calls += 1
            number = self.calls
        fault = self._plan.get(number)
        if fault is None:
            return call(*args, **kwargs)
        if fault.after:
            call(*args, **kwargs)
        what = f"write {number} ({name}) failed as planned, {'after' if fault.after else 'before'} its effect"
        if fault.kind == "crash":
            self.crashed = True
            raise Crash(what)
        raise StoreError(what, transient=fault.kind == "transient")

    def __enter__(self) -> FaultyStore:
        return self

    def __exit__(self, *_: object) -> None:
        self._inner.close()
