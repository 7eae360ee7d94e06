"""Books as the feed tells them, without I/O: exact, or known to be lost.

    AWAITING_SNAPSHOT -snapshot-> LIVE -gap, bad checksum, lost connection-> AWAITING_SNAPSHOT

What comes on the channel while a snapshot is awaited is kept, and applied behind it. Inside one command a
book is not consistent, so the updates of a command are applied together, at its last fragment.
"""

from __future__ import annotations

import struct
from collections import deque
from dataclasses import dataclass, field

from tessera.codes import LevelAction, Phase, Side
from tessera.errors import Resyncing
from tessera.messages import (
    BookChecksum,
    EndOfEvent,
    L2Update,
    SecurityDefinition,
    Snapshot,
    Status,
    Trade,
)
from tessera.wire import Message

CHECKSUM_DEPTH = 10
"""Levels of each side that a BookChecksum covers."""

MAX_KEPT = 262_144
"""Updates that are kept while a snapshot is awaited; more, and a new snapshot is asked for."""

_RPT_MODULUS = 1 << 32

Update = L2Update | Trade | Status | BookChecksum
"""Messages of a channel that belong to one instrument and carry its RptSeq."""


@dataclass(frozen=True, slots=True)
class BookLevel:
    """One price level: price in ticks, visible quantity in lots, number of orders."""

    price: int
    qty: int
    orders: int


@dataclass(frozen=True, slots=True)
class Book:
    """A book at the end of one command, best levels first."""

    instrument: int
    bids: tuple[BookLevel, ...]
    asks: tuple[BookLevel, ...]
    phase: Phase
    seq: int
    """Number on the channel up to which it includes everything."""
    rpt_seq: int
    """The instrument's own count of updates."""
    last_px: int
    """Price of the last trade in ticks."""
    last_qty: int
    """Size of the last trade in lots, 0 = none yet."""


@dataclass(frozen=True, slots=True)
class Synced:
    """The book of an instrument is known exactly from now on."""

    instrument: int


@dataclass(frozen=True, slots=True)
class Lost:
    """The book of an instrument is not known until the next `Synced`."""

    instrument: int
    why: str


@dataclass(frozen=True, slots=True)
class Changed:
    """One command's updates of one instrument, applied: its levels, trades and phases in their order."""

    instrument: int
    seq: int
    updates: tuple[L2Update | Trade | Status, ...]


@dataclass(frozen=True, slots=True)
class Listed:
    """A new instrument; its book is empty and known."""

    definition: SecurityDefinition


MarketEvent = Synced | Lost | Changed | Listed


@dataclass(slots=True)
class Mirror:
    """The book of one instrument; see the module."""

    instrument: int
    live: bool = False
    why: str = "the snapshot has not come yet"
    bids: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Visible quantity in lots and number of orders, by price in ticks."""
    asks: dict[int, tuple[int, int]] = field(default_factory=dict)
    phase: Phase = Phase.CONTINUOUS
    seq: int = 0
    rpt_seq: int = 0
    last_px: int = 0
    last_qty: int = 0
    needed: int = 0
    """Number on the channel that a snapshot must include, because it may have been missed."""
    wants_snapshot: bool = False
    """A snapshot has to be asked for; whoever does so resets it."""
    _command: list[tuple[int, Update]] = field(default_factory=list)
    _kept: deque[tuple[int, Update]] = field(default_factory=deque)
    _parts: list[Snapshot] = field(default_factory=list)

    def book(self) -> Book:
        """The book as of the last complete command.

        Raises:
            Resyncing: it is not known at the moment.
        """
        if not self.live:
            raise Resyncing(self.instrument, self.why)
        return Book(
            instrument=self.instrument,
            bids=tuple(BookLevel(p, *self.bids[p]) for p in sorted(self.bids, reverse=True)),
            asks=tuple(BookLevel(p, *self.asks[p]) for p in sorted(self.asks)),
            phase=self.phase,
            seq=self.seq,
            rpt_seq=self.rpt_seq,
            last_px=self.last_px,
            last_qty=self.last_qty,
        )

    def lose(self, why: str, needed: int) -> list[MarketEvent]:
        """Says that updates may be missing up to number `needed`; a snapshot behind it is wanted."""
        self.needed, self.wants_snapshot = max(self.needed, needed), True
        was_live, self.live, self.why = self.live, False, why
        self._command.clear()
        self._kept.clear()
        self._parts.clear()
        return [Lost(self.instrument, why)] if was_live else []

    def list_empty(self, definition: SecurityDefinition, seq: int) -> None:
        """A new instrument: empty, known, and its definition was its first update."""
        self.live = True
        self.phase = definition.phase
        self.seq = seq
        self.rpt_seq = 1

    def on_update(self, seq: int, update: Update) -> list[MarketEvent]:
        """Takes one message of the channel, with its number there."""
        if not self.live:
            self._kept.append((seq, update))
            return self.lose("too much came before the snapshot", seq) if len(self._kept) > MAX_KEPT else []
        if seq <= self.seq:
            return []  # the snapshot was ahead of the channel
        self._command.append((seq, update))
        last = True if isinstance(update, BookChecksum) else update.last_fragment
        return self._apply() if last else []

    def on_snapshot(self, part: Snapshot, last: bool) -> list[MarketEvent]:
        """Takes a part of a snapshot; with the last one the book is known."""
        if self.live:
            return []  # a snapshot that is not needed any more
        self._parts.append(part)
        if not last:
            return []
        if part.last_seq < self.needed:
            self._parts.clear()
            self.wants_snapshot = True
            return []
        self.bids, self.asks = {}, {}
        for piece in self._parts:
            for entry in piece.entries:
                (self.bids if entry.side is Side.BUY else self.asks)[entry.price] = (entry.qty, entry.orders)
        self.phase, self.seq, self.rpt_seq = part.phase, part.last_seq, part.rpt_seq
        self.last_px, self.last_qty = part.last_px, part.last_qty
        self.live = True
        kept, self._kept = self._kept, deque()
        self._parts.clear()
        events: list[MarketEvent] = [Synced(self.instrument)]
        for seq, update in kept:
            events += self.on_update(seq, update)
        return events

    def _apply(self) -> list[MarketEvent]:
        command, self._command = self._command, []
        for seq, update in command:
            expected = (self.rpt_seq + 1) % _RPT_MODULUS
            if update.rpt_seq != expected:
                return self.lose(f"update {update.rpt_seq} came instead of {expected}", seq)
            self.rpt_seq, self.seq = expected, seq
            match update:
                case L2Update(side=side, price=price):
                    levels = self.bids if side is Side.BUY else self.asks
                    if update.action is LevelAction.DELETE:
                        levels.pop(price, None)
                    else:
                        levels[price] = (update.qty, update.orders)
                case Trade():
                    self.last_px, self.last_qty = update.price, update.qty
                case Status(phase=phase):
                    self.phase = phase
                case BookChecksum(checksum=theirs):
                    ours = checksum(self.book())
                    if ours != theirs:
                        return self.lose(
                            f"the checksum is {ours:#010x}, the exchange has {theirs:#010x}", seq
                        )
        told = tuple(update for _, update in command if not isinstance(update, BookChecksum))
        return [Changed(self.instrument, self.seq, told)]


class Market:
    """All books of one channel. `wanted` is one instrument, or None for all."""

    def __init__(self, wanted: int | None = None) -> None:
        self.wanted = wanted
        self.mirrors: dict[int, Mirror] = {}
        self.next_seq: int | None = None
        """Number of the channel's next message; None before its stream has started."""

    def start(self, next_seq: int) -> list[MarketEvent]:
        """The channel's stream has started with number `next_seq`; snapshots may have come before."""
        self.next_seq = next_seq
        events: list[MarketEvent] = []
        for mirror in self.mirrors.values():
            if mirror.live and mirror.seq < next_seq - 1:
                events += mirror.lose("the snapshot is older than the channel", next_seq - 1)
        return events

    def unsynced(self) -> set[int]:
        """Instruments for which a snapshot has to be asked, each told once."""
        wanted = {mirror.instrument for mirror in self.mirrors.values() if mirror.wants_snapshot}
        for instrument in wanted:
            self.mirrors[instrument].wants_snapshot = False
        return wanted

    def on_channel(self, seq: int, message: Message | None) -> list[MarketEvent]:
        """Takes one message of the channel, known or not, with its number."""
        events: list[MarketEvent] = []
        if self.next_seq is not None and seq != self.next_seq:
            events += self.lose_all(f"message {seq} came on the channel instead of {self.next_seq}", seq - 1)
        self.next_seq = seq + 1
        match message:
            case L2Update() | Trade() | Status() | BookChecksum():
                mirror = self._mirror(message.instrument)
                if mirror is not None:
                    events += mirror.on_update(seq, message)
            case SecurityDefinition(instrument=instrument):
                mirror = self._mirror(instrument)
                if mirror is not None and not mirror.live and mirror.rpt_seq == 0:
                    mirror.list_empty(message, seq)
                    events += [Listed(message), Synced(instrument)]
            case EndOfEvent():
                pass
            case _:
                pass  # a message that a later version has added: its number counts, its content is not ours
        return events

    def on_snapshot(self, part: Snapshot, last: bool) -> list[MarketEvent]:
        """Takes a part of an instrument's snapshot."""
        mirror = self._mirror(part.instrument)
        return [] if mirror is None else mirror.on_snapshot(part, last)

    def lose_all(self, why: str, needed: int | None = None) -> list[MarketEvent]:
        """Every book is unknown until a snapshot that includes number `needed`, or all that has come."""
        if needed is None:
            needed = (self.next_seq or 1) - 1
        events: list[MarketEvent] = []
        for mirror in self.mirrors.values():
            events += mirror.lose(why, needed)
        return events

    def _mirror(self, instrument: int) -> Mirror | None:
        if self.wanted is not None and instrument != self.wanted:
            return None
        mirror = self.mirrors.get(instrument)
        if mirror is None:
            needed = (self.next_seq or 1) - 1
            mirror = self.mirrors[instrument] = Mirror(instrument, needed=needed)
        return mirror


def checksum(book: Book) -> int:
    """CRC-32C of the ten best levels of both sides, as a BookChecksum has it.

    The bytes are the number of bid levels and that of ask levels, one byte each and at most 10, then the bid
    levels and the ask levels, best first: price i64 in ticks, visible quantity u64 in lots, orders u32.
    """
    bids, asks = book.bids[:CHECKSUM_DEPTH], book.asks[:CHECKSUM_DEPTH]
    out = bytes((len(bids), len(asks))) + b"".join(
        _LEVEL.pack(level.price, level.qty, level.orders) for level in bids + asks
    )
    return crc32c(out)


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli, reflected, as RFC 3720 has it)."""
    crc = 0xFFFF_FFFF
    for byte in data:
        crc = (crc >> 8) ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFF_FFFF


def _crc_table() -> tuple[int, ...]:
    table = []
    for index in range(256):
        value = index
        for _ in range(8):
            value = (value >> 1) ^ (0x82F6_3B78 if value & 1 else 0)
        table.append(value)
    return tuple(table)


_CRC_TABLE = _crc_table()
_LEVEL = struct.Struct("<qQI")
