"""A session over QUIC: sockets, timers and TLS around `session.Session`."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicProtocolVersion

from tessera.codes import CloseCode
from tessera.credentials import Credentials
from tessera.errors import ConnectError, CredentialsError, SessionEnded
from tessera.framer import FrameFlags
from tessera.messages import LogonAck
from tessera.session import (
    CONTROL_STREAM,
    EXPORTER_BYTES,
    EXPORTER_LABEL,
    REQUEST_STREAM,
    Alpn,
    Close,
    Ended,
    Event,
    LoggedOn,
    Outlet,
    Received,
    Send,
    Session,
    SessionConfig,
    StreamEnded,
    signed_logon,
)
from tessera.tls import ExportingConnection
from tessera.wire import Message

SERVER_NAME = "localhost"
"""Name that a server's certificate must have; that of development credentials."""

CONNECT_TIMEOUT = 3.0
"""Seconds that a handshake and Logon may take."""

IDLE_TIMEOUT = 180.0
"""Seconds after which QUIC gives a connection up: three of the longest heartbeats, as the server has it."""

Handler = Callable[[LoggedOn | Received | StreamEnded | Ended], None]
"""Takes the events of a session in their order; it must not block."""


class Link(QuicConnectionProtocol):
    """One logged-on connection. Made by `open_link`."""

    def __init__(
        self,
        quic: QuicConnection,
        config: SessionConfig,
        alpn: Alpn,
        credentials: Credentials,
        handler: Handler,
    ) -> None:
        super().__init__(quic)
        self.session = Session(config.heartbeat)
        self._config = config
        self._alpn = alpn
        self._credentials = credentials
        self._handler = handler
        self._tick: asyncio.TimerHandle | None = None
        self._flush_soon: asyncio.Handle | None = None
        self._logged_on: asyncio.Future[LogonAck] = self._loop.create_future()

    # ---- what the owner does

    def request(self, message: Message, flags: FrameFlags = FrameFlags.NONE) -> int:
        """Sends a numbered request; what is sent before the next turn of the event loop goes out together.

        Returns its ClientSeq.

        Raises:
            NotSent: the session is over.
            EncodeError: a value does not fit its field.
        """
        seq = self.session.request(message, self._loop.time(), flags)
        self._schedule_flush()
        return seq

    def control(self, message: Message) -> None:
        """Sends a message on the control stream.

        Raises:
            NotSent: the session is over.
            EncodeError: a value does not fit its field.
        """
        self.session.control(message, self._loop.time())
        self._schedule_flush()

    async def logout(self) -> None:
        """Logs out and waits until the server has closed the connection: everything it had to say is here."""
        self.session.logout(self._loop.time())
        self._flush()
        await self.wait_closed()

    async def abort(self) -> None:
        """Closes the connection without a Logout, which the server takes as a disconnect."""
        self.session.abandon()
        self.close(CloseCode.DONE)
        self._flush()
        await self.wait_closed()

    def vanish(self) -> None:
        """Stops without a word to anyone, as if the cable were cut."""
        self.session.abandon()
        self._flush(transmit=False)
        self._release()
        self._closed.set()

    async def logged_on(self, timeout: float) -> LogonAck:
        """Waits for the LogonAck.

        Raises:
            ConnectError: no connection, or no answer within `timeout` seconds.
            SessionEnded: the server refused the Logon; `logout` and `close` say why.
        """
        try:
            return await asyncio.wait_for(asyncio.shield(self._logged_on), timeout)
        except TimeoutError:
            self.vanish()
            raise ConnectError(f"no LogonAck within {timeout} s; is it a Tessera server?") from None

    # ---- what happens to it

    def quic_event_received(self, event: events.QuicEvent) -> None:
        """Takes an event of the connection; called by aioquic."""
        now = self._loop.time()
        match event:
            case events.HandshakeCompleted():
                assert isinstance(self._quic, ExportingConnection)
                exporter = self._quic.export_keying_material(EXPORTER_LABEL, b"", EXPORTER_BYTES)
                logon = signed_logon(
                    self._config,
                    self._alpn,
                    self._credentials.username,
                    self._credentials.logon_key,
                    exporter,
                    time.time_ns(),
                )
                self.session.start(logon, now)
            case events.StreamDataReceived():
                self.session.receive(event.stream_id, event.data, event.end_stream, now)
            case events.StreamReset():
                self.session.stream_reset(event.stream_id, event.error_code)
            case events.ConnectionTerminated():
                # aioquic leaves out the frame type when an application closed.
                application = event.frame_type is None
                words = event.reason_phrase or f"QUIC error {event.error_code:#x}"
                self.session.connection_lost(
                    f"connection lost: {words}", event.error_code if application else None
                )
                self._flush(transmit=False)
                self._release()
                return
            case _:
                return
        self._schedule_flush()

    def _schedule_flush(self) -> None:
        if self._flush_soon is None:
            self._flush_soon = self._loop.call_soon(self._flush)

    def _flush(self, transmit: bool = True) -> None:
        if self._flush_soon is not None:
            self._flush_soon.cancel()
            self._flush_soon = None
        while (output := self.session.poll_output()) is not None:
            match output:
                case Send(outlet=outlet, data=data):
                    stream = CONTROL_STREAM if outlet is Outlet.CONTROL else REQUEST_STREAM
                    self._quic.send_stream_data(stream, data)
                case Close(code=code):
                    self._quic.close(error_code=code)
        if transmit:
            self.transmit()
        while (event := self.session.poll_event()) is not None:
            self._deliver(event)
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None
        deadline = self.session.deadline()
        if deadline is not None:
            self._tick = self._loop.call_at(deadline, self._on_tick)

    def _on_tick(self) -> None:
        self._tick = None
        self.session.tick(self._loop.time())
        self._flush()

    def _deliver(self, event: Event) -> None:
        match event:
            case LoggedOn(ack=ack) if not self._logged_on.done():
                self._logged_on.set_result(ack)
            case Ended(error=error) if not self._logged_on.done():
                refused = isinstance(error, SessionEnded) and (
                    error.logout is not None or error.close is not None
                )
                self._logged_on.set_exception(error if refused else ConnectError(str(error)))
        self._handler(event)

    def _release(self) -> None:
        if self._transport is not None:
            self._transport.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


async def open_link(
    address: str,
    credentials: Credentials,
    config: SessionConfig,
    alpn: Alpn,
    handler: Handler,
    server_name: str = SERVER_NAME,
    timeout: float = CONNECT_TIMEOUT,
) -> Link:
    """Connects to HOST:PORT and logs on; `handler` gets every event from the LogonAck on.

    Raises:
        ConnectError: nobody answers, the certificates do not fit, or the protocol is not spoken there.
        CredentialsError: a certificate file cannot be read.
        SessionEnded: the server refused the Logon.
        EncodeError: a name in `config` is too long.
    """
    host, port = parse_address(address)
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except OSError as error:
        raise ConnectError(f"{address}: {error}") from error
    family, _, _, _, peer = found[0]
    quic = ExportingConnection(configuration=quic_configuration(credentials, alpn, server_name))
    any_address = "::" if family == socket.AF_INET6 else "0.0.0.0"
    _, link = await loop.create_datagram_endpoint(
        lambda: Link(quic, config, alpn, credentials, handler), local_addr=(any_address, 0)
    )
    link.connect(peer)
    try:
        await link.logged_on(timeout)
    except ConnectError as error:
        raise ConnectError(f"{address}: {error}") from error
    return link


def quic_configuration(credentials: Credentials, alpn: str, server_name: str) -> QuicConfiguration:
    """QUIC version 1 with the client's certificate, without tickets.

    Raises:
        CredentialsError: a certificate file cannot be read.
    """
    configuration = QuicConfiguration(
        alpn_protocols=[str(alpn)],
        is_client=True,
        idle_timeout=IDLE_TIMEOUT,
        server_name=server_name,
        supported_versions=[QuicProtocolVersion.VERSION_1],
    )
    try:
        configuration.load_cert_chain(credentials.certificate_file, credentials.key_file)
        configuration.load_verify_locations(cafile=str(credentials.ca_file))
    except (OSError, ValueError, TypeError, IndexError) as error:
        raise CredentialsError(f"{credentials.certificate_file}: {error}") from error
    return configuration


def parse_address(address: str) -> tuple[str, int]:
    """HOST:PORT in two; an IPv6 host may be in brackets.

    Raises:
        ConnectError: it is not that.
    """
    host, separator, port = address.rpartition(":")
    if not separator or not host or not port.isdigit() or not 0 < int(port) < 1 << 16:
        raise ConnectError(f"{address!r} is not HOST:PORT")
    return host.removeprefix("[").removesuffix("]"), int(port)
