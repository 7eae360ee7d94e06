"""The client's half of a session, without I/O: bytes in, bytes and events out, time as an argument.

    IDLE -start-> LOGON_SENT -LogonAck-> ACTIVE -logout-> LOGOUT_SENT
                       |                   |                  |
                       +----- Logout ------+----- Logout -----+--> CLOSING --> CLOSED

`CLOSING` waits for the server to close the connection: its Logout may overtake messages that are still on
their way on other streams. Whoever owns a session drains `poll_output` and `poll_event` after every call.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum, StrEnum, auto

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tessera.codes import CancelOnDisconnect, CloseCode, StreamKind
from tessera.errors import DecodeError, FrameError, NotSent, ProtocolError, SessionEnded
from tessera.framer import Frame, FrameFlags, Framer, encode_frame
from tessera.messages import (
    AdminReply,
    Heartbeat,
    Logon,
    LogonAck,
    Logout,
    StreamStart,
    TestRequest,
)
from tessera.wire import SCHEMA_MINOR, Message, text

EXPORTER_LABEL = b"EXPORTER-tessera-logon"
"""Label of the TLS exporter value that a Logon signs; its context is empty."""

EXPORTER_BYTES = 32
"""Length of that value."""

VENUE = "TESSERA"
"""The venue's CompID."""

LOGOUT_PATIENCE = 3.0
"""Seconds that a server may take from a Logout to the end of the connection; it promises 2."""

TEST_AFTER = 1.2
"""Heartbeat intervals of silence after which a TestRequest asks for a sign of life."""

SILENT_AFTER = 2.4
"""Heartbeat intervals of silence after which the peer is gone."""


class Alpn(StrEnum):
    """The protocols, by their ALPN name."""

    ORDERS = "txp-oe/1"
    MARKET_DATA = "txp-md/1"
    ADMIN = "txp-admin/1"


class State(Enum):
    """Where a session is; see the diagram of the module."""

    IDLE = auto()
    LOGON_SENT = auto()
    ACTIVE = auto()
    LOGOUT_SENT = auto()
    CLOSING = auto()
    CLOSED = auto()


class Outlet(Enum):
    """A stream that the client writes."""

    CONTROL = 0
    REQUESTS = 1


@dataclass(frozen=True, slots=True)
class Send:
    """Bytes to write."""

    outlet: Outlet
    data: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """Close the connection with an application code."""

    code: CloseCode


@dataclass(frozen=True, slots=True)
class LoggedOn:
    """The server has accepted the Logon."""

    ack: LogonAck


@dataclass(frozen=True, slots=True)
class Received:
    """A message of the server that is not the session's own business.

    `start` is what the stream said about itself, None on the control stream; `message` is None for a
    template that this package does not know.
    """

    start: StreamStart | None
    seq: int
    flags: FrameFlags
    message: Message | None


@dataclass(frozen=True, slots=True)
class StreamEnded:
    """The server has finished a stream, or reset it with `code`."""

    start: StreamStart
    code: int | None


@dataclass(frozen=True, slots=True)
class Ended:
    """The session is over; the last event."""

    error: SessionEnded | ProtocolError


Output = Send | Close
Event = LoggedOn | Received | StreamEnded | Ended


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """What a Logon says."""

    name: str
    """SenderCompID, 1 to 16 characters: one connection at a time may use it."""
    heartbeat: float = 1.0
    """Seconds, 1 to 60, in steps of a tenth."""
    cancel_on_disconnect: CancelOnDisconnect = CancelOnDisconnect.DISCONNECT
    """When the end of the session cancels its orders."""
    cancel_grace_ms: int = 0
    """Milliseconds before that happens, 0 to 5,000."""
    take_over: bool = False
    """End the session's other connection instead of being refused."""
    epoch: int = 0
    """Epoch of the last LogonAck, 0 = none yet."""
    next_server_seq: int = 0
    """ServerSeq that is expected next, 0 = whatever comes."""


def signed_logon(
    config: SessionConfig,
    alpn: Alpn,
    username: str,
    key: Ed25519PrivateKey,
    exporter: bytes,
    sending_time_ns: int,
) -> Logon:
    """A Logon with its signature over the 144 bytes of section 4 of docs/protocol.md.

    `exporter` is the TLS exporter value of the connection, `sending_time_ns` the time in nanoseconds since
    1970 UTC.

    Raises:
        EncodeError: a name is too long or not ASCII.
    """
    signed = b"".join(
        (
            b"tessera logon/1\0",
            text(alpn.value, 16),
            config.epoch.to_bytes(8, "little"),
            text(config.name, 16),
            text(VENUE, 16),
            text(username, 16),
            sending_time_ns.to_bytes(8, "little"),
            (1).to_bytes(8, "little"),
            config.next_server_seq.to_bytes(8, "little"),
            exporter,
        )
    )
    return Logon(
        sender=config.name,
        target=VENUE,
        heart_bt_int=round(config.heartbeat * 10),
        epoch=config.epoch,
        next_server_seq=config.next_server_seq,
        schema_minor=SCHEMA_MINOR,
        cancel_on_disconnect=config.cancel_on_disconnect,
        cancel_grace=config.cancel_grace_ms,
        username=username,
        sending_time=sending_time_ns,
        signature=key.sign(signed),
        take_over=config.take_over,
    )


class Session:
    """One connection's session; see the module. Times are seconds of any clock that never goes back."""

    def __init__(self, heartbeat: float) -> None:
        self.state = State.IDLE
        self.ack: LogonAck | None = None
        self.next_server_seq = 0
        """ServerSeq of the next message; valid after the LogonAck."""
        self._interval = heartbeat
        self._next_client_seq = 1
        self._streams: dict[int, _Inbound] = {}
        self._outputs: deque[Output] = deque()
        self._events: deque[Event] = deque()
        self._last_sent = 0.0
        self._last_heard = 0.0
        self._tested = False
        self._test_id = 0
        self._give_up_at: float | None = None
        self._logout: Logout | None = None

    # ---- what the owner does

    def start(self, logon: Logon, now: float) -> None:
        """Begins the session on a connection whose handshake is complete."""
        self._last_heard = now
        self.state = State.LOGON_SENT
        self._send(Outlet.CONTROL, encode_frame(logon), now)

    def request(self, message: Message, now: float, flags: FrameFlags = FrameFlags.NONE) -> int:
        """Queues a numbered request; returns its ClientSeq.

        Raises:
            NotSent: the session is not active.
            EncodeError: a value does not fit its field; no number has been used.
        """
        self._must_be_active()
        seq = self._next_client_seq
        frame = encode_frame(message, seq, flags)
        self._next_client_seq += 1
        self._send(Outlet.REQUESTS, frame, now)
        return seq

    def control(self, message: Message, now: float) -> None:
        """Queues a message on the control stream.

        Raises:
            NotSent: the session is not active.
            EncodeError: a value does not fit its field.
        """
        self._must_be_active()
        self._send(Outlet.CONTROL, encode_frame(message), now)

    def logout(self, now: float) -> None:
        """Asks for the end; the server first serves every request that has been sent."""
        if self.state is State.ACTIVE:
            self._send(Outlet.CONTROL, encode_frame(Logout(last_client_seq=self._next_client_seq - 1)), now)
            self.state = State.LOGOUT_SENT
            self._give_up_at = now + LOGOUT_PATIENCE

    def abandon(self) -> None:
        """Ends the session without a word, as a lost connection does; the owner closes the connection."""
        self._end(SessionEnded("the session was abandoned"))

    # ---- what happens to it

    def receive(self, stream: int, data: bytes, end: bool, now: float) -> None:
        """Takes bytes of a QUIC stream, `end` with its FIN; stream 0 is the control stream."""
        if self.state is State.CLOSED:
            return
        self._last_heard = now
        self._tested = False
        inbound = self._streams.setdefault(stream, _Inbound())
        try:
            for frame in inbound.framer.feed(data):
                self._on_frame(stream, inbound, frame, now)
            if end:
                inbound.framer.finish()
        except (FrameError, DecodeError) as error:
            code = error.code if isinstance(error, FrameError) else CloseCode.INTERNAL
            self._fail(f"stream {stream}: {error}", code)
            return
        if end:
            self._on_stream_end(stream, None)

    def stream_reset(self, stream: int, code: int) -> None:
        """The server has given up a stream."""
        self._on_stream_end(stream, code)

    def connection_lost(self, description: str, close: int | None) -> None:
        """The connection is gone; `close` is the application code when the server closed it with one."""
        code = None if close is None else CloseCode(close)
        if self._logout is not None:
            words = f"logged out: {self._logout.reason.name.lower()}"
            if self._logout.text:
                words += f" ({self._logout.text})"
        elif code is not None:
            words = f"the server closed the connection: {code.name.lower()}"
        else:
            words = description
        self._end(SessionEnded(words, self._logout.reason if self._logout else None, code))

    def tick(self, now: float) -> None:
        """Does what is due at `now`."""
        if self._give_up_at is not None and now >= self._give_up_at:
            self._outputs.append(Close(CloseCode.DONE))
            self.connection_lost("the server did not close the connection after the Logout", None)
        if self.state is not State.ACTIVE:
            return
        if now - self._last_heard >= SILENT_AFTER * self._interval:
            self._outputs.append(Close(CloseCode.SILENT))
            self._end(
                SessionEnded(
                    f"nothing came for {SILENT_AFTER * self._interval:.1f} s", close=CloseCode.SILENT
                )
            )
            return
        if now - self._last_heard >= TEST_AFTER * self._interval and not self._tested:
            self._tested = True
            self._test_id += 1
            self._send(Outlet.CONTROL, encode_frame(TestRequest(test_req_id=self._test_id)), now)
        if now - self._last_sent >= self._interval:
            self._send(Outlet.CONTROL, encode_frame(Heartbeat()), now)

    def deadline(self) -> float | None:
        """When `tick` has something to do next, None = nothing before the next call."""
        if self._give_up_at is not None:
            return self._give_up_at
        if self.state is not State.ACTIVE:
            return None
        silence = SILENT_AFTER if self._tested else TEST_AFTER
        return min(self._last_sent + self._interval, self._last_heard + silence * self._interval)

    def poll_output(self) -> Output | None:
        """The next thing to write or close, in order."""
        return self._outputs.popleft() if self._outputs else None

    def poll_event(self) -> Event | None:
        """The next thing that happened, in order."""
        return self._events.popleft() if self._events else None

    # ---- inside

    def _must_be_active(self) -> None:
        if self.state is not State.ACTIVE:
            raise NotSent("the session is not logged on", self._logout.reason if self._logout else None)

    def _send(self, outlet: Outlet, data: bytes, now: float) -> None:
        self._outputs.append(Send(outlet, data))
        self._last_sent = now

    def _on_frame(self, stream: int, inbound: _Inbound, frame: Frame, now: float) -> None:
        message = frame.message()
        if stream == CONTROL_STREAM:
            self._on_control(frame, message, now)
        elif inbound.start is None:
            if not isinstance(message, StreamStart):
                self._fail(f"stream {stream} began with template {frame.template}", CloseCode.BAD_STREAM)
                return
            inbound.start = message
            if message.kind is StreamKind.EVENTS:
                self.next_server_seq = message.next_seq
        else:
            if inbound.start.kind is StreamKind.EVENTS:
                if frame.seq != self.next_server_seq:
                    self._fail(
                        f"event {frame.seq} came instead of {self.next_server_seq}; log on again",
                        CloseCode.INTERNAL,
                    )
                    return
                self.next_server_seq += 1
            self._events.append(Received(inbound.start, frame.seq, frame.flags, message))

    def _on_control(self, frame: Frame, message: Message | None, now: float) -> None:
        match self.state, message:
            case State.LOGON_SENT, LogonAck():
                self.state = State.ACTIVE
                self.ack = message
                self.next_server_seq = message.next_server_seq
                self._interval = message.heart_bt_int / 10
                self._events.append(LoggedOn(message))
            case _, Logout():
                self._logout = message
                self.state = State.CLOSING
                self._give_up_at = now + LOGOUT_PATIENCE
            case (State.LOGON_SENT, _) | (_, LogonAck() | Logon()):
                self._fail(f"template {frame.template} in state {self.state.name}", CloseCode.INTERNAL)
            case _, TestRequest(test_req_id=test_req_id):
                if self.state is State.ACTIVE:
                    self._send(Outlet.CONTROL, encode_frame(Heartbeat(test_req_id=test_req_id)), now)
            case _, Heartbeat():
                pass
            case _, _:
                if isinstance(message, AdminReply):
                    self.next_server_seq = frame.seq + 1
                self._events.append(Received(None, frame.seq, frame.flags, message))

    def _on_stream_end(self, stream: int, code: int | None) -> None:
        inbound = self._streams.pop(stream, None)
        if inbound is not None and inbound.start is not None and self.state is not State.CLOSED:
            self._events.append(StreamEnded(inbound.start, code))

    def _fail(self, words: str, code: CloseCode) -> None:
        self._outputs.append(Close(code))
        self._end(ProtocolError(words))

    def _end(self, error: SessionEnded | ProtocolError) -> None:
        if self.state is not State.CLOSED:
            self.state = State.CLOSED
            self._give_up_at = None
            self._events.append(Ended(error))


class _Inbound:
    def __init__(self) -> None:
        self.framer = Framer()
        self.start: StreamStart | None = None


CONTROL_STREAM = 0
"""QUIC's number of the client's first bidirectional stream."""

REQUEST_STREAM = 2
"""QUIC's number of the client's first unidirectional stream."""
