"""The messages against docs/protocol.md, table by table and byte by byte."""

from __future__ import annotations

import random
import re
from dataclasses import fields, replace
from enum import IntEnum
from functools import cache
from typing import Any

import pytest
from support import ROOT, framed

from tessera import codes
from tessera import messages as m
from tessera.codes import SessionRejectReason as Why
from tessera.errors import DecodeError, EncodeError, FrameError
from tessera.framer import MAX_SERVER_BODY, Framer, encode_frame
from tessera.wire import Bits, Enumerated, Fields, Flag, Group, Int, Raw, Text, Zero, layout

PROTOCOL = (ROOT / "docs" / "protocol.md").read_text()
GOLDEN = (ROOT / "gateway" / "proto" / "tests" / "golden" / "messages.txt").read_text()


@cache
def documented() -> dict[int, tuple[str, list[list[tuple[str, ...]]]]]:
    """Name and tables (offset, field, tag, width, type) of every message of section 9, by template."""
    section = PROTOCOL.split("## 9. Messages, byte by byte")[1].split("## 10. Codes")[0]
    found = {}
    for chapter in re.split(r"^### ", section, flags=re.M)[1:]:
        template, name = chapter.splitlines()[0].split()
        tables = [
            re.findall(r"^\| (\d+) \| (\w+) \| (\d+) \| (\d+) \| ([^|]+) \|", part, flags=re.M)
            for part in chapter.split("Each entry")
        ]
        found[int(template)] = (name, tables)
    return found


def described(cls: type[Fields]) -> list[tuple[str, ...]]:
    """The same of one of our classes."""
    rows: list[tuple[str, ...]] = []
    for slot in layout(cls).slots:
        match slot.kind:
            case Int(width=width, signed=signed):
                kind = f"{'i' if signed else 'u'}{width * 8}"
            case Enumerated(codes=codes_):
                kind = f"u8, {codes_.__name__}"
            case Bits(width=width):
                kind = f"u{width * 8}, bits"
            case Text(width=width):
                kind = f"text, {width} bytes"
            case Raw(width=width):
                kind = f"{width} bytes"
            case Flag():
                kind = "u8, 0 or 1"
            case Zero():
                kind = "0"
            case Group():
                kind = "u8"
        # `class` is a word of Python; a group is in the table as its count.
        name = {"gpu_class": "class", "entries": "count"}.get(slot.name, slot.name)
        rows.append((str(slot.offset), name, str(slot.tag), str(slot.width), kind))
    return rows


@pytest.mark.parametrize("template", sorted(documented()))
def test_a_message_is_as_documented(template: int) -> None:
    name, tables = documented()[template]
    if template not in m.TEMPLATES:
        pytest.skip(f"{template} {name}: not in this client yet")
    cls = m.TEMPLATES[template]
    assert cls.__name__ == name
    assert described(cls) == tables[0]
    for slot in layout(cls).slots:
        if isinstance(slot.kind, Group):
            assert described(slot.kind.entry) == tables[1]


def test_every_message_of_ours_is_documented() -> None:
    assert set(m.TEMPLATES) <= set(documented())


@cache
def documented_codes() -> dict[str, dict[int, str]]:
    section = PROTOCOL.split("## 10. Codes")[1]
    return {
        chapter.splitlines()[0]: {
            int(code): word for code, word in re.findall(r"^\| (\d+) \| `(\w+)` \|", chapter, flags=re.M)
        }
        for chapter in re.split(r"^### ", section, flags=re.M)[1:]
    }


@pytest.mark.parametrize("name", sorted(documented_codes()))
def test_codes_are_as_documented(name: str) -> None:
    enumeration: type[IntEnum] | None = getattr(codes, name, None)
    if enumeration is None:
        pytest.skip(f"{name}: not in this client yet")
    theirs = documented_codes()[name]
    ours = {code.value: code.name.lower() for code in enumeration}
    if name == "RejectReason":
        ours.pop(0)  # "none" is in the field's text, not in the table
    if issubclass(enumeration, codes.OpenCode):
        ours = {code: word for code, word in ours.items() if not word.startswith("code_")}
        theirs = {code: word for code, word in theirs.items() if code in ours}
    assert ours == theirs


@cache
def golden() -> dict[int, tuple[bytes, str]]:
    """Frame and description of every message in the server's golden bytes."""
    found = {}
    for chapter in re.split(r"^(?=\d+ \w+$)", GOLDEN, flags=re.M)[1:]:
        lines = chapter.splitlines()
        rows = [line.split()[1:] for line in lines[1:] if re.match(r" +\d+( [0-9a-f]{2})+$", line)]
        found[int(lines[0].split()[0])] = (bytes.fromhex("".join(map("".join, rows))), lines[-1])
    return found


def spoken(value: object) -> str:
    """A value as the server's golden file says it, newtypes apart."""
    match value:
        case bool():
            return str(value).lower()
        case IntEnum():
            return "".join(word.capitalize() for word in value.name.split("_"))
        case str():
            return f'"{value}"'
        case bytes():
            return str(list(value))
        case tuple():
            return "[" + ", ".join(f"{type(e).__name__} {{ {pairs(e)} }}" for e in value) + "]"
        case _:
            return str(int(value))  # type: ignore[call-overload]


def pairs(message: Fields) -> str:
    names = {"gpu_class": "class"}
    return ", ".join(
        f"{names.get(field.name, field.name)}: {spoken(getattr(message, field.name))}"
        for field in fields(message)
    )


@pytest.mark.parametrize("template", sorted(golden()))
def test_golden_bytes(template: int) -> None:
    data, description = golden()[template]
    if template not in m.TEMPLATES:
        pytest.skip(f"{template}: not in this client yet")
    (frame,) = Framer().feed(data)
    message = frame.message()
    assert message is not None
    assert encode_frame(message, frame.seq, frame.flags) == data
    theirs = re.sub(r"\b(?!LevelEntry|Entry|Level)[A-Z]\w*\((-?\w+)\)", r"\1", description.split("(", 1)[1])
    for field in fields(message):
        if field.name in ("reserved", "on_failure", "in_flight", "entries"):
            continue
        name = {"gpu_class": "class"}.get(field.name, field.name)
        assert f"{name}: {spoken(getattr(message, field.name))}" in theirs, theirs


def order(**fields: Any) -> m.NewOrderSingle:
    base = m.NewOrderSingle(cl_ord_id=1, account=1, instrument=3, side=codes.Side.BUY, price=100, order_qty=5)
    return replace(base, **fields)


@pytest.mark.parametrize(
    ("body", "cls", "reason", "tag"),
    [
        (order().body()[:-1], m.NewOrderSingle, Why.BODY_TOO_SHORT, 0),
        (b"", m.Heartbeat, Why.BODY_TOO_SHORT, 0),
        (order().body() + b"\0", m.NewOrderSingle, Why.TRAILING_BYTES, 0),
        (order().body()[:16] + b"\2" + order().body()[17:], m.NewOrderSingle, Why.VALUE_OUT_OF_RANGE, 54),
        (order().body()[:56] + b"\xff" + order().body()[57:], m.NewOrderSingle, Why.VALUE_OUT_OF_RANGE, 18),
        (m.Logout().body()[:1] + b"\1" + m.Logout().body()[2:], m.Logout, Why.BAD_FORMAT, 20100),
        (m.Logout().body()[:10] + b"a\0b" + bytes(61), m.Logout, Why.BAD_FORMAT, 58),
        (m.Logout().body()[:10] + b"\n" + bytes(63), m.Logout, Why.BAD_FORMAT, 58),
        (m.CancelAllAfter().body()[:8] + b"\2", m.CancelAllAfter, Why.VALUE_OUT_OF_RANGE, 20126),
        (bytes(57) + b"\1", m.Snapshot, Why.GROUP_COUNT, 268),
        (bytes(57) + b"\0" + bytes(21), m.Snapshot, Why.GROUP_COUNT, 268),
        (bytes(57) + b"\xc9" + bytes(21 * 201), m.Snapshot, Why.GROUP_COUNT, 268),
    ],
)
def test_malformed_bodies_are_refused(body: bytes, cls: type[Fields], reason: Why, tag: int) -> None:
    with pytest.raises(DecodeError) as caught:
        cls.from_body(body)
    assert (caught.value.reason, caught.value.tag) == (reason, tag)


def test_every_truncation_of_every_golden_message_is_refused() -> None:
    for template, (data, _) in golden().items():
        cls = m.TEMPLATES.get(template)
        for end in range(len(data) - 16) if cls else []:
            assert cls is not None
            with pytest.raises(DecodeError):
                cls.from_body(data[16 : 16 + end])


def test_hostile_bytes_are_refused_or_are_a_message_again() -> None:
    """Changed golden frames: what is read is written as it was, and nothing else is raised."""
    chance = random.Random(20_261_123)
    known = [data for template, (data, _) in golden().items() if template in m.TEMPLATES]
    read = 0
    for _ in range(20_000):
        data = bytearray(chance.choice(known))
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(len(data))] = chance.choice(
                [0, 1, 0x20, 0x7F, 0x80, 0xFF, chance.randrange(256)]
            )
        if chance.random() < 0.2:
            del data[chance.randrange(len(data)) :]
        framer = Framer()
        try:
            for frame in framer.feed(bytes(data)):
                message = frame.message()
                if message is not None and frame.minor == 0:
                    assert message.body() == frame.body
                    read += 1
        except (DecodeError, FrameError):
            pass
    assert read > 1_000


def test_a_higher_minor_may_be_longer() -> None:
    assert m.Heartbeat.from_body(m.Heartbeat(7).body() + b"new", minor=1) == m.Heartbeat(7)


def test_a_reason_of_a_newer_server_is_kept_as_a_number() -> None:
    body = m.AdminReply(1, codes.RejectReason(200), 0, 0).body()
    assert m.AdminReply.from_body(body).reason == 200
    assert m.AdminReply.from_body(body).reason.name == "CODE_200"


@pytest.mark.parametrize(
    "message",
    [
        order(price=1 << 63),
        order(order_qty=-1),
        order(order_qty=1 << 32),
        m.Logout(text="é"),
        m.Logout(text="x" * 65),
    ],
)
def test_values_that_do_not_fit_are_not_written(message: Fields) -> None:
    with pytest.raises(EncodeError):
        message.body()


def test_frames_come_out_however_the_bytes_are_cut() -> None:
    sent = [m.Heartbeat(1), order(), m.Logout(text="bye")]
    stream = b"".join(encode_frame(message, seq) for seq, message in enumerate(sent))
    for cut in range(1, len(stream)):
        framer = Framer()
        pieces = [stream[at : at + cut] for at in range(0, len(stream), cut)]
        found = [frame.message() for piece in pieces for frame in framer.feed(piece)]
        framer.finish()
        assert found == sent


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (framed(b"", 4, flags=8), codes.CloseCode.BAD_HEADER),
        (framed(b"", 4, reserved=1), codes.CloseCode.BAD_HEADER),
        (framed(bytes(MAX_SERVER_BODY + 1), 4)[:16], codes.CloseCode.BODY_TOO_LARGE),
    ],
)
def test_headers_that_end_a_connection(data: bytes, code: codes.CloseCode) -> None:
    with pytest.raises(FrameError) as caught:
        list(Framer().feed(data))
    assert caught.value.code is code


def test_a_stream_that_ends_inside_a_frame() -> None:
    framer = Framer()
    assert list(framer.feed(encode_frame(m.Heartbeat())[:20])) == []
    with pytest.raises(FrameError) as caught:
        framer.finish()
    assert caught.value.code is codes.CloseCode.TRUNCATED
