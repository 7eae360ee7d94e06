"""Buy what is offered, up to a price and at once, and see at what it was filled."""

import asyncio

from common import address, credentials, explain, session_name

from tessera import ExecType, OrderSession, Side, TesseraError, TimeInForce


async def main() -> None:
    """An offer of our own, and an immediate-or-cancel order that takes it."""
    name = session_name("TAKE")
    async with (
        await OrderSession.connect(address(), credentials(), f"{name}.1", account=1) as seller,
        await OrderSession.connect(address(), credentials(), f"{name}.2", account=2) as buyer,
    ):
        instruments = {definition.symbol: definition.instrument for definition in await buyer.instruments()}
        offered = await seller.place(instruments["TEST"], Side.SELL, 3, 5_000)
        order = await buyer.place(instruments["TEST"], Side.BUY, 5, 5_000, time_in_force=TimeInForce.IOC)
        async for report in buyer.reports(order.cl_ord_id):
            if report.exec_type is ExecType.TRADE:
                print(f"bought {report.last_qty} at {report.last_px}, match {report.match_id}")
            elif report.exec_type is ExecType.CANCELED:
                print(
                    f"the rest is cancelled ({report.end_reason.name.lower()}), {report.cum_qty} were filled"
                )
        async for report in seller.reports(offered.cl_ord_id):
            if report.exec_type is ExecType.TRADE:
                print(f"sold {report.last_qty} at {report.last_px}, match {report.match_id}")


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except TesseraError as error:
        explain(error)
