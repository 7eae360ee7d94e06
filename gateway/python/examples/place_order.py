"""Place an order, move it, and take it out again."""

import asyncio

from common import address, credentials, explain, session_name

from tessera import OrderRejected, OrderSession, Side, TesseraError


async def main() -> None:
    """One order through its life."""
    async with await OrderSession.connect(address(), credentials(), session_name("PLACE")) as session:
        instruments = {definition.symbol: definition for definition in await session.instruments()}
        test = instruments["TEST"]
        print(f"{test.symbol}: prices {test.min_price} to {test.max_price} in steps of {test.tick} ticks")

        order = await session.place(test.instrument, Side.BUY, qty=5, price=100 * test.tick)
        print(f"accepted as order {order.order_id}: {order.leaves_qty} lots at {order.price} ticks")

        # A replace gives the order a new ClOrdID, that of the replace.
        order = await session.replace(order.cl_ord_id, price=101 * test.tick)
        print(f"moved to {order.price} ticks")

        order = await session.cancel(order.cl_ord_id)
        print(f"{order.ord_status.name.lower()}, {order.cum_qty} lots were filled")

        try:
            await session.place(test.instrument, Side.BUY, qty=0, price=100)
        except OrderRejected as rejected:
            print(f"an order for nothing is refused: {rejected.reason.name.lower()}")


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except TesseraError as error:
        explain(error)
