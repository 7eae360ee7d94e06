"""What happens to orders when their client is gone: cancelled within 2.4 heartbeats, unless told to stay."""

import asyncio
import time

from common import address, credentials, explain, session_name

from tessera import (
    CancelOnDisconnect,
    CancelRejected,
    ExecInst,
    OrderSession,
    Side,
    TesseraError,
)


async def main() -> None:
    """Two orders, a cut cable, and a look at what is left."""
    name = session_name("DISCONNECT")
    session = await OrderSession.connect(
        address(), credentials(), name, heartbeat=1.0, cancel_on_disconnect=CancelOnDisconnect.DISCONNECT
    )
    instruments = {definition.symbol: definition.instrument for definition in await session.instruments()}
    goes = await session.place(instruments["TEST"], Side.BUY, 1, 10)
    stays = await session.place(instruments["TEST"], Side.BUY, 1, 10, exec_inst=ExecInst.STAY_ON_DISCONNECT)
    print(f"orders {goes.order_id} and {stays.order_id} rest; the cable is cut", flush=True)
    session.link.vanish()  # no Logout, no close: as if this machine had lost its network
    cut = time.monotonic()

    # Until the server misses us, our name is taken.
    session = await OrderSession.connect(address(), credentials(), name, patience=5.0)
    print(f"back after {time.monotonic() - cut:.1f} s")
    async with session:
        try:
            await session.cancel(order_id=goes.order_id)
        except CancelRejected as rejected:
            print(f"order {goes.order_id} is gone: {rejected.reason.name.lower()}")
        await session.cancel(order_id=stays.order_id)
        print(f"order {stays.order_id} stayed, and is cancelled now")


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except TesseraError as error:
        explain(error)
