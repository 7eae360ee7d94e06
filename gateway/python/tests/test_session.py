"""The client's state machine without a connection: every state with every input, and what time does."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tessera import messages as m
from tessera.codes import CloseCode, Durability, LogoutReason, OrdStatus, RejectReason, StreamKind
from tessera.errors import NotSent, ProtocolError, SessionEnded
from tessera.framer import Frame, FrameFlags, Framer, encode_frame
from tessera.session import (
    LOGOUT_PATIENCE,
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
    State,
    StreamEnded,
    signed_logon,
)
from tessera.wire import Message

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
LOGON = signed_logon(SessionConfig("DESK"), Alpn.ORDERS, "trader", KEY, bytes(32), 1)
ACK = m.LogonAck(3, 40, 7, 10, 0, Durability.SYNCED, 0, 0, 0, 0, 5)
EVENTS = m.StreamStart(StreamKind.EVENTS, 0, 0, 0, 3, 7)
REPORT = m.CancelReject(1, 0, 0, 1, OrdStatus.UNKNOWN, 0, 1, RejectReason.UNKNOWN_ORDER)


def sent(session: Session) -> list[tuple[Outlet, Frame] | Close]:
    found: list[tuple[Outlet, Frame] | Close] = []
    while (output := session.poll_output()) is not None:
        if isinstance(output, Send):
            found += [(output.outlet, frame) for frame in Framer().feed(output.data)]
        else:
            found.append(output)
    return found


def said(session: Session) -> list[Message | None]:
    return [output[1].message() for output in sent(session) if not isinstance(output, Close)]


def told(session: Session) -> list[Event]:
    found = []
    while (event := session.poll_event()) is not None:
        found.append(event)
    return found


def hear(session: Session, message: Message, now: float = 0.0, stream: int = 0, seq: int = 0) -> None:
    session.receive(stream, encode_frame(message, seq), end=False, now=now)


def active(now: float = 0.0) -> Session:
    session = Session(1.0)
    session.start(LOGON, now)
    hear(session, ACK, now)
    sent(session)
    told(session)
    return session


def in_state(state: State) -> Session:
    match state:
        case State.IDLE:
            return Session(1.0)
        case State.LOGON_SENT:
            session = Session(1.0)
            session.start(LOGON, 0.0)
        case State.ACTIVE:
            session = active()
        case State.LOGOUT_SENT:
            session = active()
            session.logout(0.0)
        case State.CLOSING:
            session = active()
            hear(session, m.Logout(LogoutReason.DRAINING))
        case State.CLOSED:
            session = active()
            session.abandon()
    sent(session)
    told(session)
    assert session.state is state
    return session


INPUTS: dict[str, Callable[[Session], None]] = {
    "LogonAck": lambda s: hear(s, ACK),
    "Logout": lambda s: hear(s, m.Logout(LogoutReason.NORMAL)),
    "TestRequest": lambda s: hear(s, m.TestRequest(9)),
    "BusinessReject": lambda s: hear(s, m.BusinessReject(1, 20, 0, 1, RejectReason.BUSY, 0)),
    "logout": lambda s: s.logout(0.0),
    "lost": lambda s: s.connection_lost("gone", None),
    "3 s": lambda s: s.tick(3.0),
}

# What a state becomes; "-" is no change, and everything that is not here is a protocol error.
TABLE = """
             LogonAck  Logout   TestRequest  BusinessReject  logout       lost    3 s
LOGON_SENT   ACTIVE    CLOSING  CLOSED       CLOSED          -            CLOSED  -
ACTIVE       CLOSED    CLOSING  -            -               LOGOUT_SENT  CLOSED  CLOSED
LOGOUT_SENT  CLOSED    CLOSING  -            -               -            CLOSED  CLOSED
CLOSING      CLOSED    -        -            -               -            CLOSED  CLOSED
CLOSED       -         -        -            -               -            -       -
"""


@pytest.mark.parametrize("row", TABLE.strip().splitlines()[1:], ids=lambda row: row.split()[0])
@pytest.mark.parametrize("at", range(len(INPUTS)), ids=list(INPUTS))
def test_every_pair_of_state_and_input(row: str, at: int) -> None:
    state, *cells = row.split()
    session = in_state(State[state])
    list(INPUTS.values())[at](session)
    assert session.state is State[state if cells[at] == "-" else cells[at]]
    ended = [event for event in told(session) if isinstance(event, Ended)]
    assert len(ended) == (session.state is State.CLOSED and state != "CLOSED")


def test_the_logon_signs_the_144_bytes_of_the_page() -> None:
    exporter = bytes(range(100, 132))
    config = SessionConfig("DESK", epoch=0x0102, next_server_seq=0x0304)
    logon = signed_logon(config, Alpn.MARKET_DATA, "trader", KEY, exporter, 0x0506)
    signed = b"tessera logon/1\0" + b"txp-md/1" + bytes(8) + b"\2\1" + bytes(6) + b"DESK" + bytes(12)
    signed += b"TESSERA" + bytes(9) + b"trader" + bytes(10) + b"\6\5" + bytes(6) + b"\1" + bytes(7)
    signed += b"\4\3" + bytes(6) + exporter
    assert len(signed) == 144
    KEY.public_key().verify(logon.signature, signed)


def test_a_logon_is_the_first_frame_and_the_ack_an_event() -> None:
    session = Session(1.0)
    session.start(LOGON, 0.0)
    [(outlet, frame)] = [s for s in sent(session) if not isinstance(s, Close)]
    assert (outlet, frame.message()) == (Outlet.CONTROL, LOGON)
    hear(session, ACK)
    assert told(session) == [LoggedOn(ACK)]
    assert session.next_server_seq == 7


def test_requests_are_numbered_from_one_and_a_bad_one_uses_no_number() -> None:
    session = active()
    assert session.request(m.Cancel(1, orig_cl_ord_id=1), 0.0) == 1
    with pytest.raises(Exception, match="Cancel"):
        session.request(m.Cancel(-1), 0.0)
    assert session.request(m.Cancel(2, orig_cl_ord_id=1), 0.0) == 2
    assert [frame.seq for _, frame in sent(session)] == [1, 2]  # type: ignore[misc]
    session.logout(0.0)
    assert said(session) == [m.Logout(last_client_seq=2)]
    with pytest.raises(NotSent):
        session.request(m.Cancel(3), 0.0)


def test_liveness() -> None:
    session = active(now=100.0)
    assert session.deadline() == 101.0
    session.tick(101.0)
    assert said(session) == [m.Heartbeat()]
    assert session.deadline() == pytest.approx(101.2)
    session.tick(101.2)
    assert said(session) == [m.TestRequest(1)]
    session.receive(0, b"\x10", end=False, now=102.0)  # any bytes are life, half a header too
    session.tick(102.3)
    assert said(session) == [m.Heartbeat()]
    session.tick(103.3)
    session.tick(104.39)
    assert session.state is State.ACTIVE
    session.tick(104.41)
    assert sent(session)[-1] == Close(CloseCode.SILENT)
    assert isinstance(told(session)[-1], Ended)


def test_the_granted_interval_counts() -> None:
    session = Session(1.0)
    session.start(LOGON, 0.0)
    hear(session, m.LogonAck(3, 0, 1, 50, 0, Durability.SYNCED, 0, 0, 0, 0, 5))
    assert session.deadline() == 5.0


def test_a_test_request_is_answered_with_its_id() -> None:
    session = active()
    hear(session, m.TestRequest(77))
    assert said(session) == [m.Heartbeat(test_req_id=77)]


def test_events_come_with_their_numbers_and_a_gap_ends_the_session() -> None:
    session = active()
    hear(session, EVENTS, stream=3)
    hear(session, REPORT, stream=3, seq=7)
    assert told(session) == [Received(EVENTS, 7, FrameFlags.NONE, REPORT)]
    hear(session, REPORT, stream=3, seq=9)
    assert sent(session) == [Close(CloseCode.INTERNAL)]
    [ended] = told(session)
    assert isinstance(ended, Ended)
    assert isinstance(ended.error, ProtocolError)


def test_a_stream_must_say_what_it_is() -> None:
    session = active()
    hear(session, REPORT, stream=3, seq=7)
    assert sent(session) == [Close(CloseCode.BAD_STREAM)]


def test_streams_end_and_are_reset() -> None:
    session = active()
    answer = m.StreamStart(StreamKind.ANSWER, 0, 0, 1, 3, 0)
    session.receive(7, encode_frame(answer), end=True, now=0.0)
    assert told(session) == [StreamEnded(answer, None)]
    hear(session, answer, stream=11)
    session.stream_reset(11, CloseCode.LAGGED)
    assert told(session) == [StreamEnded(answer, CloseCode.LAGGED)]


def test_a_template_of_a_later_version_is_passed_on_without_content() -> None:
    session = active()
    hear(session, EVENTS, stream=3)
    session.receive(3, encode_frame(REPORT, 7).replace(b"\x29\0", b"\x0f\x27", 1), end=False, now=0.0)
    [event] = told(session)
    assert isinstance(event, Received)
    assert event.message is None
    assert session.next_server_seq == 8


def test_messages_after_the_servers_logout_still_count() -> None:
    session = active()
    hear(session, EVENTS, stream=3)
    session.logout(0.0)
    hear(session, m.Logout())
    hear(session, REPORT, stream=3, seq=7)
    session.connection_lost("", CloseCode.DONE)
    received, ended = told(session)
    assert isinstance(received, Received)
    assert isinstance(ended, Ended)
    assert isinstance(ended.error, SessionEnded)
    assert (ended.error.logout, ended.error.close) == (LogoutReason.NORMAL, CloseCode.DONE)


def test_a_server_that_never_closes_is_given_up() -> None:
    session = active()
    session.logout(0.0)
    assert session.deadline() == LOGOUT_PATIENCE
    session.tick(LOGOUT_PATIENCE)
    assert sent(session)[-1] == Close(CloseCode.DONE)
    assert session.state is State.CLOSED


def test_bytes_that_are_no_frames_end_the_session() -> None:
    session = active()
    session.receive(0, b"\xff" * 16, end=False, now=0.0)
    assert sent(session) == [Close(CloseCode.BAD_HEADER)]
    assert session.state is State.CLOSED


@pytest.mark.parametrize("seed", range(200))
def test_whatever_a_server_sends_a_session_ends_or_goes_on(seed: int) -> None:
    chance = random.Random(seed)
    session = active()
    spoken = [
        ACK,
        EVENTS,
        REPORT,
        m.Logout(),
        m.TestRequest(1),
        m.Heartbeat(),
        m.StreamStart(StreamKind.ANSWER, 0, 0, 1, 3, 0),
    ]
    for step in range(60):
        data = bytearray(encode_frame(chance.choice(spoken), chance.choice([0, 7, 8])))
        if chance.random() < 0.3:
            data[chance.randrange(len(data))] = chance.randrange(256)
        cut = chance.randrange(len(data)) if chance.random() < 0.3 else len(data)
        session.receive(chance.choice([0, 3, 7]), bytes(data[:cut]), chance.random() < 0.05, step / 10)
        session.tick(step / 10)
        sent(session)
    told(session)
    session.connection_lost("gone", None)
    assert session.state is State.CLOSED
