"""A bounded queue between two pipeline threads: by weight (bytes), closable, abortable."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Aborted(Exception):
    """Another stage of the pipeline failed; this one only has to end."""


class Channel(Generic[T]):
    """One producer side, one consumer side. `waited_s` is how long the consumer had nothing to do."""

    def __init__(self, capacity: int, abort: threading.Event) -> None:
        self._capacity = capacity
        self._abort = abort
        self._items: deque[tuple[T, int]] = deque()
        self._load = 0
        self._closed = False
        self._changed = threading.Condition()
        self.waited_s = 0.0

    def put(self, item: T, weight: int) -> None:
        """Blocks while the queue is full; an item heavier than the capacity goes in alone."""
        with self._changed:
            while self._load and self._load + weight > self._capacity:
                self._wait()
            self._items.append((item, weight))
            self._load += weight
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        while True:
            started = time.perf_counter()
            with self._changed:
                while not self._items:
                    if self._closed:
                        return
                    self._wait()
                item, weight = self._items.popleft()
                self._load -= weight
                self._changed.notify_all()
            self.waited_s += time.perf_counter() - started
            yield item

    def _wait(self) -> None:
        # A short wait, not an endless one: an abort is seen even if nobody notifies.
        self._changed.wait(0.1)
        if self._abort.is_set():
            raise Aborted
