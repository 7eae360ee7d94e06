"""Order entry: requests with their answers, and what the exchange says about the orders."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tessera.codes import (
    CancelOnDisconnect,
    Changes,
    ExecInst,
    ExecType,
    KillAction,
    LogoutReason,
    MassActionScope,
    OrdType,
    RejectReason,
    SelfMatch,
    Side,
    SideCode,
    StreamKind,
    TimeInForce,
)
from tessera.connection import CONNECT_TIMEOUT, SERVER_NAME, Link, open_link
from tessera.credentials import Credentials
from tessera.errors import (
    Busy,
    CancelRejected,
    FormRefused,
    GatewayRefused,
    MassActionRejected,
    OrderRejected,
    OutcomeUnknown,
    SessionEnded,
    TesseraError,
    Throttled,
)
from tessera.framer import FrameFlags
from tessera.listing import Listing
from tessera.mailbox import Mailbox
from tessera.messages import (
    BusinessReject,
    Cancel,
    CancelReject,
    CancelReplace,
    ExecutionReport,
    KillSwitch,
    LogonAck,
    MassAction,
    MassActionReport,
    NewOrderSingle,
    Reduce,
    Reject,
    SecurityDefinition,
)
from tessera.session import Alpn, Ended, LoggedOn, Received, SessionConfig, StreamEnded

Request = NewOrderSingle | CancelReplace | Cancel | Reduce | MassAction
"""What can be asked on the request stream."""

Answer = ExecutionReport | MassActionReport
"""What a request that is not refused is answered with first."""

OrderEvent = ExecutionReport | CancelReject | MassActionReport | BusinessReject | Reject
"""What the exchange says about orders."""


NAME_TAKEN_PAUSE = 0.1
"""Seconds between two attempts to log on with a name that is taken."""


@dataclass(frozen=True, slots=True)
class Resume:
    """What a session has to remember over the loss of its connection."""

    name: str
    epoch: int
    next_server_seq: int
    """ServerSeq of the first message that has not been seen."""
    last_cl_ord_id: int
    """Highest client id that has been given out."""
    unanswered: tuple[Request, ...]
    """Requests without an answer, in the order of their ids."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """What a Logon says about the time that was missed."""

    arrived: tuple[Request, ...]
    """Requests that reached the engine, but whose answers are among the missed messages."""
    not_arrived: tuple[Request, ...]
    """Requests that never reached it: forget them, or send them again with `OrderSession.resend`."""
    missed: range
    """ServerSeqs that were said in between; the exchange cannot say them again yet."""
    new_epoch: bool
    """The numbers have begun anew: nothing before can be compared."""


def resumed(before: Resume, ack: LogonAck) -> Resumed:
    """Compares what a client remembers with what the server has."""
    new_epoch = before.epoch != ack.epoch
    return Resumed(
        arrived=tuple(r for r in before.unanswered if r.cl_ord_id <= ack.last_cl_ord_id and not new_epoch),
        not_arrived=tuple(r for r in before.unanswered if r.cl_ord_id > ack.last_cl_ord_id and not new_epoch),
        missed=range(0) if new_epoch else range(before.next_server_seq, ack.next_server_seq),
        new_epoch=new_epoch,
    )


@dataclass(slots=True)
class _Pending:
    request: Request
    seq: int
    answer: asyncio.Future[Answer]


class OrderSession:
    """A logged-on order session. Made by `connect`; use it as `async with`, which logs out at the end.

    Every request gets the next ClOrdID; the methods return the first report that answers it, and raise when
    it is refused. All reports, those of fills included, also come out of `events`.
    """

    def __init__(self, name: str, account: int) -> None:
        self.name = name
        self.account = account
        self.events: Mailbox[OrderEvent] = Mailbox()
        """Everything that the exchange says, in its order."""
        self.resumed: Resumed | None = None
        """Set when the session was connected with a `Resume`."""
        self._pending: dict[int, _Pending] = {}
        self._by_seq: dict[int, int] = {}
        self._last_cl_ord_id = 0
        self._listing = Listing()
        self._link: Link | None = None

    @classmethod
    async def connect(
        cls,
        address: str,
        credentials: Credentials,
        name: str,
        *,
        account: int = 1,
        heartbeat: float = 1.0,
        cancel_on_disconnect: CancelOnDisconnect = CancelOnDisconnect.DISCONNECT,
        cancel_grace_ms: int = 0,
        take_over: bool = False,
        resume: Resume | None = None,
        patience: float = 0.0,
        server_name: str = SERVER_NAME,
        timeout: float = CONNECT_TIMEOUT,
    ) -> Self:
        """Connects to HOST:PORT and logs on as `name`, which one connection at a time may use.

        `heartbeat` is in seconds, 1 to 60: orders of a vanished client are cancelled after 2.4 heartbeats
        and `cancel_grace_ms` milliseconds. `resume` is what `resume_state` gave on the connection before.
        `patience` is for how many seconds to try again while the name is taken: after a lost connection the
        server keeps it until it has missed us, 2.4 heartbeats of that connection.

        Raises:
            ConnectError: nobody answers at the address, or the certificates do not fit.
            SessionEnded: the server refused the Logon; its `logout` says why.
        """
        config = SessionConfig(
            name=name,
            heartbeat=heartbeat,
            cancel_on_disconnect=cancel_on_disconnect,
            cancel_grace_ms=cancel_grace_ms,
            take_over=take_over,
            epoch=resume.epoch if resume else 0,
            next_server_seq=resume.next_server_seq if resume else 0,
        )
        loop = asyncio.get_running_loop()
        give_up = loop.time() + patience
        while True:
            session = cls(name, account)
            try:
                session._link = await open_link(
                    address, credentials, config, Alpn.ORDERS, session._on_event, server_name, timeout
                )
                break
            except SessionEnded as ended:
                if ended.logout is not LogoutReason.DUPLICATE_SESSION or loop.time() >= give_up:
                    raise
                await asyncio.sleep(NAME_TAKEN_PAUSE)
        ack = session.ack
        session._last_cl_ord_id = ack.last_cl_ord_id
        if resume is not None:
            session.resumed = resumed(resume, ack)
        return session

    @property
    def link(self) -> Link:
        """The connection below."""
        assert self._link is not None, "a session is made by connect"
        return self._link

    @property
    def ack(self) -> LogonAck:
        """The LogonAck: heartbeat granted, durability, rate limits."""
        ack = self.link.session.ack
        assert ack is not None, "connect returns after the LogonAck"
        return ack

    def next_cl_ord_id(self) -> int:
        """A client id above all before it."""
        self._last_cl_ord_id += 1
        return self._last_cl_ord_id

    # ---- requests

    async def place(
        self,
        instrument: int,
        side: Side,
        qty: int,
        price: int = 0,
        *,
        ord_type: OrdType = OrdType.LIMIT,
        time_in_force: TimeInForce = TimeInForce.GTC,
        stop_px: int = 0,
        min_qty: int = 0,
        display_qty: int = 0,
        expire_time: int = 0,
        exec_inst: ExecInst = ExecInst.NONE,
        smp_id: int = 0,
        smp_mode: SelfMatch = SelfMatch.NONE,
        account: int | None = None,
    ) -> ExecutionReport:
        """Enters an order: `qty` in lots, `price` and `stop_px` in ticks, `expire_time` in ns since 1970 UTC.

        Returns the report of its acceptance. Fills follow as `events`.

        Raises:
            OrderRejected: the engine refused it.
            GatewayRefused: the gateway refused it (`Throttled`, `Busy`, or for another reason).
            OutcomeUnknown: the connection was lost before the answer.
            NotSent: the session was already over.
        """
        order = NewOrderSingle(
            cl_ord_id=self.next_cl_ord_id(),
            account=self.account if account is None else account,
            instrument=instrument,
            side=side,
            ord_type=ord_type,
            time_in_force=time_in_force,
            price=price,
            order_qty=qty,
            min_qty=min_qty,
            display_qty=display_qty,
            stop_px=stop_px,
            expire_time=expire_time,
            exec_inst=exec_inst,
            smp_id=smp_id,
            smp_mode=smp_mode,
            transact_time=time.time_ns(),
        )
        return _execution(await self.submit(order))

    async def replace(
        self,
        cl_ord_id: int = 0,
        *,
        order_id: int = 0,
        price: int | None = None,
        qty: int | None = None,
        stop_px: int | None = None,
    ) -> ExecutionReport:
        """Changes an order, named by its own ClOrdID or by `order_id`; None leaves a value as it is.

        `qty` is the new total in lots, what has been filled included. The order's ClOrdID is the replace's
        from then on: the report's `cl_ord_id`.

        Raises:
            CancelRejected: the engine refused it, and the order is as it was.
            GatewayRefused, OutcomeUnknown, NotSent: as for `place`.
        """
        changes = Changes.NONE
        for value, bit in ((price, Changes.PRICE), (qty, Changes.QTY), (stop_px, Changes.STOP_PX)):
            if value is not None:
                changes |= bit
        return _execution(
            await self.submit(
                CancelReplace(
                    cl_ord_id=self.next_cl_ord_id(),
                    orig_cl_ord_id=cl_ord_id,
                    order_id=order_id,
                    price=price or 0,
                    order_qty=qty or 0,
                    stop_px=stop_px or 0,
                    changes=changes,
                )
            )
        )

    async def reduce(self, cl_ord_id: int = 0, *, by: int, order_id: int = 0) -> ExecutionReport:
        """Takes `by` lots off an order, which keeps its place.

        Raises:
            CancelRejected, GatewayRefused, OutcomeUnknown, NotSent: as for `replace`.
        """
        return _execution(
            await self.submit(
                Reduce(cl_ord_id=self.next_cl_ord_id(), orig_cl_ord_id=cl_ord_id, order_id=order_id, by=by)
            )
        )

    async def cancel(self, cl_ord_id: int = 0, *, order_id: int = 0) -> ExecutionReport:
        """Cancels an order, named by its ClOrdID or by `order_id`.

        Raises:
            CancelRejected: there is no such order (any more); `reject.ord_status` says where it stands.
            GatewayRefused, OutcomeUnknown, NotSent: as for `place`.
        """
        return _execution(
            await self.submit(
                Cancel(cl_ord_id=self.next_cl_ord_id(), orig_cl_ord_id=cl_ord_id, order_id=order_id)
            )
        )

    async def cancel_all(
        self, instrument: int | None = None, side: SideCode = SideCode.ANY, account: int = 0
    ) -> MassActionReport:
        """Cancels the session's orders that pass the filters; the report says how many.

        Raises:
            MassActionRejected: the engine refused it.
            GatewayRefused, OutcomeUnknown, NotSent: as for `place`.
        """
        scope = MassActionScope.ALL if instrument is None else MassActionScope.INSTRUMENT
        answer = await self.submit(
            MassAction(
                cl_ord_id=self.next_cl_ord_id(),
                account=account,
                scope=scope,
                instrument=instrument or 0,
                side=side,
            )
        )
        assert isinstance(answer, MassActionReport), "only a MassActionReport answers a MassAction"
        return answer

    def submit(self, request: Request, flags: FrameFlags = FrameFlags.NONE) -> asyncio.Future[Answer]:
        """Sends a request with a ClOrdID of the caller's; the future is its first answer.

        Many requests that are submitted in one turn of the event loop travel together. Its exceptions are
        those of `place`, `cancel` and `cancel_all`.

        Raises:
            NotSent: the session is over.
            EncodeError: a value does not fit its field.
        """
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        seq = self.link.request(request, flags)
        self._last_cl_ord_id = max(self._last_cl_ord_id, request.cl_ord_id)
        self._pending[request.cl_ord_id] = _Pending(request, seq, future)
        self._by_seq[seq] = request.cl_ord_id
        return future

    def resend(self, request: Request) -> asyncio.Future[Answer]:
        """Sends a request of `Resumed.not_arrived` again, as what it is: perhaps sent before.

        Send them in their order and before anything new: ClOrdIDs must rise.

        Raises:
            NotSent: the session is over.
        """
        return self.submit(request, FrameFlags.POSS_RESEND)

    def kill(self) -> None:
        """Engages the kill switch: all orders are cancelled and new ones refused, ahead of what is queued.

        There is no answer of its own; the cancels come as `events`.

        Raises:
            NotSent: the session is over.
        """
        self.link.control(KillSwitch(KillAction.ENGAGE))

    def release(self) -> None:
        """Releases the kill switch.

        Raises:
            NotSent: the session is over.
        """
        self.link.control(KillSwitch(KillAction.RELEASE))

    async def instruments(self) -> list[SecurityDefinition]:
        """Every instrument, in the order of their numbers.

        Raises:
            GatewayRefused: the list was refused, as `Throttled` for example.
            SessionEnded: the session ended before the list was complete.
        """
        return await self._listing.request(self.link)

    # ---- the end

    def resume_state(self) -> Resume:
        """What the next `connect` needs to find out what became of unanswered requests."""
        return Resume(
            name=self.name,
            epoch=self.ack.epoch,
            next_server_seq=self.link.session.next_server_seq,
            last_cl_ord_id=self._last_cl_ord_id,
            unanswered=tuple(self._pending[key].request for key in sorted(self._pending)),
        )

    async def logout(self) -> None:
        """Ends the session: requests that have been sent are served, their answers come as `events`."""
        await self.link.logout()

    async def __aenter__(self) -> Self:
        """The session itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Logs out."""
        await self.logout()

    async def reports(self, cl_ord_id: int) -> AsyncIterator[ExecutionReport]:
        """Reads `events` for the ExecutionReports of one order until it is done; drops all others."""
        async for event in self.events:
            if isinstance(event, ExecutionReport) and event.cl_ord_id == cl_ord_id:
                yield event
                if event.leaves_qty == 0:
                    return

    # ---- inside

    def _on_event(self, event: LoggedOn | Received | StreamEnded | Ended) -> None:
        match event:
            case Received(start=start, message=message):
                if start is not None and start.kind is StreamKind.ANSWER:
                    self._listing.on_message(start, message)
                elif isinstance(message, OrderEvent):
                    self._answer(message)
                    self.events.put(message)
            case Ended(error=error):
                agreed = isinstance(error, SessionEnded) and _as_agreed(error)
                self.events.close(None if agreed else error)
                self._listing.close(error)
                for pending in self._pending.values():
                    if not pending.answer.done():
                        pending.answer.set_exception(_unknown(error))
                        pending.answer.exception()  # not everybody waits for every answer

    def _answer(self, message: OrderEvent) -> None:
        match message:
            case Reject(ref_seq=seq) if seq in self._by_seq:
                self._settle(self._by_seq[seq], FormRefused(message))
            case BusinessReject():
                key = self._by_seq.get(message.ref_seq, message.cl_ord_id)
                self._settle(key, _gateway_error(message))
                if message.cl_ord_id == 0:
                    self._listing.fail(_gateway_error(message))
            case ExecutionReport(cl_ord_id=key):
                pending = self._pending.get(key)
                if pending is None or isinstance(pending.request, MassAction):
                    return
                refused = message.exec_type is ExecType.REJECTED
                self._settle(key, OrderRejected(message) if refused else message)
            case CancelReject(cl_ord_id=key):
                self._settle(key, CancelRejected(message))
            case MassActionReport(cl_ord_id=key):
                refused = message.reason is not RejectReason.NONE
                self._settle(key, MassActionRejected(message) if refused else message)

    def _settle(self, key: int, answer: Answer | TesseraError) -> None:
        pending = self._pending.pop(key, None)
        if pending is None:
            return
        self._by_seq.pop(pending.seq, None)
        if pending.answer.done():
            return
        if isinstance(answer, TesseraError):
            pending.answer.set_exception(answer)
            pending.answer.exception()  # not everybody waits for every answer
        else:
            pending.answer.set_result(answer)


def _execution(answer: Answer) -> ExecutionReport:
    assert isinstance(answer, ExecutionReport), "only a MassAction is answered with another report"
    return answer


def _gateway_error(reject: BusinessReject) -> GatewayRefused:
    match reject.reason:
        case RejectReason.THROTTLED:
            return Throttled(reject)
        case RejectReason.BUSY:
            return Busy(reject)
        case _:
            return GatewayRefused(reject)


def _as_agreed(error: SessionEnded) -> bool:
    return error.logout is LogoutReason.NORMAL


def _unknown(error: Exception) -> OutcomeUnknown:
    if isinstance(error, SessionEnded):
        return OutcomeUnknown(str(error), error.logout, error.close)
    return OutcomeUnknown(str(error))
