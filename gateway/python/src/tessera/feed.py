"""Market data over a connection: books that are exact or say that they are not, and what changes them."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import Self

from tessera.codes import LogoutReason, MdRejectReason, MdRequestKind, MdScope, StreamKind
from tessera.connection import CONNECT_TIMEOUT, SERVER_NAME, Link, open_link
from tessera.credentials import Credentials
from tessera.errors import GatewayRefused, MdRefused, NotSent, ProtocolError, SessionEnded
from tessera.framer import FrameFlags
from tessera.listing import Listing
from tessera.mailbox import Mailbox
from tessera.market import Book, Market, MarketEvent
from tessera.messages import (
    BusinessReject,
    ChannelHeartbeat,
    MdReject,
    MdRequest,
    Reject,
    SecurityDefinition,
    Snapshot,
)
from tessera.session import Alpn, Ended, LoggedOn, Received, SessionConfig, StreamEnded

BUSY_PAUSE = 0.05
"""Seconds before a request that was refused `busy` is made again."""


class Feed:
    """A subscription to the market-data channel. Made by `connect`; use it as `async with`.

    `book` gives an instrument's book as of the last complete command, or raises `Resyncing`: it never gives
    one that may be stale. `events` tells every change, and when a book is lost and known again.
    """

    def __init__(self) -> None:
        self.events: Mailbox[MarketEvent] = Mailbox()
        """What happened, in its order."""
        self.definitions: dict[int, SecurityDefinition] = {}
        """Every instrument that has been heard of, by its number."""
        self._market = Market()
        self._listing = Listing()
        self._link: Link | None = None
        self._last_id = 0
        self._subscription = 0
        self._channel: int | None = None
        self._announced: int | None = None
        self._changed = asyncio.Event()
        self._error: Exception | None = None

    @classmethod
    async def connect(
        cls,
        address: str,
        credentials: Credentials,
        name: str,
        *,
        heartbeat: float = 1.0,
        take_over: bool = False,
        server_name: str = SERVER_NAME,
        timeout: float = CONNECT_TIMEOUT,
    ) -> Self:
        """Connects to HOST:PORT, logs on as `name` and learns the instruments.

        Raises:
            ConnectError: nobody answers at the address, or the certificates do not fit.
            SessionEnded: the server refused the Logon; its `logout` says why.
        """
        feed = cls()
        config = SessionConfig(name=name, heartbeat=heartbeat, take_over=take_over)
        feed._link = await open_link(
            address, credentials, config, Alpn.MARKET_DATA, feed._on_event, server_name, timeout
        )
        for definition in await feed._listing.request(feed._link):
            feed.definitions[definition.instrument] = definition
        return feed

    @property
    def link(self) -> Link:
        """The connection below."""
        assert self._link is not None, "a feed is made by connect"
        return self._link

    def instrument(self, symbol: str) -> SecurityDefinition:
        """The definition of the instrument with this name.

        Raises:
            KeyError: there is none.
        """
        for definition in self.definitions.values():
            if definition.symbol == symbol:
                return definition
        raise KeyError(symbol)

    async def subscribe(self, instrument: int | None = None, timeout: float = 10.0) -> None:
        """Subscribes to one instrument, or to all, and waits until the books are known.

        Another call changes what is subscribed to.

        Raises:
            MdRefused: the server refused it.
            SessionEnded: the session ended meanwhile.
            TimeoutError: the books are not known after `timeout` seconds.
        """
        self._error = None
        market, self._market = self._market, Market(instrument)
        if self._subscription == 0:
            self._subscribe()
        else:
            # The channel carries every instrument; what is new are the books that are wanted.
            self._market.next_seq = market.next_seq
            self._ask(MdRequestKind.SNAPSHOT, instrument)
        wanted = set(self.definitions) if instrument is None else {instrument}
        async with asyncio.timeout(timeout):
            for each in wanted:
                await self.synced(each)

    async def synced(self, instrument: int) -> Book:
        """Waits until the book of an instrument is known, and returns it.

        Raises:
            MdRefused, SessionEnded: it never will be.
        """
        while True:
            mirror = self._market.mirrors.get(instrument)
            if mirror is not None and mirror.live:
                return mirror.book()
            if self._error is not None:
                raise self._error
            self._changed.clear()
            await self._changed.wait()

    def book(self, instrument: int) -> Book:
        """The book as of the last complete command that has come.

        Raises:
            Resyncing: it is not known at the moment.
            KeyError: it was not subscribed to.
        """
        return self._market.mirrors[instrument].book()

    def resync(self, why: str = "asked for") -> None:
        """Throws all books away and asks for snapshots, as after a loss.

        Raises:
            NotSent: the session is over.
        """
        self._tell(self._market.lose_all(why))
        self._request_snapshots()

    async def logout(self) -> None:
        """Ends the session."""
        await self.link.logout()

    async def __aenter__(self) -> Self:
        """The feed itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Logs out."""
        await self.logout()

    # ---- inside

    def _on_event(self, event: LoggedOn | Received | StreamEnded | Ended) -> None:
        match event:
            case Received(start=None, message=message):
                match message:
                    case MdReject():
                        self._on_reject(message)
                    case ChannelHeartbeat(next_seq=next_seq):
                        self._on_announced(next_seq)
                    case BusinessReject():
                        self._listing.fail(GatewayRefused(message))
                    case Reject():
                        self._fail(ProtocolError(f"the server cannot read us: {message}"))
            case Received(start=start, message=message) if start is not None:
                match start.kind, message:
                    case StreamKind.ANSWER, _:
                        self._listing.on_message(start, message)
                    case StreamKind.SNAPSHOT, Snapshot():
                        last = bool(event.flags & FrameFlags.LAST_IN_BATCH)
                        self._tell(self._market.on_snapshot(message, last))
                    case StreamKind.CHANNEL, _ if start.request_id == self._subscription:
                        if self._channel != start.request_id:
                            self._channel = start.request_id
                            self._tell(self._market.start(start.next_seq))
                        if isinstance(message, SecurityDefinition):
                            self.definitions[message.instrument] = message
                        self._tell(self._market.on_channel(event.seq, message))
                self._request_snapshots()
            case Ended(error=error):
                self._tell(self._market.lose_all(f"the session is over: {error}"))
                agreed = isinstance(error, SessionEnded) and error.logout is LogoutReason.NORMAL
                self.events.close(None if agreed else error)
                self._listing.close(error)
                self._fail(error)

    def _on_announced(self, next_seq: int) -> None:
        # Heartbeat and channel are streams of their own, so what one announces may still be on its way; when
        # it has not come by the next heartbeat, an interval later, it is late enough not to be trusted.
        market = self._market
        if self._announced is not None and (market.next_seq or 0) < self._announced and self._channel:
            self._tell(market.lose_all(f"the channel is behind message {self._announced}"))
            self._request_snapshots()
        self._announced = next_seq

    def _on_reject(self, reject: MdReject) -> None:
        match reject.reason:
            case MdRejectReason.LAGGED:
                self._tell(self._market.lose_all("this client read too slowly"))
                self._market.unsynced()  # the new subscription brings them
                self._subscribe()
            case MdRejectReason.BUSY:
                if reject.request_id == self._subscription:
                    self._subscription = 0
                asyncio.get_running_loop().call_later(BUSY_PAUSE, self._ask_again)
            case reason:
                if reject.request_id == self._subscription:
                    self._subscription = 0
                self._fail(MdRefused(reject.request_id, reason))

    def _ask_again(self) -> None:
        for mirror in self._market.mirrors.values():
            mirror.wants_snapshot = not mirror.live
        with contextlib.suppress(NotSent):  # the session may have ended in between; the books are lost then
            if self._subscription == 0:
                self._subscribe()
            else:
                self._request_snapshots()

    def _subscribe(self) -> None:
        self._channel = None
        self._announced = None
        self._subscription = self._ask(MdRequestKind.SUBSCRIBE, self._market.wanted)

    def _request_snapshots(self) -> None:
        wanted = self._market.unsynced()
        if len(wanted) > 1:
            self._ask(MdRequestKind.SNAPSHOT, None)
        elif wanted:
            self._ask(MdRequestKind.SNAPSHOT, wanted.pop())

    def _ask(self, kind: MdRequestKind, instrument: int | None) -> int:
        self._last_id += 1
        scope = MdScope.ALL if instrument is None else MdScope.INSTRUMENT
        self.link.control(
            MdRequest(request_id=self._last_id, kind=kind, scope=scope, instrument=instrument or 0)
        )
        return self._last_id

    def _tell(self, events: list[MarketEvent]) -> None:
        for event in events:
            self.events.put(event)
        if events:
            self._changed.set()

    def _fail(self, error: Exception) -> None:
        self._error = error
        self._changed.set()
