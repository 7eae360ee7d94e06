"""Stream a book: its best levels after every change, never a stale one.

Arguments: the instrument (TEST) and after how many changes to stop (for ever).
"""

import asyncio
import contextlib
import sys

from common import address, credentials, explain, session_name

from tessera import Book, Changed, Feed, Lost, Resyncing, Synced, TesseraError
from tessera.messages import Trade


def show(book: Book) -> None:
    """The best level of both sides."""
    bid = f"{book.bids[0].qty:>6} at {book.bids[0].price:<6}" if book.bids else f"{'no bid':>16}"
    ask = f"{book.asks[0].price:>6} for {book.asks[0].qty:<6}" if book.asks else "no offer"
    print(f"{bid} | {ask}   ({len(book.bids)} and {len(book.asks)} levels, {book.phase.name.lower()})")


async def main(symbol: str, changes: int | None) -> None:
    """Prints the book, then every change of it."""
    async with await Feed.connect(address(), credentials(), session_name("BOOK")) as feed:
        instrument = feed.instrument(symbol).instrument
        await feed.subscribe(instrument)
        print(f"{symbol}: subscribed", flush=True)
        async for event in feed.events:
            match event:
                case Lost(why=why):
                    print(f"the book is not known at the moment: {why}")
                case Synced():
                    show(await feed.synced(instrument))
                case Changed(updates=updates):
                    for update in updates:
                        if isinstance(update, Trade):
                            print(f"         trade: {update.qty} at {update.price}")
                    with contextlib.suppress(Resyncing):  # a later message may have lost it again
                        show(feed.book(instrument))
                    changes = None if changes is None else changes - 1
                    if changes == 0:
                        break
        print("done")


if __name__ == "__main__":
    try:
        asyncio.run(
            main(
                sys.argv[1] if len(sys.argv) > 1 else "TEST", int(sys.argv[2]) if len(sys.argv) > 2 else None
            )
        )
    except TesseraError as error:
        explain(error)
