"""Operating the exchange: listing instruments and changing their phases."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from tessera.codes import Phase, RejectReason, StreamKind
from tessera.connection import CONNECT_TIMEOUT, SERVER_NAME, Link, open_link
from tessera.credentials import Credentials
from tessera.errors import AdminRefused, FormRefused, OutcomeUnknown
from tessera.listing import Listing
from tessera.messages import AdminInstrument, AdminPhase, AdminReply, Reject, SecurityDefinition
from tessera.session import Alpn, Ended, LoggedOn, Received, SessionConfig, StreamEnded


class AdminSession:
    """A logged-on admin session. Made by `connect`; use it as `async with`."""

    def __init__(self) -> None:
        self._waiting: dict[int, asyncio.Future[AdminReply]] = {}
        self._listing = Listing()
        self._last_cl_ord_id = 0
        self._link: Link | None = None

    @classmethod
    async def connect(
        cls,
        address: str,
        credentials: Credentials,
        name: str,
        *,
        server_name: str = SERVER_NAME,
        timeout: float = CONNECT_TIMEOUT,
    ) -> Self:
        """Connects to HOST:PORT with credentials that may operate it, and logs on as `name`.

        Raises:
            ConnectError: nobody answers at the address, or the certificates do not fit.
            SessionEnded: the server refused the Logon; its `logout` says why.
        """
        admin = cls()
        admin._link = await open_link(
            address, credentials, SessionConfig(name=name), Alpn.ADMIN, admin._on_event, server_name, timeout
        )
        ack = admin._link.session.ack
        admin._last_cl_ord_id = ack.last_cl_ord_id if ack else 0
        return admin

    @property
    def link(self) -> Link:
        """The connection below."""
        assert self._link is not None, "a session is made by connect"
        return self._link

    async def list_instrument(
        self,
        symbol: str,
        *,
        tick: int = 1,
        lot: int = 1,
        min_price: int = 1,
        max_price: int = 1_000_000,
        min_qty: int = 1,
        max_qty: int = 1_000_000,
    ) -> AdminReply:
        """Lists a plain instrument: prices in ticks, quantities in lots.

        Raises:
            AdminRefused: the exchange refused it.
            OutcomeUnknown: the session ended before the answer.
            NotSent: the session was already over.
        """
        return await self.submit(
            AdminInstrument(
                cl_ord_id=self.next_cl_ord_id(),
                symbol=symbol,
                tick=tick,
                lot=lot,
                min_price=min_price,
                max_price=max_price,
                min_qty=min_qty,
                max_qty=max_qty,
            )
        )

    async def set_phase(self, instrument: int, phase: Phase, ref_price: int | None = None) -> AdminReply:
        """Changes an instrument's phase; `ref_price` in ticks is the reference of an uncross.

        Raises:
            AdminRefused, OutcomeUnknown, NotSent: as for `list_instrument`.
        """
        return await self.submit(
            AdminPhase(
                cl_ord_id=self.next_cl_ord_id(),
                instrument=instrument,
                phase=phase,
                has_ref_price=ref_price is not None,
                ref_price=ref_price or 0,
            )
        )

    async def instruments(self) -> list[SecurityDefinition]:
        """Every instrument, in the order of their numbers.

        Raises:
            SessionEnded: the session ended before the list was complete.
        """
        return await self._listing.request(self.link)

    def next_cl_ord_id(self) -> int:
        """A client id above all before it."""
        self._last_cl_ord_id += 1
        return self._last_cl_ord_id

    async def submit(self, command: AdminInstrument | AdminPhase) -> AdminReply:
        """Sends a command with a ClOrdID of the caller's, and waits until it is durable.

        Raises:
            AdminRefused, FormRefused: the exchange refused it.
            OutcomeUnknown, NotSent: as for `list_instrument`.
        """
        future: asyncio.Future[AdminReply] = asyncio.get_running_loop().create_future()
        self.link.control(command)
        self._waiting[command.cl_ord_id] = future
        return await future

    async def logout(self) -> None:
        """Ends the session."""
        await self.link.logout()

    async def __aenter__(self) -> Self:
        """The session itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Logs out."""
        await self.logout()

    def _on_event(self, event: LoggedOn | Received | StreamEnded | Ended) -> None:
        match event:
            case Received(start=start, message=message) if start is not None:
                if start.kind is StreamKind.ANSWER:
                    self._listing.on_message(start, message)
            case Received(message=AdminReply() as reply):
                future = self._waiting.pop(reply.cl_ord_id, None)
                if future is not None and not future.done():
                    if reply.reason is RejectReason.NONE:
                        future.set_result(reply)
                    else:
                        future.set_exception(AdminRefused(reply.cl_ord_id, reply.reason))
            case Received(message=Reject() as reject):
                # Commands have no number of their own, and are answered in their order.
                for key in list(self._waiting)[:1]:
                    self._waiting.pop(key).set_exception(FormRefused(reject))
            case Ended(error=error):
                self._listing.close(error)
                for future in self._waiting.values():
                    if not future.done():
                        future.set_exception(OutcomeUnknown(str(error)))
