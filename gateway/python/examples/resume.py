"""Lose the connection with requests under way, come back, and know of each whether it arrived."""

import asyncio

from common import address, credentials, explain, session_name

from tessera import CancelOnDisconnect, OrderSession, OutcomeUnknown, SessionEnded, Side, TesseraError
from tessera.codes import LogoutReason
from tessera.messages import NewOrderSingle
from tessera.orders import Resume


async def reconnect(resume: Resume) -> OrderSession:
    """Logs on again, as often as it takes until the server has noticed that we were gone."""
    while True:
        try:
            return await OrderSession.connect(
                address(),
                credentials(),
                resume.name,
                cancel_on_disconnect=CancelOnDisconnect.NONE,
                resume=resume,
            )
        except SessionEnded as ended:
            if ended.logout is not LogoutReason.DUPLICATE_SESSION:
                raise
            await asyncio.sleep(0.1)


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

    session = await reconnect(state)
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
