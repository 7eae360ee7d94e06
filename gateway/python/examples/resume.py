"""Lose the connection with requests under way, come back, and know of each whether it arrived."""

import asyncio

from common import address, credentials, explain, session_name

from tessera import CancelOnDisconnect, OrderSession, OutcomeUnknown, Side, TesseraError
from tessera.messages import NewOrderSingle


async def main() -> None:
    """Three orders are sent and the connection is dropped before all answers are here."""
    session = await OrderSession.connect(
        address(), credentials(), session_name("RESUME"), cancel_on_disconnect=CancelOnDisconnect.NONE
    )
    instruments = {definition.symbol: definition.instrument for definition in await session.instruments()}

    def order() -> NewOrderSingle:
        return NewOrderSingle(
            session.next_cl_ord_id(), session.account, instruments["TEST"], Side.BUY, price=20, order_qty=1
        )

    first = session.submit(order())
    await first
    answers = [session.submit(order()), session.submit(order())]
    state = session.resume_state()
    session.link.vanish()  # before the two have left this machine
    for answer in answers:
        try:
            await answer
        except OutcomeUnknown as unknown:
            print(f"no answer: {unknown}")

    # The name is taken until the server has missed us.
    session = await OrderSession.connect(
        address(),
        credentials(),
        state.name,
        cancel_on_disconnect=CancelOnDisconnect.NONE,
        resume=state,
        patience=5.0,
    )
    resumed = session.resumed
    assert resumed is not None
    print(f"arrived: {len(resumed.arrived)}, never arrived: {len(resumed.not_arrived)}")
    for request in resumed.not_arrived:
        await session.resend(request)
        print(f"sent {request.cl_ord_id} again, with its old ClOrdID: it cannot become two orders")
    report = await session.cancel_all(instruments["TEST"])
    print(f"cancelled {report.affected}")
    await session.logout()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except TesseraError as error:
        explain(error)
