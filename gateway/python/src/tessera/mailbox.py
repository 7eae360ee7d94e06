"""A bounded queue between a connection and whoever reads its events."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

from tessera.errors import TesseraError

T = TypeVar("T")

CAPACITY = 65_536
"""Events that wait to be read, at most."""


class EventsLost(TesseraError):
    """Events came faster than they were read; `count` of the oldest are gone."""

    def __init__(self, count: int) -> None:
        super().__init__(f"{count} events were not read in time and are gone; read faster, or read again")
        self.count = count


class Mailbox(Generic[T]):
    """Keeps the newest `capacity` events, and says when older ones have been dropped."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._items: deque[T] = deque(maxlen=capacity)
        self._lost = 0
        self._end: Exception | None = None
        self._closed = False
        self._ready = asyncio.Event()

    def put(self, item: T) -> None:
        """Adds an event; the oldest goes when there is no room."""
        if len(self._items) == self._items.maxlen:
            self._lost += 1
        self._items.append(item)
        self._ready.set()

    def close(self, error: Exception | None) -> None:
        """Says that nothing more comes; `error` is raised after the last event, None just ends."""
        if not self._closed:
            self._closed = True
            self._end = error
            self._ready.set()

    async def get(self) -> T:
        """The next event.

        Raises:
            EventsLost: older events were dropped; the next call goes on with what is left.
            StopAsyncIteration: the end, as agreed.
            Exception: the end, with the error that was given to `close`.
        """
        while True:
            if self._lost:
                count, self._lost = self._lost, 0
                raise EventsLost(count)
            if self._items:
                return self._items.popleft()
            if self._closed:
                if self._end is None:
                    raise StopAsyncIteration
                raise self._end
            self._ready.clear()
            await self._ready.wait()

    def __aiter__(self) -> Mailbox[T]:
        """Iterates over the events as they come."""
        return self

    async def __anext__(self) -> T:
        """The next event; see `get`."""
        return await self.get()
