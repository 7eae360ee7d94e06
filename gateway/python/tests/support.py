"""A real server, and a client that may say anything."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration

from tessera.codes import CancelOnDisconnect, CloseCode
from tessera.connection import SERVER_NAME, quic_configuration
from tessera.credentials import Credentials
from tessera.framer import HEADER, Frame, Framer, encode_frame
from tessera.messages import LogonAck, StreamStart
from tessera.session import EXPORTER_BYTES, EXPORTER_LABEL, Alpn, SessionConfig, signed_logon
from tessera.tls import ExportingConnection
from tessera.wire import Message

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[3]
"""The repository."""

PATIENCE = 25.0
"""Seconds after which a test gives up; every reaction has a time of its own well below."""


def binary() -> Path:
    """The server's program; skips the test, saying how to get it, where there is none."""
    named = os.environ.get("TESSERA_BIN")
    candidates = (
        [Path(named)] if named else [ROOT / "target" / kind / "tessera" for kind in ("release", "debug")]
    )
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    pytest.skip(f"no server at {candidates[0]}: `cargo build --release`, or set TESSERA_BIN")


def run(work: Coroutine[Any, Any, T], timeout: float = 60.0) -> T:
    """Runs a test's coroutine to its end."""

    async def bounded() -> T:
        async with asyncio.timeout(timeout):
            return await work

    return asyncio.run(bounded())


async def until(condition: Callable[[], bool | Awaitable[bool]], what: str) -> None:
    """Waits until something is so; fails the test when it is not in time."""
    end = time.monotonic() + PATIENCE
    while True:
        held = condition()
        if held if isinstance(held, bool) else await held:
            return
        assert time.monotonic() < end, f"after {PATIENCE} s still not: {what}"
        await asyncio.sleep(0.005)


class Server:
    """`tessera serve` on a free port of loopback, with a data directory of its own."""

    def __init__(self, data: Path, *flags: str) -> None:
        self.binary = binary()
        self.data = data
        self.flags = flags
        self.process: subprocess.Popen[str] | None = None
        self.address = ""
        self.start()

    def start(self, address: str = "127.0.0.1:0") -> None:
        command: list[str | Path] = [self.binary, "serve", "--data", self.data, "--listen", address]
        command += ["--json", "--segment-mib", "4", *self.flags]
        with (self.data.parent / "serve.log").open("a") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, (self.data.parent / "serve.log").read_text()
        self.address = json.loads(line)["addr"]

    def stop(self, kill: bool = False) -> None:
        if self.process is not None:
            if kill:
                self.process.kill()
            else:
                self.process.terminate()
            self.process.wait(timeout=20)
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None

    def tool(self, *arguments: str, name: str = "TOOL") -> str:
        """Runs a verb of the program against this server."""
        done = subprocess.run(
            [self.binary, *arguments[:1], "--session", name, *arguments[1:]],
            env={"TESSERA_ADDR": self.address, "TESSERA_CREDENTIALS": str(self.data / "credentials")},
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
        return done.stdout

    def credentials(self, name: str = "trader") -> Credentials:
        return Credentials.load(self.data / "credentials", name)


@dataclass
class Said:
    """A frame of the server with the stream it came on."""

    stream: int
    start: StreamStart | None
    frame: Frame
    message: Message | None


@dataclass
class Inbound:
    framer: Framer = field(default_factory=Framer)
    start: StreamStart | None = None


class RawClient(QuicConnectionProtocol):
    """A client without manners: any bytes on any stream, nothing sent of its own accord."""

    def __init__(self, quic: ExportingConnection, alpn: str, credentials: Credentials) -> None:
        super().__init__(quic)
        self.quic = quic
        self.alpn = alpn
        self.credentials = credentials
        self.said: list[Said] = []
        self.terminated: events.ConnectionTerminated | None = None
        self.resets: list[events.StreamReset] = []
        self.finished: list[int] = []
        self.tickets = 0
        self._inbound: dict[int, Inbound] = {}
        self._news = asyncio.Event()

    def quic_event_received(self, event: events.QuicEvent) -> None:
        match event:
            case events.StreamDataReceived():
                inbound = self._inbound.setdefault(event.stream_id, Inbound())
                for frame in inbound.framer.feed(event.data):
                    message = frame.message()
                    if event.stream_id != 0 and inbound.start is None:
                        assert isinstance(message, StreamStart), message
                        inbound.start = message
                    else:
                        self.said.append(Said(event.stream_id, inbound.start, frame, message))
                if event.end_stream:
                    self.finished.append(event.stream_id)
            case events.StreamReset():
                self.resets.append(event)
            case events.ConnectionTerminated():
                self.terminated = event
        self._news.set()

    def send(self, stream: int, data: bytes, end: bool = False) -> None:
        self.quic.send_stream_data(stream, data, end)
        self.transmit()

    def reset(self, stream: int) -> None:
        self.quic.reset_stream(stream, 1)
        self.transmit()

    def logon_frame(
        self,
        name: str,
        *,
        heartbeat: float = 60.0,
        sending_time_ns: int | None = None,
        exporter: bytes | None = None,
        signed_as: str | None = None,
        cancel_on_disconnect: CancelOnDisconnect = CancelOnDisconnect.NONE,
        take_over: bool = False,
        **fields: Any,
    ) -> bytes:
        """A correct Logon, or one that differs where the arguments say; `fields` are set after signing."""
        if exporter is None:
            exporter = self.quic.export_keying_material(EXPORTER_LABEL, b"", EXPORTER_BYTES)
        logon = signed_logon(
            SessionConfig(
                name, heartbeat=heartbeat, cancel_on_disconnect=cancel_on_disconnect, take_over=take_over
            ),
            Alpn(self.alpn),
            signed_as or self.credentials.username,
            self.credentials.logon_key,
            exporter,
            time.time_ns() if sending_time_ns is None else sending_time_ns,
        )
        return encode_frame(replace(logon, **fields))

    async def logon(self, name: str, **how: Any) -> LogonAck:
        """Logs on as somebody polite would."""
        self.send(0, self.logon_frame(name, **how))
        ack = (await self.hear(LogonAck)).message
        assert isinstance(ack, LogonAck)
        return ack

    async def hear(self, kind: type[Message], **fields: Any) -> Said:
        """Waits for a message of `kind` with these fields, and takes it and all before it."""

        def found() -> int | None:
            for at, said in enumerate(self.said):
                if isinstance(said.message, kind) and all(
                    getattr(said.message, name) == value for name, value in fields.items()
                ):
                    return at
            return None

        try:
            async with asyncio.timeout(PATIENCE):
                while (at := found()) is None:
                    assert self.terminated is None, f"{self.terminated} before {kind.__name__}; {self.said}"
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            pytest.fail(f"no {kind.__name__} with {fields}; there was {self.said}")
        said = self.said[at]
        del self.said[: at + 1]
        return said

    async def hear_end(self) -> events.ConnectionTerminated:
        """Waits until the server has closed the connection."""
        try:
            async with asyncio.timeout(PATIENCE):
                while self.terminated is None:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            pytest.fail(f"the connection is still there; there was {self.said}")
        return self.terminated

    async def hear_close(self, code: CloseCode) -> None:
        """Class A: the application closed with this code."""
        end = await self.hear_end()
        assert end.frame_type is None, f"closed by the transport: {end}"
        assert CloseCode(end.error_code) is code

    def is_open(self) -> bool:
        return self.terminated is None


async def raw(
    server: Server,
    alpn: str = Alpn.ORDERS,
    *,
    credentials: Credentials | None = None,
    configure: Callable[[QuicConfiguration], None] = lambda _: None,
    quic_class: type[ExportingConnection] = ExportingConnection,
) -> RawClient:
    """Connects without a Logon. Whether the handshake worked is for the test to see."""
    credentials = credentials or server.credentials()
    configuration = quic_configuration(credentials, alpn, SERVER_NAME)
    configure(configuration)
    client: RawClient

    def on_ticket(_: Any) -> None:
        client.tickets += 1

    quic = quic_class(configuration=configuration, session_ticket_handler=on_ticket)
    host, port = server.address.rsplit(":", 1)
    loop = asyncio.get_running_loop()
    _, client = await loop.create_datagram_endpoint(
        lambda: RawClient(quic, alpn, credentials), local_addr=("127.0.0.1", 0)
    )
    client.connect((host, int(port)))
    async with asyncio.timeout(PATIENCE):
        await client.wait_connected()
    return client


def header(
    body_len: int, template: int, *, minor: int = 0, flags: int = 0, reserved: int = 0, seq: int = 0
) -> bytes:
    """A header with anything in it."""
    return HEADER.pack(body_len, template, minor, flags, reserved, seq)


def framed(
    body: bytes, template: int, *, minor: int = 0, flags: int = 0, reserved: int = 0, seq: int = 0
) -> bytes:
    """A frame with anything in it."""
    return header(len(body), template, minor=minor, flags=flags, reserved=reserved, seq=seq) + body
