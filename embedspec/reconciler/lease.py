"""Holding the lease while a run writes: wait for it, renew it from a thread, give it up."""

from __future__ import annotations

import logging
import threading
import time
from types import TracebackType
from typing import Self

from embedspec.errors import LeaseHeld, LeaseLost, Stopped, StoreError
from embedspec.reconciler.retry import retrying
from embedspec.stores.lease import this_process
from embedspec.stores.protocol import Lease, Store

log = logging.getLogger(__name__)

TTL_S = 60.0
"""After this long without a renewal another run may take over, by the store's clock."""
RENEW_EVERY_S = 10.0
POLL_S = 0.5


class HeldLease:
    """A context manager: inside it `lease` is ours unless `lost` is set."""

    def __init__(
        self, store: Store, name: str, *, timeout_s: float = 0.0, stop: threading.Event | None = None
    ) -> None:
        """`stop`: when set, waiting ends with Stopped."""
        self._store = store
        self._name = name
        self._timeout_s = timeout_s
        self._stop = stop or threading.Event()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self.lost = threading.Event()
        self.lease: Lease

    def __enter__(self) -> Self:
        deadline = time.monotonic() + self._timeout_s
        holder = this_process()
        while True:
            try:
                self.lease = retrying(lambda: self._store.acquire(self._name, holder, TTL_S))
                break
            except LeaseHeld as held:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise
                if self._stop.wait(min(POLL_S, left)):
                    raise Stopped(
                        f"stopped while waiting for another run: {held.what}",
                        where=held.where,
                        fix="run the same command again",
                    ) from None
        self._thread = threading.Thread(target=self._renew, name="embedspec-lease", daemon=True)
        self._thread.start()
        return self

    def _renew(self) -> None:
        """A failed renewal is tried again at the next beat; the lease outlives several of them."""
        while not self._over.wait(RENEW_EVERY_S):
            try:
                self._store.renew(self.lease, TTL_S)
            except LeaseLost:
                self.lost.set()
                return
            except StoreError as error:
                log.warning("could not renew the lease of %s: %s", self._name, error.what)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join(timeout=5.0)
        try:
            self._store.release(self.lease)
        except StoreError as failure:
            # It expires by itself; the run's own result or error matters more.
            log.warning("could not release the lease of %s: %s", self._name, failure.what)
