"""The examples against a real server, by what they print."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import Server, run
from test_orders import session

from tessera import OrderSession, Side

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"

SAID = {
    "place_order": ["accepted as order", "moved to 101 ticks", "canceled, 0 lots", "refused: bad_qty"],
    "quote": ["10 at 996  |  10 at 1006", "pulled"],
    "cancel_on_disconnect": ["the cable is cut", "is gone: unknown_order", "stayed, and is cancelled now"],
    "resume": ["arrived: 0, never arrived: 2", "with its old ClOrdID", "cancelled 3"],
    "take_liquidity": ["bought 3 at 5000", "cancelled (ioc), 3 were filled", "sold 3 at 5000"],
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of their own: they talk about the instrument TEST, and its book has to be theirs."""
    one = Server(tmp_path_factory.mktemp("examples") / "data")
    yield one
    one.stop()


def environment(server: Server) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(EXAMPLES.parent / "src"),
        "TESSERA_ADDR": server.address,
        "TESSERA_CREDENTIALS": str(server.data / "credentials"),
    }


@pytest.mark.parametrize("name", SAID)
def test_example(server: Server, name: str) -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py"],
        env=environment(server),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for words in SAID[name]:
        assert words in done.stdout, done.stdout


def test_example_stream_book(server: Server) -> None:
    async def work() -> None:
        reader = await asyncio.create_subprocess_exec(
            sys.executable, EXAMPLES / "stream_book.py", "TEST", "2",
            env=environment(server), stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert reader.stdout is not None
        assert b"subscribed" in await asyncio.wait_for(reader.stdout.readline(), 10)
        async with await session(server) as desk:
            placed = await desk.place(await _test(desk), Side.BUY, 4, 7)
            await desk.cancel(placed.cl_ord_id)
            rest = (await asyncio.wait_for(reader.stdout.read(), 10)).decode()
        assert await reader.wait() == 0
        assert "4 at 7" in rest
        assert rest.endswith("done\n")

    async def _test(desk: OrderSession) -> int:
        return {d.symbol: d.instrument for d in await desk.instruments()}["TEST"]

    run(work())


def test_every_example_is_run() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {*SAID, "common", "stream_book"}
