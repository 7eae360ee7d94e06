"""Quote both sides of an instrument around a price that moves."""

import asyncio

from common import address, credentials, explain, session_name

from tessera import CancelOnDisconnect, OrderSession, Quote, Quoter, TesseraError


async def main() -> None:
    """Ten quotes, each a step from the one before, then none."""
    async with await OrderSession.connect(
        address(),
        credentials(),
        session_name("QUOTE"),
        heartbeat=1.0,
        # A maker that is gone must not be traded with: both kinds of end take the quote out.
        cancel_on_disconnect=CancelOnDisconnect.BOTH,
    ) as session:
        instruments = {definition.symbol: definition.instrument for definition in await session.instruments()}
        quoter = Quoter(session, instruments["TEST"])
        middle = 1_000
        for step in (1, 1, -1, 2, -3, 1, -1, -1, 2, -1):
            middle += step
            quote = Quote(bid_px=middle - 5, bid_qty=10, offer_px=middle + 5, offer_qty=10)
            await quoter.quote(quote)
            print(f"{quote.bid_qty} at {quote.bid_px}  |  {quote.offer_qty} at {quote.offer_px}")
        await quoter.pull()
        print("pulled")


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except TesseraError as error:
        explain(error)
