"""Order entry end to end, against a real server."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from authority import found_venue
from support import Server, run, until

from tessera import (
    AdminSession,
    CancelOnDisconnect,
    CancelRejected,
    ConnectError,
    Credentials,
    ExecInst,
    ExecType,
    GatewayRefused,
    NotSent,
    NotSupported,
    OrderRejected,
    OrderSession,
    OrdStatus,
    OrdType,
    OutcomeUnknown,
    Phase,
    Quote,
    Quoter,
    RejectReason,
    SessionEnded,
    Side,
    SideCode,
    TimeInForce,
)
from tessera.codes import EndReason, Liquidity, LogoutReason
from tessera.errors import AdminRefused, CredentialsError
from tessera.messages import CancelReject, ExecutionReport, MassActionReport, NewOrderSingle
from tessera.orders import OrderEvent
from tessera.quoting import mass_quote

NUMBERS = itertools.count()


async def session(server: Server, name: str = "DESK", **how: object) -> OrderSession:
    return await OrderSession.connect(
        server.address,
        server.credentials(),
        f"{name}{next(NUMBERS)}",
        **how,  # type: ignore[arg-type]
    )


async def fresh_instrument(server: Server, symbol: str | None = None) -> int:
    """An instrument of the test's own, with an empty book."""
    admin = await AdminSession.connect(server.address, server.credentials("admin"), f"OPS{next(NUMBERS)}")
    async with admin:
        reply = await admin.list_instrument(symbol or f"T{time.time_ns()}", max_price=100_000)
    return reply.instrument


async def rest(session: OrderSession) -> list[OrderEvent]:
    """Logs out, and returns everything that was said."""
    await session.logout()
    return [event async for event in session.events]


def test_an_order_lives_and_ends(server: Server) -> None:
    async def work() -> None:
        instrument = await fresh_instrument(server)
        desk = await session(server)
        placed = await desk.place(instrument, Side.BUY, 5, 100)
        assert (placed.exec_type, placed.ord_status) == (ExecType.NEW, OrdStatus.NEW)
        assert (placed.price, placed.leaves_qty, placed.side) == (100, 5, SideCode.BUY)
        moved = await desk.replace(placed.cl_ord_id, price=101, qty=7)
        assert (moved.exec_type, moved.price, moved.leaves_qty) == (ExecType.REPLACED, 101, 7)
        assert (moved.order_id, moved.orig_cl_ord_id) == (placed.order_id, placed.cl_ord_id)
        smaller = await desk.reduce(moved.cl_ord_id, by=3)
        assert (smaller.exec_type, smaller.leaves_qty) == (ExecType.REDUCED, 4)
        gone = await desk.cancel(order_id=placed.order_id)
        assert (gone.exec_type, gone.ord_status, gone.leaves_qty) == (
            ExecType.CANCELED,
            OrdStatus.CANCELED,
            0,
        )
        events = await rest(desk)
        assert [e.exec_type for e in events if isinstance(e, ExecutionReport)] == [
            ExecType.NEW,
            ExecType.REPLACED,
            ExecType.REDUCED,
            ExecType.CANCELED,
        ]

    run(work())


def test_which_name_an_order_has_after_a_reduce(server: Server) -> None:
    # docs/protocol.md: a replace gives the order its own ClOrdID; a reduce does not.
    async def work() -> None:
        instrument = await fresh_instrument(server)
        async with await session(server) as desk:
            placed = await desk.place(instrument, Side.BUY, 5, 100)
            reduced = await desk.reduce(placed.cl_ord_id, by=1)
            with pytest.raises(CancelRejected):
                await desk.cancel(reduced.cl_ord_id)
            await desk.cancel(placed.cl_ord_id)

    run(work())


def test_a_trade_is_told_to_both_sides_and_counts(server: Server) -> None:
    async def work() -> None:
        instrument = await fresh_instrument(server)
        maker, taker = await session(server), await session(server, account=2)
        resting = await maker.place(instrument, Side.SELL, 10, 50)
        taking = await taker.place(instrument, Side.BUY, 4, 55)
        fill = [e async for e in taker.reports(taking.cl_ord_id)][-1]
        assert (fill.exec_type, fill.last_px, fill.last_qty) == (ExecType.TRADE, 50, 4)
        assert (fill.cum_qty, fill.leaves_qty, fill.liquidity) == (4, 0, Liquidity.REMOVED)
        events = await rest(maker)
        told = [e for e in events if isinstance(e, ExecutionReport) and e.exec_type is ExecType.TRADE]
        assert [(t.match_id, t.last_px, t.last_qty, t.leaves_qty, t.liquidity) for t in told] == [
            (fill.match_id, 50, 4, 6, Liquidity.ADDED)
        ]
        assert told[0].order_id == resting.order_id
        await taker.logout()

    run(work())


def test_order_types(server: Server) -> None:
    async def work() -> None:
        instrument = await fresh_instrument(server)
        async with await session(server) as desk:
            await desk.place(instrument, Side.SELL, 3, 100)
            ioc = await desk.place(instrument, Side.BUY, 5, 100, time_in_force=TimeInForce.IOC)
            ends = [e async for e in desk.reports(ioc.cl_ord_id)][-1]
            assert (ends.exec_type, ends.end_reason, ends.cum_qty) == (ExecType.CANCELED, EndReason.IOC, 3)
            await desk.place(instrument, Side.SELL, 3, 100)
            with pytest.raises(OrderRejected) as caught:
                await desk.place(instrument, Side.BUY, 1, 100, exec_inst=ExecInst.POST_ONLY)
            assert caught.value.reason is RejectReason.POST_ONLY
            market = await desk.place(
                instrument, Side.BUY, 1, ord_type=OrdType.MARKET, time_in_force=TimeInForce.IOC
            )
            assert [e async for e in desk.reports(market.cl_ord_id)][-1].last_px == 100
            stop = await desk.place(instrument, Side.BUY, 1, 120, ord_type=OrdType.STOP_LIMIT, stop_px=110)
            assert stop.exec_type is ExecType.NEW
            until_then = time.time_ns() + 3_600 * 10**9
            gtd = await desk.place(
                instrument, Side.BUY, 1, 10, time_in_force=TimeInForce.GTD, expire_time=until_then
            )
            report = await desk.cancel_all(instrument)
            assert report.affected == 3, (stop, gtd)

    run(work())


def test_a_cancel_right_behind_its_order(server: Server) -> None:
    async def work() -> None:
        instrument = await fresh_instrument(server)
        async with await session(server) as desk:
            first = desk.next_cl_ord_id()
            order = NewOrderSingle(first, 1, instrument, Side.BUY, price=5, order_qty=1)
            placing = desk.submit(order)
            cancelling = desk.cancel(first)
            placed, cancelled = await asyncio.gather(placing, cancelling)
            assert isinstance(placed, ExecutionReport)
            assert cancelled.order_id == placed.order_id

    run(work())


def test_a_thousand_orders_in_flight(server: Server) -> None:
    async def work() -> None:
        instrument = await fresh_instrument(server)
        async with await session(server) as desk:
            futures = [
                desk.submit(
                    NewOrderSingle(desk.next_cl_ord_id(), 1, instrument, Side.BUY, price=1 + n, order_qty=1)
                )
                for n in range(1_000)
            ]
            reports = await asyncio.gather(*futures)
            assert len({r.order_id for r in reports if isinstance(r, ExecutionReport)}) == 1_000
            assert (await desk.cancel_all(instrument)).affected == 1_000

    run(work())


def test_mass_cancel_filters(server: Server) -> None:
    async def work() -> None:
        one, two = await fresh_instrument(server), await fresh_instrument(server)
        async with await session(server) as desk:
            for instrument in (one, two):
                await desk.place(instrument, Side.BUY, 1, 10)
                await desk.place(instrument, Side.SELL, 1, 20)
            assert (await desk.cancel_all(one, SideCode.BUY)).affected == 1
            assert (await desk.cancel_all(one)).affected == 1
            assert (await desk.cancel_all()).affected == 2

    run(work())


def test_refusals_are_typed(server: Server) -> None:
    async def work() -> None:
        async with await session(server) as desk:
            with pytest.raises(OrderRejected) as order:
                await desk.place(4_000_000, Side.BUY, 1, 1)
            assert order.value.reason is RejectReason.UNKNOWN_INSTRUMENT
            with pytest.raises(CancelRejected) as cancel:
                await desk.cancel(order_id=1 << 40)
            assert cancel.value.reason is RejectReason.UNKNOWN_ORDER
            assert isinstance(cancel.value.reject, CancelReject)
            with pytest.raises((GatewayRefused, OrderRejected)) as unsupported:
                await desk.place(0, Side.BUY, 1, 1, exec_inst=ExecInst.REDUCE_ONLY)
            assert unsupported.value.reason is RejectReason.UNSUPPORTED
        with pytest.raises(NotSent):
            await desk.place(0, Side.BUY, 1, 1)
        with pytest.raises(NotSupported, match="MassQuote"):
            mass_quote()

    run(work())


def test_the_kill_switch(server: Server) -> None:
    async def work() -> None:
        instrument = await fresh_instrument(server)
        async with await session(server) as desk:
            await desk.place(instrument, Side.BUY, 1, 10)
            desk.kill()
            gone = await asyncio.wait_for(_ended(desk), 5)
            assert gone.end_reason is EndReason.KILL
            with pytest.raises((GatewayRefused, OrderRejected)) as refused:
                await desk.place(instrument, Side.BUY, 1, 10)
            assert refused.value.reason in (RejectReason.NOT_PERMITTED, RejectReason.STALE_SESSION)
            desk.release()

            async def serves_again() -> bool:
                try:
                    await desk.place(instrument, Side.BUY, 1, 10)
                except (GatewayRefused, OrderRejected):
                    return False
                return True

            await until(serves_again, "orders are accepted after the release")
            await desk.cancel_all()

    run(work())


async def _ended(desk: OrderSession) -> ExecutionReport:
    async for event in desk.events:
        if isinstance(event, ExecutionReport) and event.exec_type is ExecType.CANCELED:
            return event
    raise AssertionError("the session ended")


def test_quoting_with_two_orders(server: Server) -> None:
    async def work() -> None:
        instrument = await fresh_instrument(server)
        maker, taker = await session(server), await session(server, account=2)
        quoter = Quoter(maker, instrument)
        await quoter.quote(Quote(99, 5, 101, 5))
        await quoter.quote(Quote(100, 5, 102, 5))
        await quoter.quote(Quote(101, 5, 103, 6))
        await quoter.quote(Quote(95, 5, 97, 6))
        assert (await taker.place(instrument, Side.BUY, 2, 97)).exec_type is ExecType.NEW
        with pytest.raises(OrderRejected):  # there is a bid at 95
            await taker.place(instrument, Side.SELL, 1, 95, exec_inst=ExecInst.POST_ONLY)
        await quoter.pull()
        await taker.place(instrument, Side.SELL, 1, 95, exec_inst=ExecInst.POST_ONLY)
        assert (await maker.cancel_all()).affected == 0
        await taker.cancel_all()
        await maker.logout()
        await taker.logout()

    run(work())


def test_heartbeats_keep_a_quiet_session(server: Server) -> None:
    async def work() -> None:
        desk = await session(server, heartbeat=1.0)
        await asyncio.sleep(3.0)  # longer than the 2.4 intervals after which a silent client is gone
        await desk.cancel_all()
        await desk.logout()

    run(work())


def test_orders_of_a_vanished_client_are_cancelled_in_time(server: Server) -> None:
    async def work() -> None:
        instrument = await fresh_instrument(server)
        name = f"GONE{next(NUMBERS)}"
        gone = await OrderSession.connect(server.address, server.credentials(), name)
        watcher = await session(server, account=2)
        await gone.place(instrument, Side.BUY, 1, 10)
        stays = await gone.place(instrument, Side.BUY, 1, 9, exec_inst=ExecInst.STAY_ON_DISCONNECT)
        gone.link.vanish()
        begin = time.monotonic()
        probe = ExecInst.POST_ONLY

        async def cancelled() -> bool:
            try:
                report = await watcher.place(instrument, Side.SELL, 1, 10, exec_inst=probe)
            except OrderRejected as rejected:
                assert rejected.reason is RejectReason.POST_ONLY
                await asyncio.sleep(0.05)
                return False
            await watcher.cancel(report.cl_ord_id)
            return True

        await until(cancelled, "the order at 10 is gone")
        assert time.monotonic() - begin < 2.4 + 3.0  # and a slow disk
        back = await OrderSession.connect(server.address, server.credentials(), name)
        assert (await back.cancel(order_id=stays.order_id)).exec_type is ExecType.CANCELED
        await back.logout()
        await watcher.logout()

    run(work())


@pytest.mark.parametrize(
    ("mode", "cancelled"),
    [
        (CancelOnDisconnect.DISCONNECT, False),
        (CancelOnDisconnect.LOGOUT, True),
        (CancelOnDisconnect.NONE, False),
    ],
)
def test_what_a_logout_cancels(server: Server, mode: CancelOnDisconnect, cancelled: bool) -> None:
    async def work() -> None:
        instrument = await fresh_instrument(server)
        name = f"OUT{next(NUMBERS)}"
        first = await OrderSession.connect(
            server.address, server.credentials(), name, cancel_on_disconnect=mode
        )
        placed = await first.place(instrument, Side.BUY, 1, 10)
        await first.logout()
        again = await OrderSession.connect(server.address, server.credentials(), name)
        if cancelled:
            with pytest.raises(CancelRejected):
                await again.cancel(order_id=placed.order_id)
        else:
            await again.cancel(order_id=placed.order_id)
        await again.logout()

    run(work())


def test_resume_knows_what_arrived_and_what_did_not(server: Server) -> None:
    async def work() -> None:
        instrument = await fresh_instrument(server)
        name = f"RESUME{next(NUMBERS)}"
        first = await OrderSession.connect(
            server.address, server.credentials(), name, cancel_on_disconnect=CancelOnDisconnect.NONE
        )
        known = await first.place(instrument, Side.BUY, 1, 10)
        # One that is sent and whose answer is not waited for, and one that never leaves this machine.
        sent = NewOrderSingle(first.next_cl_ord_id(), 1, instrument, Side.BUY, price=11, order_qty=1)
        answer = first.submit(sent)
        first.link._flush()
        await until(
            lambda: first.link._quic._streams[2].sender._buffer_start > 16 * 3 + 71, "it is acknowledged"
        )
        assert first.link._transport is not None
        first.link._transport.close()  # from here on nothing gets out
        unsent = NewOrderSingle(first.next_cl_ord_id(), 1, instrument, Side.BUY, price=12, order_qty=1)
        lost = first.submit(unsent)
        state = first.resume_state()
        first.link.vanish()
        if not answer.done():
            with pytest.raises(OutcomeUnknown):
                await answer
        with pytest.raises(OutcomeUnknown):
            await lost

        with pytest.raises(SessionEnded) as taken:
            await OrderSession.connect(server.address, server.credentials(), name, resume=state)
        assert taken.value.logout is LogoutReason.DUPLICATE_SESSION
        back = await OrderSession.connect(
            server.address, server.credentials(), name, resume=state, patience=10.0
        )
        assert back.resumed is not None
        assert not back.resumed.new_epoch
        assert [r.cl_ord_id for r in back.resumed.not_arrived] == [unsent.cl_ord_id]
        answered = [] if answer.done() and not answer.exception() else [sent.cl_ord_id]
        assert [r.cl_ord_id for r in back.resumed.arrived] == answered
        assert len(back.resumed.missed) == len(answered)
        again = await back.resend(back.resumed.not_arrived[0])
        assert isinstance(again, ExecutionReport)
        assert (again.exec_type, again.cl_ord_id) == (ExecType.NEW, unsent.cl_ord_id)
        assert (await back.cancel_all(instrument)).affected == 3
        assert known.cl_ord_id < back.next_cl_ord_id()
        await back.logout()

    run(work())


def test_numbers_survive_a_killed_server(start: Callable[..., Server]) -> None:
    server = start()

    async def work() -> None:
        desk = await OrderSession.connect(
            server.address, server.credentials(), "DESK", cancel_on_disconnect=CancelOnDisconnect.NONE
        )
        placed = await desk.place(0, Side.BUY, 1, 10)
        await desk.place(0, Side.BUY, 1, 9)
        state = desk.resume_state()
        server.stop(kill=True)
        begin = time.monotonic()
        with pytest.raises(OutcomeUnknown):
            await desk.place(0, Side.BUY, 1, 8)
        assert 2.0 < time.monotonic() - begin < 4.0  # 2.4 heartbeats
        server.start()
        back = await OrderSession.connect(server.address, server.credentials(), "DESK", resume=state)
        assert back.resumed is not None
        assert back.ack.last_cl_ord_id == placed.cl_ord_id + 1
        assert (back.resumed.arrived, back.resumed.not_arrived) == ((), ())
        gone = await back.cancel(order_id=placed.order_id)
        assert gone.orig_cl_ord_id == placed.cl_ord_id
        await desk.logout()
        await back.logout()

    run(work())


def test_the_same_orders_as_the_program_sends(server: Server) -> None:
    # `tessera trade` enters, this client takes: two implementations of one protocol.
    async def work() -> None:
        symbol = f"T{time.time_ns()}"
        instrument = await fresh_instrument(server, symbol)
        command = [
            "trade",
            "--json",
            "place",
            "--instrument",
            symbol,
            "--side",
            "sell",
            "--qty",
            "2",
            "--price",
            "70",
        ]
        line = await asyncio.to_thread(server.tool, *command, name=f"PROG{next(NUMBERS)}")
        assert json.loads(line.splitlines()[0])
        async with await session(server) as desk:
            taking = await desk.place(instrument, Side.BUY, 2, 70)
            fill = [e async for e in desk.reports(taking.cl_ord_id)][-1]
            assert (fill.last_px, fill.last_qty, fill.leaves_qty) == (70, 2, 0)

    run(work())


def test_instruments_and_phases(server: Server) -> None:
    async def work() -> None:
        symbol = f"T{time.time_ns()}"
        instrument = await fresh_instrument(server, symbol)
        admin = await AdminSession.connect(server.address, server.credentials("admin"), f"OPS{next(NUMBERS)}")
        async with admin, await session(server) as desk:
            known = {d.symbol: d for d in await desk.instruments()}
            assert known[symbol].instrument == instrument
            assert known[symbol].max_price == 100_000
            assert await admin.instruments() == list(known.values())
            await admin.set_phase(instrument, Phase.HALT)
            with pytest.raises(OrderRejected) as halted:
                await desk.place(instrument, Side.BUY, 1, 10)
            assert halted.value.reason is RejectReason.HALTED
            with pytest.raises(AdminRefused):
                await admin.list_instrument(symbol)

    run(work())


def test_nobody_there(server: Server) -> None:
    async def work() -> None:
        with pytest.raises(ConnectError, match=r"127\.0\.0\.1:9"):
            await OrderSession.connect("127.0.0.1:9", server.credentials(), "NOBODY", timeout=0.3)
        with pytest.raises(ConnectError, match="HOST:PORT"):
            await OrderSession.connect("nowhere", server.credentials(), "NOBODY")

    run(work())


def test_certificates_of_another_venue(server: Server, tmp_path: Path) -> None:
    found_venue(tmp_path / "credentials")

    async def work() -> None:
        with pytest.raises(ConnectError):
            await OrderSession.connect(server.address, Credentials.load(tmp_path / "credentials"), "STRANGER")

    run(work())


def test_a_credentials_directory_that_is_not_one() -> None:
    with pytest.raises(CredentialsError, match=r"ca\.crt"):
        Credentials.load("/nonexistent")


def test_a_mass_action_report_is_an_event_too(server: Server) -> None:
    async def work() -> None:
        desk = await session(server)
        report = await desk.cancel_all()
        assert report in [e for e in await rest(desk) if isinstance(e, MassActionReport)]

    run(work())
