"""The list of instruments, which every protocol can ask for."""

from __future__ import annotations

import asyncio

from tessera.connection import Link
from tessera.errors import ProtocolError, TesseraError
from tessera.messages import SecurityDefinition, SecurityListEnd, SecurityListRequest, StreamStart
from tessera.wire import Message


class Listing:
    """Requests for the list that are under way on one connection."""

    def __init__(self) -> None:
        self._last_id = 0
        self._waiting: dict[
            int, tuple[list[SecurityDefinition], asyncio.Future[list[SecurityDefinition]]]
        ] = {}

    async def request(self, link: Link) -> list[SecurityDefinition]:
        """Asks, and waits for the whole list, in the order of the instruments' numbers.

        Raises:
            GatewayRefused: the gateway refused it, as `Throttled` for example.
            SessionEnded: the session ended before the list was complete.
            ProtocolError: the list's end counts other instruments than came.
        """
        self._last_id += 1
        request_id = self._last_id
        future: asyncio.Future[list[SecurityDefinition]] = asyncio.get_running_loop().create_future()
        link.control(SecurityListRequest(request_id))
        self._waiting[request_id] = ([], future)
        try:
            return await future
        finally:
            self._waiting.pop(request_id, None)

    def on_message(self, start: StreamStart, message: Message | None) -> None:
        """Takes a message of an `answer` stream."""
        waiting = self._waiting.get(start.request_id)
        if waiting is None:
            return
        found, future = waiting
        match message:
            case SecurityDefinition():
                found.append(message)
            case SecurityListEnd(count=count) if not future.done():
                if count == len(found):
                    future.set_result(sorted(found, key=lambda definition: definition.instrument))
                else:
                    future.set_exception(ProtocolError(f"{len(found)} instruments came, {count} were sent"))

    def fail(self, error: TesseraError) -> None:
        """The oldest request was refused."""
        for _, future in self._waiting.values():
            if not future.done():
                future.set_exception(error)
                return

    def close(self, error: Exception) -> None:
        """Nothing more comes."""
        for _, future in self._waiting.values():
            if not future.done():
                future.set_exception(error)
