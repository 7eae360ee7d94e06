"""Market data end to end: the mirror beside what `tessera feed` shows."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
from typing import Any

import pytest
from support import Server, raw, run, until
from test_orders import fresh_instrument, session

from tessera import (
    Book,
    CancelRejected,
    Changed,
    ExecType,
    Feed,
    Listed,
    Lost,
    Phase,
    RejectReason,
    Resyncing,
    Side,
    Synced,
)
from tessera.admin import AdminSession
from tessera.codes import MdMode, MdRejectReason, MdRequestKind, MdScope, StreamKind
from tessera.errors import MdRefused
from tessera.framer import FrameFlags, encode_frame
from tessera.messages import ChannelHeartbeat, MdReject, MdRequest, Snapshot, Status, Trade
from tessera.session import Alpn, Received
from tessera.tls import ExportingConnection

NUMBERS = itertools.count()


async def connect(server: Server) -> Feed:
    return await Feed.connect(server.address, server.credentials(), f"FEED{next(NUMBERS)}")


def shown(server: Server, symbol: str) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """The whole book as `tessera feed` prints it."""
    line = server.tool(
        "feed", "--instrument", symbol, "--level", "l2", "--depth", "0", "--count", "1", "--json",
        name=f"SHOW{next(NUMBERS)}",
    )  # fmt: skip
    told = json.loads(line.splitlines()[0])
    sides = []
    for side in ("bids", "asks"):
        sides.append([tuple(level) for level in told[side]])
    return sides[0], sides[1]


def levels(book: Book) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    return (
        [(level.price, level.qty, level.orders) for level in book.bids],
        [(level.price, level.qty, level.orders) for level in book.asks],
    )


async def trade_at_random(server: Server, instruments: list[int], count: int, seed: int) -> None:
    """Orders, replaces and cancels around one price, many of which trade."""
    chance = random.Random(seed)
    async with await session(server) as desk:
        live: list[int] = []
        for _ in range(count):
            try:
                if live and chance.random() < 0.3:
                    which = live.pop(chance.randrange(len(live)))
                    if chance.random() < 0.5:
                        await desk.cancel(which)
                    else:
                        live.append((await desk.replace(which, price=chance.randint(90, 110))).cl_ord_id)
                else:
                    placed = await desk.place(
                        chance.choice(instruments),
                        chance.choice([Side.BUY, Side.SELL]),
                        chance.randint(1, 9),
                        chance.randint(90, 110),
                    )
                    assert placed.exec_type is ExecType.NEW
                    live.append(placed.cl_ord_id)
            except CancelRejected as gone:  # it has traded away meanwhile
                assert gone.reason is RejectReason.UNKNOWN_ORDER


def test_the_mirror_is_what_the_program_shows(server: Server) -> None:
    async def work() -> None:
        symbol = f"M{time.time_ns()}"
        instrument = await fresh_instrument(server, symbol)
        other = await fresh_instrument(server)
        async with await connect(server) as feed:
            assert feed.instrument(symbol).instrument == instrument
            await feed.subscribe()
            await trade_at_random(server, [instrument, other], 300, seed=7)
            expected = await asyncio.to_thread(shown, server, symbol)
            await until(lambda: levels(feed.book(instrument)) == expected, f"the mirror is {expected}")
            assert expected[0] or expected[1]
            late = await connect(server)
            await late.subscribe(instrument)
            assert levels(late.book(instrument)) == expected
            with pytest.raises(KeyError):
                late.book(other)
            await late.logout()
        events = []
        async for event in feed.events:
            events.append(event)
        # Before the end nothing was lost, so every checksum was right.
        assert not any(isinstance(event, Lost) and "over" not in event.why for event in events)
        trades = [u for e in events if isinstance(e, Changed) for u in e.updates if isinstance(u, Trade)]
        assert len(trades) > 20
        with pytest.raises(Resyncing):
            feed.book(instrument)

    run(work())


def test_snapshots_while_trading_goes_on(server: Server) -> None:
    async def work() -> None:
        symbol = f"M{time.time_ns()}"
        instrument = await fresh_instrument(server, symbol)
        async with await connect(server) as feed:
            await feed.subscribe(instrument)
            trading = asyncio.create_task(trade_at_random(server, [instrument], 200, seed=8))
            resyncs = 0
            while not trading.done():
                feed.resync("a test")
                with pytest.raises(Resyncing):
                    feed.book(instrument)
                await feed.synced(instrument)
                resyncs += 1
                await asyncio.sleep(0.002)
            await trading
            assert resyncs > 5
            expected = await asyncio.to_thread(shown, server, symbol)
            await until(lambda: levels(feed.book(instrument)) == expected, f"the mirror is {expected}")
        async for event in feed.events:
            if isinstance(event, Lost):
                assert event.why == "a test" or "over" in event.why

    run(work())


def test_a_new_instrument_and_a_phase(server: Server) -> None:
    async def work() -> None:
        async with await connect(server) as feed:
            await feed.subscribe()
            symbol = f"N{time.time_ns()}"
            instrument = await fresh_instrument(server, symbol)
            book = await feed.synced(instrument)
            assert (book.bids, book.asks, book.phase) == ((), (), Phase.CONTINUOUS)
            assert feed.instrument(symbol).instrument == instrument
            async with await session(server) as desk:
                await desk.place(instrument, Side.BUY, 3, 50)
                await until(lambda: len(feed.book(instrument).bids) == 1, "the order shows")
                admin = await AdminSession.connect(
                    server.address, server.credentials("admin"), f"FOPS{next(NUMBERS)}"
                )
                await admin.set_phase(instrument, Phase.HALT)
                await until(lambda: feed.book(instrument).phase is Phase.HALT, "the halt shows")
                await admin.logout()
                await desk.cancel_all()
        events = [event async for event in feed.events]
        assert any(isinstance(e, Listed) and e.definition.symbol == symbol for e in events)
        assert any(isinstance(e, Synced) and e.instrument == instrument for e in events)
        assert any(isinstance(u, Status) for e in events if isinstance(e, Changed) for u in e.updates)

    run(work())


def test_refusals(server: Server) -> None:
    async def work() -> None:
        async with await connect(server) as feed:
            with pytest.raises(MdRefused) as unknown:
                await feed.subscribe(4_000_000)
            assert unknown.value.reason is MdRejectReason.UNKNOWN_INSTRUMENT
        for request, reason in [
            (MdRequest(1, mode=MdMode.DATAGRAM), MdRejectReason.UNSUPPORTED_MODE),
            (MdRequest(2, mode=MdMode.CONFLATED), MdRejectReason.UNSUPPORTED_MODE),
            (MdRequest(3, channel=9), MdRejectReason.UNSUPPORTED_CHANNEL),
        ]:
            feed = await connect(server)
            seen: list[MdReject] = []
            handler = feed.link._handler

            def spy(event: object, seen: list[MdReject] = seen) -> None:
                if isinstance(event, Received) and isinstance(event.message, MdReject):
                    seen.append(event.message)

            feed.link._handler = spy
            feed.link.control(request)
            await until(lambda seen=seen: bool(seen), f"{request} is refused")  # type: ignore[misc]
            assert seen[0] == MdReject(request.request_id, reason)
            feed.link._handler = handler
            await feed.logout()

    run(work())


def test_another_subscription_on_the_same_feed(server: Server) -> None:
    async def work() -> None:
        first, second = await fresh_instrument(server), await fresh_instrument(server)
        async with await connect(server) as feed, await session(server) as desk:
            with pytest.raises(MdRefused):
                await feed.subscribe(4_000_000)
            await feed.subscribe(first)
            await desk.place(second, Side.BUY, 1, 10)
            await feed.subscribe(second)
            await until(lambda: len(feed.book(second).bids) == 1, "the order shows")
            with pytest.raises(KeyError):
                feed.book(first)
            await feed.subscribe()
            await desk.place(first, Side.BUY, 1, 10)
            await until(lambda: len(feed.book(first).bids) == 1, "the order shows")
            await desk.cancel_all()
            await until(lambda: not feed.book(first).bids and not feed.book(second).bids, "both are gone")

    run(work())


def test_no_book_after_the_connection_is_lost(server: Server) -> None:
    async def work() -> None:
        feed = await connect(server)
        await feed.subscribe(0)
        feed.book(0)
        feed.link.vanish()
        with pytest.raises(Resyncing, match="over"):
            feed.book(0)

    run(work())


def test_what_a_channel_says_about_itself(server: Server) -> None:
    # Sentences of docs/protocol.md section 8: heartbeats of the channel, a second subscribe, unsubscribe.
    async def work() -> None:
        client = await raw(server, Alpn.MARKET_DATA)
        await client.logon(f"CHANNEL{next(NUMBERS)}", heartbeat=1.0)
        client.send(0, encode_frame(MdRequest(1, scope=MdScope.INSTRUMENT, instrument=0)))
        snapshot = await client.hear(Snapshot)
        assert snapshot.frame.flags is FrameFlags.LAST_IN_BATCH
        beat = (await client.hear(ChannelHeartbeat)).message
        assert isinstance(beat, ChannelHeartbeat)
        channels = [
            i.start for i in client._inbound.values() if i.start and i.start.kind is StreamKind.CHANNEL
        ]
        assert [(c.request_id, c.epoch, c.next_seq) for c in channels] == [(1, beat.epoch, beat.next_seq)]
        client.send(0, encode_frame(MdRequest(2, scope=MdScope.INSTRUMENT, instrument=0)))
        again = await client.hear(Snapshot)
        assert again.start is not None
        assert again.start.request_id == 2
        client.send(0, encode_frame(MdRequest(1, scope=MdScope.INSTRUMENT, instrument=0)))
        refused = await client.hear(MdReject)
        assert refused.message == MdReject(1, MdRejectReason.DUPLICATE_REQUEST)
        open_streams = len(client.finished)
        client.send(0, encode_frame(MdRequest(3, kind=MdRequestKind.UNSUBSCRIBE)))
        await until(lambda: len(client.finished) > open_streams, "the channel is finished")
        assert client.resets == []
        client.send(0, encode_frame(MdRequest(4)))
        await client.hear(Snapshot)
        fresh = [
            i.start.request_id
            for i in client._inbound.values()
            if i.start and i.start.kind is StreamKind.CHANNEL
        ]
        assert fresh == [1, 4]
        client.close()
        await client.wait_closed()

    run(work())


class Stingy(ExportingConnection):
    """A connection that has little room on streams, and can stop giving its peer more."""

    stopped = False

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._local_max_stream_data_uni = 4_096

    def _write_stream_limits(self, *arguments: Any, **named: Any) -> None:
        if not Stingy.stopped:
            super()._write_stream_limits(*arguments, **named)


def test_a_reader_that_falls_behind_loses_the_book_and_gets_it_again(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        symbol = f"M{time.time_ns()}"
        instrument = await fresh_instrument(server, symbol)
        with monkeypatch.context() as patch:
            patch.setattr("tessera.connection.ExportingConnection", Stingy)
            feed = await connect(server)
        await feed.subscribe(instrument)
        lost: list[str] = []

        async def watch() -> None:
            async for event in feed.events:
                if isinstance(event, Lost):
                    lost.append(event.why)

        watching = asyncio.create_task(watch())
        Stingy.stopped = True
        async with await session(server) as desk:
            while not any("slowly" in why for why in lost):  # the channel has room for some sixty messages
                placed = await desk.place(instrument, Side.BUY, 1, 10)
                await desk.cancel(placed.cl_ord_id)
            Stingy.stopped = False
            await desk.place(instrument, Side.BUY, 3, 10)
            await feed.synced(instrument)
            expected = await asyncio.to_thread(shown, server, symbol)

            async def same() -> bool:
                return levels(await feed.synced(instrument)) == expected

            await until(same, f"the mirror is {expected}")
            await desk.cancel_all()
        await feed.logout()
        await watching

    run(work())
