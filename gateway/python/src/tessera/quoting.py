"""Quoting both sides of an instrument.

The wire has no quotes yet, so `Quoter` keeps a quote as two post-only limit orders and moves them with
replaces. `mass_quote` is here to say so.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import NoReturn

from tessera.codes import ExecInst, Side
from tessera.errors import CancelRejected, NotSupported
from tessera.messages import ExecutionReport
from tessera.orders import OrderSession


@dataclass(frozen=True, slots=True)
class Quote:
    """Prices in ticks, sizes in lots; a size of 0 quotes nothing on that side."""

    bid_px: int
    bid_qty: int
    offer_px: int
    offer_qty: int


class Quoter:
    """One instrument's two-sided quote, as two post-only limit orders.

    The two sides move one after the other on the exchange, not in one step; the one that moves away goes
    first, so that the quote never crosses itself.
    """

    def __init__(self, session: OrderSession, instrument: int) -> None:
        self.session = session
        self.instrument = instrument
        self._orders: dict[Side, tuple[int, int, int]] = {}

    async def quote(self, quote: Quote) -> None:
        """Makes `quote` the quote.

        Raises:
            OrderRejected: a side was refused, as when it would trade at once.
            GatewayRefused, OutcomeUnknown, NotSent: as for `OrderSession.place`.
        """
        old = self._orders.get(Side.BUY)
        rising = old is not None and quote.bid_px > old[1]
        sides = [
            (Side.BUY, quote.bid_px, quote.bid_qty),
            (Side.SELL, quote.offer_px, quote.offer_qty),
        ]
        for side, price, qty in reversed(sides) if rising else sides:
            await self._side(side, price, qty)

    async def pull(self) -> None:
        """Takes both sides out.

        Raises:
            GatewayRefused, OutcomeUnknown, NotSent: as for `OrderSession.place`.
        """
        await asyncio.gather(*(self._side(side, 0, 0) for side in (Side.BUY, Side.SELL)))

    async def _side(self, side: Side, price: int, qty: int) -> None:
        old = self._orders.get(side)
        if old == (old and old[0], price, qty):
            return
        report: ExecutionReport | None = None
        if old is not None:
            try:
                if qty == 0 or old[2] != qty:
                    # A replace's quantity counts what has been filled; a fresh order says what is meant.
                    await self.session.cancel(old[0])
                else:
                    report = await self.session.replace(old[0], price=price)
            except CancelRejected:
                pass  # it has been filled meanwhile
            del self._orders[side]
        if report is None and qty > 0:
            report = await self.session.place(self.instrument, side, qty, price, exec_inst=ExecInst.POST_ONLY)
        if report is not None:
            self._orders[side] = (report.cl_ord_id, price, qty)


def mass_quote() -> NoReturn:
    """Many quotes in one message.

    Raises:
        NotSupported: always; the protocol has templates for it (30 to 32 of its plan), the exchange does not.
    """
    raise NotSupported(
        "mass quotes: the exchange's gateway has no MassQuote (template 30) yet; use Quoter, two limit orders"
    )
