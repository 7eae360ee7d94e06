"""Books without a connection: when they are exact, and that they are never stale."""

from __future__ import annotations

import random

import pytest

from tessera.codes import Aggressor, LevelAction, Phase, Side
from tessera.errors import Resyncing
from tessera.market import Book, BookLevel, Changed, Lost, Market, MarketEvent, Synced, checksum, crc32c
from tessera.messages import BookChecksum, EndOfEvent, L2Update, Level, Snapshot, Status, Trade


def book(bids: list[tuple[int, int, int]], asks: list[tuple[int, int, int]]) -> Book:
    return Book(
        0,
        tuple(BookLevel(*b) for b in bids),
        tuple(BookLevel(*a) for a in asks),
        Phase.CONTINUOUS,
        0,
        0,
        0,
        0,
    )


def test_crc32c_of_rfc_3720() -> None:
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E


def test_checksums_that_the_exchange_computes_too() -> None:
    # The values are those of the exchange's own test, in market-data/src/checksum.rs.
    assert checksum(book([], [])) == 0xF16177D2
    assert checksum(book([(99, 5, 2), (-98, 7, 1)], [(101, 3, 1)])) == 0xEBDA8A2C


def test_a_checksum_covers_ten_levels() -> None:
    levels = [(100 - at, 5, 1) for at in range(11)]
    deeper = [*levels[:10], (90, 7, 2)]
    assert checksum(book(levels, [])) == checksum(book(deeper, []))
    assert checksum(book(levels, [])) != checksum(book([*levels[:9], (91, 7, 1)], []))


class Exchange:
    """One instrument's feed, as docs/protocol.md section 8 says it."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.levels: dict[Side, dict[int, tuple[int, int]]] = {Side.BUY: {}, Side.SELL: {}}
        self.seq = 0
        self.rpt = 1
        self.sent: list[tuple[int, L2Update | Trade | Status | BookChecksum | EndOfEvent]] = []

    def book(self) -> Book:
        bids = [(p, *self.levels[Side.BUY][p]) for p in sorted(self.levels[Side.BUY], reverse=True)]
        asks = [(p, *self.levels[Side.SELL][p]) for p in sorted(self.levels[Side.SELL])]
        return book(bids, asks)

    def snapshot(self) -> Snapshot:
        entries = tuple(
            Level(side, price, *at) for side, prices in self.levels.items() for price, at in prices.items()
        )
        return Snapshot(0, self.seq, self.rpt, Phase.CONTINUOUS, 1, 1, 0, 0, 0, entries)

    def say(self, message: L2Update | Trade | BookChecksum | EndOfEvent) -> None:
        self.seq += 1
        self.sent.append((self.seq, message))

    def command(self) -> None:
        for _ in range(self.random.randint(1, 3)):
            side = self.random.choice([Side.BUY, Side.SELL])
            price = self.random.randint(1, 20)
            self.rpt += 1
            if self.random.random() < 0.2:
                self.say(Trade(0, self.rpt, Aggressor.BUY, price, 1, 1, 1, False))
            elif price in self.levels[side] and self.random.random() < 0.5:
                del self.levels[side][price]
                self.say(L2Update(0, self.rpt, side, LevelAction.DELETE, price, 0, 0, False))
            else:
                at = (self.random.randint(1, 9), 1)
                self.levels[side][price] = at
                self.say(L2Update(0, self.rpt, side, LevelAction.SET, price, *at, False))
        self.rpt += 1
        self.say(BookChecksum(0, self.rpt, checksum(self.book())))
        self.say(EndOfEvent(self.seq, 1))


def levels(one: Book) -> tuple[tuple[BookLevel, ...], tuple[BookLevel, ...]]:
    return one.bids, one.asks


@pytest.mark.parametrize("seed", range(40))
def test_a_mirror_is_exact_or_says_that_it_is_not(seed: int) -> None:
    """Loses messages at random; whenever the mirror gives a book it is the exchange's of that number."""
    exchange, market = Exchange(seed), Market()
    market.start(1)
    chance = random.Random(seed + 1_000)
    truth = {0: levels(exchange.book())}
    delivered, synced_at = 0, 0
    waiting: list[tuple[int, Snapshot]] = []
    wanted = True
    for step in range(300):
        exchange.command()
        truth[exchange.seq - 1] = truth[exchange.seq] = levels(exchange.book())
        if wanted and chance.random() < 0.3:
            waiting.append((step + chance.randint(0, 4), exchange.snapshot()))
            wanted = False
        for seq, message in exchange.sent[delivered:]:
            if chance.random() < 0.99:
                market.on_channel(seq, message)
        delivered = len(exchange.sent)
        for due, snapshot in waiting:
            if due <= step:
                market.on_snapshot(snapshot, last=True)
        waiting = [(due, snapshot) for due, snapshot in waiting if due > step]
        wanted = wanted or bool(market.unsynced())
        mirror = market.mirrors.get(0)
        if mirror is not None and mirror.live:
            told = mirror.book()
            assert levels(told) == truth[told.seq]
            synced_at += 1
    assert 50 < synced_at < 300


def fed(*updates: L2Update | BookChecksum | Trade, start: int = 10) -> tuple[Market, list[MarketEvent]]:
    market = Market()
    market.start(start)
    market.on_snapshot(Snapshot(0, start - 1, 4, Phase.CONTINUOUS, 1, 1, 0, 0, 0, ()), last=True)
    events: list[MarketEvent] = []
    for seq, update in enumerate(updates, start=start):
        events += market.on_channel(seq, update)
    return market, events


BID = L2Update(0, 5, Side.BUY, LevelAction.SET, 99, 5, 2, False)


def test_nothing_shows_before_the_last_fragment() -> None:
    market, events = fed(BID)
    assert (events, market.mirrors[0].book().bids) == ([], ())
    right = checksum(book([(99, 5, 2)], []))
    events = market.on_channel(11, BookChecksum(0, 6, right))
    assert events == [Changed(0, 11, (BID,))]
    assert market.mirrors[0].book().bids == (BookLevel(99, 5, 2),)


@pytest.mark.parametrize(
    "second",
    [BookChecksum(0, 6, 1), BookChecksum(0, 7, checksum(book([(99, 5, 2)], [])))],
    ids=["sum", "gap"],
)
def test_a_fault_loses_the_book_and_asks_for_a_snapshot(second: BookChecksum) -> None:
    market, events = fed(BID, second)
    assert [type(event) for event in events] == [Lost]
    with pytest.raises(Resyncing):
        market.mirrors[0].book()
    assert market.unsynced() == {0}
    assert market.unsynced() == set()


def test_a_snapshot_from_before_the_fault_is_not_believed() -> None:
    market, _ = fed(BID, BookChecksum(0, 6, 1))
    market.unsynced()
    market.on_snapshot(Snapshot(0, 10, 5, Phase.CONTINUOUS, 1, 1, 0, 0, 0, ()), last=True)
    assert not market.mirrors[0].live
    assert market.unsynced() == {0}
    events = market.on_snapshot(Snapshot(0, 11, 6, Phase.HALT, 1, 1, 0, 0, 0, ()), last=True)
    assert events == [Synced(0)]
    assert market.mirrors[0].book().phase is Phase.HALT


def test_a_missing_channel_number_loses_every_book() -> None:
    market, _ = fed()
    market.on_snapshot(Snapshot(1, 9, 4, Phase.CONTINUOUS, 1, 1, 0, 0, 0, ()), last=True)
    events = market.on_channel(11, EndOfEvent(1, 1))
    assert [type(event) for event in events] == [Lost, Lost]
    assert market.unsynced() == {0, 1}


def test_a_snapshot_in_parts() -> None:
    market = Market()
    market.start(1)
    parts = [
        Snapshot(0, 0, 1, Phase.CONTINUOUS, 1, 1, 0, 0, 0, (Level(Side.BUY, 9, 1, 1),)),
        Snapshot(0, 0, 1, Phase.CONTINUOUS, 1, 1, 7, 2, 1, (Level(Side.SELL, 11, 1, 1),)),
    ]
    assert market.on_snapshot(parts[0], last=False) == []
    assert market.on_snapshot(parts[1], last=True) == [Synced(0)]
    told = market.mirrors[0].book()
    assert (told.bids, told.asks, told.last_px) == ((BookLevel(9, 1, 1),), (BookLevel(11, 1, 1),), 7)
