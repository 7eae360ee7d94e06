"""Every row of the specification's table of malformed input, through a real connection.

The numbers are the rows of section 8 of the protocol's specification; what must happen is section 6 of
docs/protocol.md. Class A closes with an application code, B is a Reject and the session goes on, C a Logout
with a reason, D a BusinessReject or a report, E nothing.
"""

from __future__ import annotations

import asyncio
import itertools
import struct
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aioquic.quic.configuration import QuicConfiguration
from aioquic.tls import AlertDescription
from authority import Authority, client_name, found_venue
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from support import RawClient, Said, Server, framed, header, raw, run, until

from tessera import messages as m
from tessera.codes import (
    CancelOnDisconnect,
    Changes,
    CloseCode,
    ExecInst,
    ExecType,
    KillAction,
    LogoutReason,
    OrdStatus,
    OrdType,
    Phase,
    RejectReason,
    SessionRejectReason,
    Side,
    TimeInForce,
)
from tessera.credentials import Credentials
from tessera.framer import FrameFlags, encode_frame
from tessera.session import Alpn
from tessera.tls import ExportingConnection
from tessera.wire import Message

S0 = 0
S1 = 2
TEST = "TEST"
NUMBERS = itertools.count()
NO_SUCH_ORDER = 4_000_000_000
NO_SUCH_INSTRUMENT = 4_000_000


def fresh(name: str) -> str:
    """A session's name that no other test uses, so that one failure does not make the next."""
    return f"{name}.{next(NUMBERS)}"


def order(cl_ord_id: int, **fields: Any) -> m.NewOrderSingle:
    """An order for instrument TEST that rests."""
    base = m.NewOrderSingle(
        cl_ord_id=cl_ord_id, account=1, instrument=0, side=Side.BUY, price=100, order_qty=5
    )
    return replace(base, **fields)


async def instrument(server: Server, name: str) -> m.SecurityDefinition:
    """The plain instrument TEST, as the security list says it."""
    client = await raw(server)
    await client.logon(name)
    client.send(S0, encode_frame(m.SecurityListRequest(1)))
    end = await_end = None
    while end is None:
        said = await client.hear(Message)
        if isinstance(said.message, m.SecurityDefinition) and said.message.symbol == TEST:
            await_end = said.message
        if isinstance(said.message, m.SecurityListEnd):
            end = said.message
    assert await_end is not None
    await leave(client)
    return await_end


async def leave(client: RawClient) -> None:
    client.close()
    await client.wait_closed()


async def still_serves(client: RawClient) -> None:
    """The session goes on: a TestRequest is answered."""
    client.send(S0, encode_frame(m.TestRequest(test_req_id=77)))
    await client.hear(m.Heartbeat, test_req_id=77)


async def hear_logout(client: RawClient, reason: LogoutReason) -> None:
    """Class C: a Logout with this reason, then the connection is closed."""
    said = await client.hear(m.Logout)
    assert isinstance(said.message, m.Logout)
    assert said.message.reason is reason, said.message
    await client.hear_end()


async def hear_reject(
    client: RawClient, reason: SessionRejectReason, tag: int, template: int, seq: int = 0
) -> None:
    """Class B: a Reject that names the fault, and the session goes on."""
    said = await client.hear(m.Reject)
    assert said.message == m.Reject(ref_seq=seq, ref_tag=tag, ref_template=template, reason=reason)
    await still_serves(client)


async def refused_in_tls(
    server: Server, alert: set[AlertDescription], configure: Callable[[QuicConfiguration], None], alpn: str
) -> None:
    """The handshake fails, or the connection ends with this alert before a Logon is answered."""
    try:
        client = await raw(server, alpn, configure=configure)
    except ConnectionError:
        return
    end = await client.hear_end()
    assert end.error_code - 0x100 in alert, end
    assert client.said == []


def test_row_01_protocol_name(server: Server) -> None:
    run(refused_in_tls(server, {AlertDescription.no_application_protocol}, lambda _: None, "txp-oe/2"))


@pytest.mark.parametrize("kind", ["none", "unknown", "expired"])
def test_row_01_certificate(server: Server, tmp_path: Path, kind: str) -> None:
    authority = Authority.of(server.data / "credentials")
    if kind == "unknown":
        authority = Authority(ec.generate_private_key(ec.SECP256R1()), authority.name)
    authority.sign(tmp_path / "stranger", client_name("trader", "trade"), expired=kind == "expired")

    def configure(configuration: QuicConfiguration) -> None:
        configuration.certificate = configuration.private_key = None
        if kind != "none":
            configuration.load_cert_chain(tmp_path / "stranger.crt", tmp_path / "stranger.key")

    alerts = {
        "none": {AlertDescription.certificate_required},
        "unknown": {
            AlertDescription.unknown_ca,
            AlertDescription.decrypt_error,
            AlertDescription.bad_certificate,
        },
        "expired": {AlertDescription.certificate_expired},
    }
    run(refused_in_tls(server, alerts[kind], configure, Alpn.ORDERS))


def test_row_01_a_certificate_of_the_authority_is_let_in(server: Server, tmp_path: Path) -> None:
    # So that the rows above fail for the certificate's fault and not for how this test makes them.
    Authority.of(server.data / "credentials").sign(tmp_path / "stranger", client_name("trader", "trade"))

    async def work() -> None:
        def configure(configuration: QuicConfiguration) -> None:
            configuration.load_cert_chain(tmp_path / "stranger.crt", tmp_path / "stranger.key")

        client = await raw(server, configure=configure)
        await client.logon(fresh("ROW01"))
        await leave(client)

    run(work())


def test_row_02_no_ticket_so_no_early_data(server: Server) -> None:
    async def work() -> None:
        client = await raw(server)
        await client.logon(fresh("ROW02"))
        await still_serves(client)
        assert client.tickets == 0
        await leave(client)

    run(work())


@pytest.mark.parametrize("stream", [S0, S1])
def test_row_03_first_frame(server: Server, stream: int) -> None:
    async def work() -> None:
        client = await raw(server)
        client.send(stream, encode_frame(m.Heartbeat()))
        await client.hear_close(CloseCode.NO_LOGON)

    run(work())


def test_row_04_no_logon(server: Server) -> None:
    async def work() -> None:
        client = await raw(server)
        begin = time.monotonic()
        await client.hear_close(CloseCode.LOGON_TIMEOUT)
        assert 4.5 < time.monotonic() - begin < 7

    run(work())


FORGED: dict[str, dict[str, Any]] = {
    "signature": {"signature": bytes(64)},
    "another key's name": {"username": "admin"},
    "no such key": {"signed_as": "nobody", "username": "nobody"},
    "channel binding": {"exporter": bytes(32)},
    "signed field changed": {"epoch": 7},
    "target": {"target": "OTHER"},
    "sender": {"sender": "SOMEBODY"},
}


@pytest.mark.parametrize("fault", FORGED)
def test_row_05_and_08_not_who_it_says(start: Callable[..., Server], fault: str) -> None:
    # A server each: five of these within a minute block the address.
    server = start()

    async def work() -> None:
        client = await raw(server)
        client.send(S0, client.logon_frame(fresh("ROW05"), **FORGED[fault]))
        await hear_logout(client, LogoutReason.AUTH)

    run(work())


def test_row_05_five_failures_block_the_address_for_this_key(start: Callable[..., Server]) -> None:
    server = start()

    async def work() -> None:
        for _ in range(5):
            client = await raw(server)
            client.send(S0, client.logon_frame(fresh("ROW05"), signature=bytes(64)))
            await hear_logout(client, LogoutReason.AUTH)
        client = await raw(server)
        client.send(S0, client.logon_frame(fresh("ROW05")))
        await hear_logout(client, LogoutReason.AUTH)
        other = await raw(server, Alpn.ADMIN, credentials=server.credentials("admin"))
        await other.logon(fresh("ROW05"))
        await leave(other)

    run(work())


@pytest.mark.parametrize("off_s", [-6, 6])
def test_row_06_sending_time(server: Server, off_s: int) -> None:
    async def work() -> None:
        client = await raw(server)
        client.send(S0, client.logon_frame(fresh("ROW06"), sending_time_ns=time.time_ns() + off_s * 10**9))
        await hear_logout(client, LogoutReason.SENDING_TIME)

    run(work())


@pytest.mark.parametrize("heartbeat", [0.0, 0.9, 60.1])
def test_row_07_heart_bt_int(server: Server, heartbeat: float) -> None:
    async def work() -> None:
        client = await raw(server)
        client.send(S0, client.logon_frame(fresh("ROW07"), heartbeat=heartbeat))
        await hear_logout(client, LogoutReason.HEART_BT_INT)

    run(work())


def with_limited_key(server: Server, name: str) -> Credentials:
    """Restarts a server with one more key: only session MINE, only account 7."""
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    server.stop()
    with (server.data / "credentials" / "keys").open("a") as keys:
        keys.write(f"\n{name} trade trader MINE 7 {public.hex()}\n")
    server.start()
    return replace(server.credentials(), username=name, logon_key=key)


def test_row_08_and_31_session_and_account_of_another(start: Callable[..., Server]) -> None:
    server = start()
    limited = with_limited_key(server, "limited")

    async def work() -> None:
        client = await raw(server, credentials=limited)
        client.send(S0, client.logon_frame("YOURS"))
        await hear_logout(client, LogoutReason.AUTH)
        client = await raw(server, credentials=limited)
        await client.logon("MINE")
        client.send(S1, encode_frame(order(1, account=8), 1))
        said = await client.hear(m.BusinessReject)
        assert isinstance(said.message, m.BusinessReject)
        assert said.message.reason is RejectReason.NOT_PERMITTED, said.message
        client.send(S1, encode_frame(order(1, account=7), 2))
        await client.hear(m.ExecutionReport, cl_ord_id=1, account=7, exec_type=ExecType.NEW)
        await leave(client)

    run(work())


def test_row_09_second_logon(server: Server) -> None:
    async def work() -> None:
        client = await raw(server)
        await client.logon(fresh("ROW09"))
        client.send(S0, client.logon_frame(fresh("ROW09")))
        await hear_logout(client, LogoutReason.SECOND_LOGON)

    run(work())


def test_row_10_duplicate_session_and_take_over(server: Server) -> None:
    name = fresh("ROW10")

    async def work() -> None:
        first = await raw(server)
        await first.logon(name, cancel_on_disconnect=CancelOnDisconnect.BOTH)
        first.send(S1, encode_frame(order(1), 1))
        await first.hear(m.ExecutionReport, exec_type=ExecType.NEW)
        second = await raw(server)
        second.send(S0, second.logon_frame(name))
        await hear_logout(second, LogoutReason.DUPLICATE_SESSION)
        await still_serves(first)
        third = await raw(server)
        third.send(S0, third.logon_frame(name, take_over=True))
        said = await third.hear(Message)
        if isinstance(said.message, m.Logout):
            assert said.message.reason is LogoutReason.DUPLICATE_SESSION
            pytest.xfail("the server does not take a session over yet; it refuses as without take_over")
        await hear_logout(first, LogoutReason.SUPERSEDED)
        # The order is still there: taking over is no disconnect.
        third.send(S1, encode_frame(m.Cancel(cl_ord_id=2, orig_cl_ord_id=1), 1))
        await third.hear(m.ExecutionReport, cl_ord_id=2, exec_type=ExecType.CANCELED)
        await leave(third)

    run(work())


def test_row_11_minor_above_is_answered_with_the_lower(server: Server) -> None:
    async def work() -> None:
        client = await raw(server)
        ack = await client.logon(fresh("ROW11"), schema_minor=255)
        assert ack.schema_minor == 0
        await leave(client)

    run(work())


CLOSING: dict[str, tuple[bytes, CloseCode]] = {
    "12 reserved": (framed(bytes(16), 4, reserved=1), CloseCode.BAD_HEADER),
    "12 flag": (framed(bytes(16), 4, flags=8), CloseCode.BAD_HEADER),
    "13 body_len": (header(1_025, 4), CloseCode.BODY_TOO_LARGE),
}


@pytest.mark.parametrize("stream", [S0, S1])
@pytest.mark.parametrize("row", CLOSING)
def test_rows_12_and_13_headers(server: Server, row: str, stream: int) -> None:
    async def work() -> None:
        client = await raw(server)
        await client.logon(fresh("ROW12"))
        data, code = CLOSING[row]
        client.send(stream, data)
        await client.hear_close(code)

    run(work())


def patched(message: Message, at: int, byte: int) -> bytes:
    body = bytearray(message.body())
    body[at] = byte
    return bytes(body)


LOGOUT = m.Logout()
W = SessionRejectReason
ON_S0: dict[str, tuple[bytes, int, SessionRejectReason, int]] = {
    "14 short": (bytes(15), 4, W.BODY_TOO_SHORT, 0),
    "14 empty": (b"", 5, W.BODY_TOO_SHORT, 0),
    "15 trailing": (bytes(17), 4, W.TRAILING_BYTES, 0),
    "20 unknown": (b"", 9_999, W.UNKNOWN_TEMPLATE, 0),
    "22 code": (b"\2\0", 24, W.VALUE_OUT_OF_RANGE, 20123),
    "22 scope": (b"\1\1", 24, W.VALUE_OUT_OF_RANGE, 20124),
    "22 bool": (bytes(8) + b"\2", 25, W.VALUE_OUT_OF_RANGE, 20126),
    "23 reserved": (patched(LOGOUT, 1, 1), 3, W.BAD_FORMAT, 20100),
    "24 not printable": (patched(LOGOUT, 10, 0x0A), 3, W.BAD_FORMAT, 58),
    "24 not ascii": (patched(LOGOUT, 10, 0xE9), 3, W.BAD_FORMAT, 58),
    "24 not padded": (patched(LOGOUT, 12, 0x41), 3, W.BAD_FORMAT, 58),
}


@pytest.mark.parametrize("row", ON_S0)
def test_rows_14_to_24_on_the_control_stream(server: Server, row: str) -> None:
    body, template, reason, tag = ON_S0[row]

    async def work() -> None:
        client = await raw(server)
        await client.logon(fresh("ROW14"))
        client.send(S0, framed(body, template))
        await hear_reject(client, reason, tag, template)
        await leave(client)

    run(work())


ORDER = order(1)
REPLACE = m.CancelReplace(cl_ord_id=1, orig_cl_ord_id=9)
MASS = m.MassAction(cl_ord_id=1)
ON_S1: dict[str, tuple[bytes, int, SessionRejectReason, int]] = {
    "14 short order": (ORDER.body()[:-1], 20, W.BODY_TOO_SHORT, 0),
    "15 trailing order": (ORDER.body() + b"\0", 20, W.TRAILING_BYTES, 0),
    "20 unknown": (b"", 9_999, W.UNKNOWN_TEMPLATE, 0),
    "22 side": (patched(ORDER, 16, 2), 20, W.VALUE_OUT_OF_RANGE, 54),
    "22 type": (patched(ORDER, 17, 6), 20, W.VALUE_OUT_OF_RANGE, 40),
    "22 time in force": (patched(ORDER, 18, 5), 20, W.VALUE_OUT_OF_RANGE, 59),
    "22 instruction": (patched(ORDER, 55, 32), 20, W.VALUE_OUT_OF_RANGE, 18),
    "22 self-match": (patched(ORDER, 61, 5), 20, W.VALUE_OUT_OF_RANGE, 2964),
    "22 changes": (patched(REPLACE, 62, 8), 21, W.VALUE_OUT_OF_RANGE, 20118),
    "23 on_failure": (patched(REPLACE, 63, 1), 21, W.BAD_FORMAT, 20119),
    "23 in_flight": (patched(REPLACE, 64, 1), 21, W.BAD_FORMAT, 20120),
    "22 action": (patched(MASS, 12, 0), 23, W.VALUE_OUT_OF_RANGE, 1373),
    "22 mass scope": (patched(MASS, 13, 0), 23, W.VALUE_OUT_OF_RANGE, 1374),
    "22 mass side": (patched(MASS, 20, 3), 23, W.VALUE_OUT_OF_RANGE, 54),
}


@pytest.mark.parametrize("row", ON_S1)
def test_rows_14_to_22_on_the_request_stream(server: Server, row: str) -> None:
    body, template, reason, tag = ON_S1[row]

    async def work() -> None:
        client = await raw(server)
        await client.logon(fresh("ROW14B"))
        client.send(S1, framed(body, template, seq=1))
        await hear_reject(client, reason, tag, template, seq=1)
        # The refused frame has used its number, and not its ClOrdID.
        client.send(S1, encode_frame(m.Cancel(cl_ord_id=2, orig_cl_ord_id=NO_SUCH_ORDER), 2))
        said = await client.hear(m.CancelReject)
        assert isinstance(said.message, m.CancelReject)
        await leave(client)
        assert said.message.reason in (RejectReason.UNKNOWN_ORDER, RejectReason.DUPLICATE_ID)

    run(work())


def test_the_eleventh_reject_within_ten_seconds_closes(server: Server) -> None:
    async def work() -> None:
        client = await raw(server)
        await client.logon(fresh("ROWB"))
        for _ in range(10):
            client.send(S0, framed(b"", 9_999))
            await client.hear(m.Reject)
        await still_serves(client)
        client.send(S0, framed(b"", 9_999))
        await client.hear_close(CloseCode.TOO_MANY_REJECTS)

    run(work())


def test_row_16_a_higher_minor_may_be_longer(server: Server) -> None:
    async def work() -> None:
        client = await raw(server)
        await client.logon(fresh("ROW16"))
        body = m.TestRequest(test_req_id=5).body() + b"of a later version"
        client.send(S0, framed(body, 5, minor=1))
        await client.hear(m.Heartbeat, test_req_id=5)
        await leave(client)

    run(work())


@pytest.mark.parametrize("stream", [S0, S1])
def test_row_17_fin_inside_a_frame(server: Server, stream: int) -> None:
    async def work() -> None:
        client = await raw(server)
        await client.logon(fresh("ROW17"))
        client.send(stream, header(16, 4)[:9], end=True)
        await client.hear_close(CloseCode.TRUNCATED)

    run(work())


@pytest.mark.parametrize("stream", [S0, S1])
def test_row_18_reset_inside_a_frame(server: Server, stream: int) -> None:
    async def work() -> None:
        client = await raw(server)
        await client.logon(fresh("ROW18"), cancel_on_disconnect=CancelOnDisconnect.DISCONNECT)
        client.send(stream, header(16, 4)[:9])
        await still_serves_or_not(client, stream)
        client.reset(stream)
        await client.hear_close(CloseCode.TRUNCATED)

    async def still_serves_or_not(client: RawClient, stream: int) -> None:
        # The part must have arrived before the reset overtakes it; S0 cannot be asked any more.
        if stream == S1:
            await still_serves(client)
        else:
            await client.ping()

    run(work())


def test_row_19_a_frame_that_takes_too_long(server: Server) -> None:
    async def work() -> None:
        client = await raw(server)
        await client.logon(fresh("ROW19"))
        client.send(S1, encode_frame(order(1), 1)[:30])
        begin = time.monotonic()
        await client.hear_close(CloseCode.SLOW_FRAME)
        assert 0.9 < time.monotonic() - begin < 3

    run(work())


ILLEGAL: dict[str, tuple[Alpn, int, Message, int]] = {
    "direction": (Alpn.ORDERS, S0, m.SecurityListEnd(1, 0), 0),
    "order on the control stream": (Alpn.ORDERS, S0, ORDER, 0),
    "control on the request stream": (Alpn.ORDERS, S1, m.Heartbeat(), 1),
    "market data among orders": (Alpn.ORDERS, S0, m.MdRequest(1), 0),
    "admin among orders": (Alpn.ORDERS, S0, m.AdminPhase(1, 0, Phase.HALT), 0),
    "kill switch among market data": (Alpn.MARKET_DATA, S0, m.KillSwitch(KillAction.ENGAGE), 0),
    "order among market data": (Alpn.MARKET_DATA, S0, ORDER, 0),
    "market data in administration": (Alpn.ADMIN, S0, m.MdRequest(1), 0),
}


@pytest.mark.parametrize("row", ILLEGAL)
def test_row_21_not_legal_here(server: Server, row: str) -> None:
    alpn, stream, message, seq = ILLEGAL[row]

    async def work() -> None:
        credentials = server.credentials("admin" if alpn is Alpn.ADMIN else "trader")
        client = await raw(server, alpn, credentials=credentials)
        await client.logon(fresh("ROW21"))
        client.send(stream, encode_frame(message, seq))
        await hear_logout(client, LogoutReason.ILLEGAL_MESSAGE)

    run(work())


def test_row_25_group_count() -> None:
    pytest.skip("no message of a client has a group yet, so there is no count to get wrong")


@pytest.mark.parametrize(
    ("seqs", "reason"),
    [
        ((2,), LogoutReason.SEQ_GAP),
        ((1, 3), LogoutReason.SEQ_GAP),
        ((1, 1), LogoutReason.SEQ_LOW),
        ((0,), LogoutReason.SEQ_LOW),
    ],
)
def test_rows_26_and_27_client_seq(server: Server, seqs: tuple[int, ...], reason: LogoutReason) -> None:
    async def work() -> None:
        client = await raw(server)
        await client.logon(fresh("ROW26"))
        for at, seq in enumerate(seqs):
            cancel = m.Cancel(cl_ord_id=at + 1, orig_cl_ord_id=NO_SUCH_ORDER)
            client.send(S1, encode_frame(cancel, seq))
        await hear_logout(client, reason)

    run(work())


def test_rows_28_to_30_cl_ord_ids(server: Server) -> None:
    async def work() -> None:
        client = await raw(server)
        base = (await client.logon(fresh("ROW28"))).last_cl_ord_id
        again = FrameFlags.POSS_RESEND
        # 29: not known, so it is processed.
        client.send(S1, encode_frame(order(base + 5), 1, again))
        said = await client.hear(m.ExecutionReport, cl_ord_id=base + 5, exec_type=ExecType.NEW)
        assert isinstance(said.message, m.ExecutionReport)
        # 28: known, with and without the flag; 30: below what is known.
        for seq, (cl_ord_id, flags) in enumerate(
            [(base + 5, again), (base + 5, FrameFlags.NONE), (base + 4, FrameFlags.NONE)], start=2
        ):
            client.send(S1, encode_frame(order(cl_ord_id), seq, flags))
            said = await client.hear(m.ExecutionReport, exec_type=ExecType.REJECTED)
            assert isinstance(said.message, m.ExecutionReport)
            assert said.message.reason is RejectReason.DUPLICATE_ID
            assert said.message.ord_rej_reason == 6
            assert said.message.cl_ord_id == cl_ord_id
        await still_serves(client)
        await leave(client)

    run(work())


BAD_ORDERS: dict[str, tuple[dict[str, Any], RejectReason, int]] = {
    "31 instrument": ({"instrument": NO_SUCH_INSTRUMENT}, RejectReason.UNKNOWN_INSTRUMENT, 1),
    "32 negative": ({"price": -1}, RejectReason.BAD_PRICE, 16),
    "33 none": ({"order_qty": 0}, RejectReason.BAD_QTY, 13),
    "34 past": (
        {"time_in_force": TimeInForce.GTD, "expire_time": 1_000},
        RejectReason.EXPIRED,
        4,
    ),
    "35 min_qty": ({"min_qty": 6}, RejectReason.BAD_FIELD, 11),
    "35 display": ({"ord_type": OrdType.ICEBERG, "display_qty": 6}, RejectReason.BAD_FIELD, 11),
    "35 post-only fok": (
        {"time_in_force": TimeInForce.FOK, "exec_inst": ExecInst.POST_ONLY},
        RejectReason.BAD_FIELD,
        11,
    ),
    "unsupported reduce-only": ({"exec_inst": ExecInst.REDUCE_ONLY}, RejectReason.UNSUPPORTED, 11),
    "unsupported group": ({"mmp_group": 1}, RejectReason.UNSUPPORTED, 11),
}


@pytest.mark.parametrize("row", BAD_ORDERS)
def test_rows_31_to_35_orders(server: Server, row: str) -> None:
    fields, reason, number = BAD_ORDERS[row]

    async def work() -> None:
        listed = await instrument(server, fresh("LIST"))
        client = await raw(server)
        base = (await client.logon(fresh("ROW31"))).last_cl_ord_id
        bad = order(base + 1, **{"instrument": listed.instrument, **fields})
        client.send(S1, encode_frame(bad, 1))
        said = await refusal(client)
        if isinstance(said.message, m.ExecutionReport):
            assert (said.message.reason, said.message.ord_rej_reason) == (reason, number), said.message
            assert said.message.ord_status is OrdStatus.REJECTED
        else:
            assert isinstance(said.message, m.BusinessReject)
            assert said.message.reason is reason, said.message
        client.send(S1, encode_frame(order(base + 2, instrument=listed.instrument), 2))
        await client.hear(m.ExecutionReport, cl_ord_id=base + 2, exec_type=ExecType.NEW)
        await leave(client)

    run(work())


async def refusal(client: RawClient) -> Said:
    """A rejected ExecutionReport or a BusinessReject, whichever comes."""

    def refused(said: Said) -> bool:
        report = isinstance(said.message, m.ExecutionReport) and said.message.exec_type is ExecType.REJECTED
        return report or isinstance(said.message, m.BusinessReject)

    await until(lambda: any(refused(said) for said in client.said), "a refusal")
    return next(said for said in client.said if refused(said))


def test_rows_32_and_33_steps_of_price_and_quantity(server: Server) -> None:
    async def work() -> None:
        admin = await raw(server, Alpn.ADMIN, credentials=server.credentials("admin"))
        base = (await admin.logon(fresh("ROW32A"))).last_cl_ord_id
        listing = m.AdminInstrument(
            cl_ord_id=base + 1,
            symbol=f"STEP{time.time_ns()}",
            tick=5,
            lot=10,
            min_price=5,
            max_price=1_000,
            min_qty=10,
            max_qty=1_000,
        )
        admin.send(S0, encode_frame(listing))
        reply = (await admin.hear(m.AdminReply)).message
        assert isinstance(reply, m.AdminReply)
        assert reply.reason is RejectReason.NONE, reply
        client = await raw(server)
        last = (await client.logon(fresh("ROW32"))).last_cl_ord_id
        steps = [
            (102, 10, RejectReason.BAD_PRICE),
            (1_005, 10, RejectReason.BAD_PRICE),
            (100, 15, RejectReason.BAD_QTY),
            (100, 1_010, RejectReason.BAD_QTY),
            (100, 10, RejectReason.NONE),
        ]
        for seq, (price, qty, reason) in enumerate(steps, start=1):
            request = order(last + seq, instrument=reply.instrument, price=price, order_qty=qty)
            client.send(S1, encode_frame(request, seq))
            said = await client.hear(m.ExecutionReport, cl_ord_id=last + seq)
            assert isinstance(said.message, m.ExecutionReport)
            assert said.message.reason is reason
        await leave(admin)
        await leave(client)

    run(work())


def test_row_36_cancel_and_replace_of_what_is_not_there(server: Server) -> None:
    async def work() -> None:
        client = await raw(server)
        base = (await client.logon(fresh("ROW36"))).last_cl_ord_id
        client.send(S1, encode_frame(order(base + 1, instrument=0), 1))
        await client.hear(m.ExecutionReport, exec_type=ExecType.NEW)
        client.send(S1, encode_frame(m.Cancel(cl_ord_id=base + 2, orig_cl_ord_id=base + 1), 2))
        await client.hear(m.ExecutionReport, cl_ord_id=base + 2, exec_type=ExecType.CANCELED)
        finished = base + 1
        requests: list[tuple[Message, RejectReason, int]] = [
            (m.Cancel(base + 3, orig_cl_ord_id=finished), RejectReason.UNKNOWN_ORDER, 1),
            (m.Cancel(base + 4, orig_cl_ord_id=NO_SUCH_ORDER), RejectReason.UNKNOWN_ORDER, 1),
            (m.Cancel(base + 5, order_id=NO_SUCH_ORDER), RejectReason.UNKNOWN_ORDER, 1),
            (m.Cancel(base + 6), RejectReason.MISSING_FIELD, 99),
            (
                m.CancelReplace(base + 7, orig_cl_ord_id=NO_SUCH_ORDER, price=5, changes=Changes.PRICE),
                RejectReason.UNKNOWN_ORDER,
                1,
            ),
            (m.Reduce(base + 8, orig_cl_ord_id=NO_SUCH_ORDER, by=1), RejectReason.UNKNOWN_ORDER, 1),
        ]
        for seq, (request, reason, number) in enumerate(requests, start=3):
            client.send(S1, encode_frame(request, seq))
            await until(
                lambda: any(isinstance(s.message, m.CancelReject | m.BusinessReject) for s in client.said),
                f"an answer to {request}",
            )
            message = client.said[-1].message
            client.said.clear()
            if isinstance(message, m.CancelReject):
                assert (message.reason, message.cxl_rej_reason) == (reason, number)
            else:
                assert isinstance(message, m.BusinessReject)
                assert message.reason is reason
        await leave(client)

    run(work())


def test_rows_37_and_38_resend_requests_are_not_built(server: Server) -> None:
    async def work() -> None:
        client = await raw(server)
        await client.logon(fresh("ROW37"))
        client.send(S0, framed(struct.pack("<QQ", 5, 1), 6))
        await hear_reject(client, SessionRejectReason.UNKNOWN_TEMPLATE, 0, 6)
        await leave(client)

    run(work())


def test_row_39_rate_limit(tmp_path: Path) -> None:
    found_venue(tmp_path / "data" / "credentials")
    server = Server(tmp_path / "data")

    async def work() -> None:
        client = await raw(server)
        ack = await client.logon(fresh("ROW39"))
        assert (ack.rate, ack.burst, ack.cancel_rate > 0, ack.cancel_burst > 0) == (1_000, 5_000, True, True)
        number = itertools.count(1)

        def orders(count: int) -> bytes:
            """Orders that the engine refuses, in one write."""
            bad = NO_SUCH_INSTRUMENT
            return b"".join(
                encode_frame(order(n, instrument=bad), n) for n in itertools.islice(number, count)
            )

        # As many as fit, those that come to fit meanwhile, and a few more: they are refused, not queued.
        client.send(S1, orders(5_000))
        throttled = None
        while throttled is None:
            client.send(S1, orders(200))
            await asyncio.sleep(0.01)
            found = [said.message for said in client.said if isinstance(said.message, m.BusinessReject)]
            throttled = found[0] if found else None
        assert throttled.reason is RejectReason.THROTTLED
        assert (throttled.business_reject_reason, throttled.ref_template) == (8, 20)
        assert 0 < throttled.retry_after < 1_000_000_000
        # Cancels have a bucket of their own.
        cancel = next(number)
        client.send(S1, encode_frame(m.Cancel(cancel, orig_cl_ord_id=NO_SUCH_ORDER), cancel))
        await client.hear(m.CancelReject, cl_ord_id=cancel)
        # 1,000 refusals in a row would end the session, but a request fits every millisecond, and that
        # many do not come within one here: the session goes on.
        await still_serves(client)
        await leave(client)

    try:
        run(work())
    finally:
        server.stop()


def test_row_40_more_streams_than_quic_allows(server: Server) -> None:
    async def work() -> None:
        client = await raw(server)
        await client.logon(fresh("ROW40"))
        client.quic._remote_max_streams_uni = 100  # aioquic would not offend by itself
        client.send(
            10, encode_frame(m.Heartbeat(), 1)[:1]
        )  # the third of the client's unidirectional streams
        end = await client.hear_end()
        assert end.error_code == 0x4, end  # STREAM_LIMIT_ERROR, RFC 9000 section 20.1

    run(work())


def test_row_40_a_second_request_stream(server: Server) -> None:
    async def work() -> None:
        client = await raw(server)
        base = (await client.logon(fresh("ROW40"))).last_cl_ord_id
        client.send(S1, encode_frame(m.Cancel(cl_ord_id=base + 1, orig_cl_ord_id=NO_SUCH_ORDER), 1))
        await client.hear(m.CancelReject)
        client.send(6, encode_frame(m.Cancel(cl_ord_id=base + 2, orig_cl_ord_id=NO_SUCH_ORDER), 1))
        await client.hear_close(CloseCode.BAD_STREAM)

    run(work())


def test_row_41_datagram(server: Server) -> None:
    async def work() -> None:
        client = await raw(server)
        await client.logon(fresh("ROW41"))
        client.quic.send_datagram_frame(b"hello")
        client.transmit()
        end = await client.hear_end()
        assert end.error_code == 0xA, end  # PROTOCOL_VIOLATION, as RFC 9221 section 3 wants it

    run(work())


class Unread(ExportingConnection):
    """A connection that never gives its peer more room than it had at first."""

    def _write_stream_limits(self, *_: Any, **__: Any) -> None:
        pass

    def _write_connection_limits(self, *_: Any, **__: Any) -> None:
        pass


def test_row_42_a_client_that_does_not_read(server: Server) -> None:
    async def work() -> None:
        def configure(configuration: QuicConfiguration) -> None:
            configuration.max_stream_data = 4_096

        client = await raw(server, configure=configure, quic_class=Unread)
        base = (await client.logon(fresh("ROW42"))).last_cl_ord_id
        begin = time.monotonic()
        for at in range(1, 201):
            client.send(S1, encode_frame(m.Cancel(base + at, orig_cl_ord_id=NO_SUCH_ORDER), at))
        await hear_logout(client, LogoutReason.SLOW_CONSUMER)
        assert time.monotonic() - begin < 6

    run(work())


def test_row_43_a_path_change_is_not_followed(server: Server) -> None:
    async def work() -> None:
        client = await raw(server)
        base = (await client.logon(fresh("ROW43"))).last_cl_ord_id
        await still_serves(client)
        home = client._transport
        loop = asyncio.get_running_loop()
        away, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
        client._transport = away
        client.send(S1, encode_frame(m.Cancel(base + 1, orig_cl_ord_id=NO_SUCH_ORDER), 1))
        await asyncio.sleep(0.5)  # long enough for an answer, which must not come
        assert not any(isinstance(said.message, m.CancelReject) for said in client.said)
        client._transport = home  # what was sent is lost, and QUIC sends it again from home
        await client.hear(m.CancelReject, cl_ord_id=base + 1)
        away.close()
        await leave(client)

    run(work())


def test_row_44_sequence_reset_does_not_exist(server: Server) -> None:
    async def work() -> None:
        client = await raw(server)
        await client.logon(fresh("ROW44"))
        client.send(S0, framed(struct.pack("<QB", 1, 0), 7))
        await hear_reject(client, SessionRejectReason.UNKNOWN_TEMPLATE, 0, 7)
        await leave(client)

    run(work())


def test_row_45_heartbeat_with_a_wrong_id(server: Server) -> None:
    async def work() -> None:
        client = await raw(server)
        await client.logon(fresh("ROW45"), heartbeat=1.0)
        begin = time.monotonic()
        while time.monotonic() - begin < 3.0:  # beyond 2.4 intervals: it counts as life
            client.send(S0, encode_frame(m.Heartbeat(test_req_id=12_345)))
            await asyncio.sleep(0.25)
        assert client.is_open()
        assert not any(isinstance(said.message, m.Reject | m.Logout) for said in client.said)
        await leave(client)

    run(work())


def test_a_silent_client_is_tested_and_closed(server: Server) -> None:
    async def work() -> None:
        client = await raw(server)
        begin = time.monotonic()
        await client.logon(fresh("SILENT"), heartbeat=1.0)
        await client.hear(m.TestRequest)
        assert 1.0 < time.monotonic() - begin < 2.0
        await client.hear_close(CloseCode.SILENT)
        assert 2.2 < time.monotonic() - begin < 4.0

    run(work())


def test_row_46_requests_after_a_logout_are_ignored(server: Server) -> None:
    name = fresh("ROW46")

    async def work() -> None:
        client = await raw(server)
        base = (await client.logon(name)).last_cl_ord_id
        client.quic.send_stream_data(S1, encode_frame(order(base + 1), 1))
        client.quic.send_stream_data(S0, encode_frame(m.Logout(last_client_seq=1)))
        client.quic.send_stream_data(S1, encode_frame(order(base + 2), 2))
        client.transmit()
        await client.hear_close(CloseCode.DONE)
        kinds = [type(said.message) for said in client.said]
        assert kinds.count(m.ExecutionReport) == 1
        assert kinds.count(m.Logout) == 1
        again = await raw(server)
        assert (await again.logon(name)).last_cl_ord_id == base + 1
        await leave(again)

    run(work())


def test_row_47_numbers_near_their_end(server: Server) -> None:
    # The only number that a client can bring near its end within a connection is a ClOrdID, and that one is
    # the session's own to use up; a ClientSeq up there is a gap.
    async def work() -> None:
        client = await raw(server)
        await client.logon(fresh("ROW47"))
        cancel = m.Cancel(cl_ord_id=1, orig_cl_ord_id=NO_SUCH_ORDER)
        client.send(S1, encode_frame(cancel, (1 << 64) - 5))
        said = await client.hear(m.Logout)
        assert isinstance(said.message, m.Logout)
        assert said.message.reason in (LogoutReason.SEQ_EXHAUSTED, LogoutReason.SEQ_GAP)
        await client.hear_end()

    run(work())
