"""How fields become bytes: the kinds of fields, and one codec for all messages.

A message is a frozen dataclass whose fields are `Annotated` with their kind and FIX tag, in the order in
which they travel:

    price: Annotated[int, I64, 44]

A body is its fields one after the other, little-endian and without padding; a group is a count as the
last field of the fixed part, then that many entries. Decoding never allocates more than the body it was
given: there are no lengths inside a body but the group's count, which is checked against its cap and the
bytes that are there.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, fields
from enum import IntEnum, IntFlag
from typing import Any, ClassVar, NamedTuple, Self, get_type_hints

from tessera.codes import SessionRejectReason
from tessera.errors import DecodeError, EncodeError

SCHEMA_MINOR = 0
"""Schema minor that this package speaks."""


@dataclass(frozen=True, slots=True)
class Int:
    """An integer of `width` bytes, signed or not."""

    width: int
    signed: bool = False


@dataclass(frozen=True, slots=True)
class Enumerated:
    """One byte of an enumeration."""

    codes: type[IntEnum]


@dataclass(frozen=True, slots=True)
class Bits:
    """`width` bytes of flags; bits without a meaning are refused."""

    flags: type[IntFlag]
    width: int


@dataclass(frozen=True, slots=True)
class Text:
    """Printable ASCII, padded with zeros to `width` bytes."""

    width: int


@dataclass(frozen=True, slots=True)
class Raw:
    """`width` bytes as they are."""

    width: int


@dataclass(frozen=True, slots=True)
class Flag:
    """One byte, 0 or 1."""


@dataclass(frozen=True, slots=True)
class Zero:
    """A byte that must be 0."""


@dataclass(frozen=True, slots=True)
class Group:
    """A count of one byte, then that many `entry` messages, at most `cap`."""

    entry: type[Fields]
    cap: int


Kind = Int | Enumerated | Bits | Text | Raw | Flag | Zero | Group

U8 = Int(1)
U16 = Int(2)
U32 = Int(4)
U64 = Int(8)
I64 = Int(8, signed=True)
ZERO = Zero()


class Slot(NamedTuple):
    """A field of a layout: its name, FIX tag, kind, offset in the fixed part and width, in bytes."""

    name: str
    tag: int
    kind: Kind
    offset: int
    width: int


class Layout:
    """The codec of one dataclass: its slots and the packed form of its fixed part."""

    def __init__(self, cls: type[Fields]) -> None:
        hints = get_type_hints(cls, include_extras=True)
        slots = []
        codes = []
        offset = 0
        for field in fields(cls):
            kind, tag = hints[field.name].__metadata__
            width = _width(kind)
            slots.append(Slot(field.name, tag, kind, offset, width))
            codes.append(_struct_code(kind))
            offset += width
        groups = [slot for slot in slots if isinstance(slot.kind, Group)]
        if groups and groups != [slots[-1]]:
            raise TypeError(f"{cls.__name__}: a group is the last field of a message")
        self.slots = tuple(slots)
        self.group = groups[0].kind if groups else None
        self.packed = struct.Struct("<" + "".join(codes))
        self.size = self.packed.size


def layout(cls: type[Fields]) -> Layout:
    """Layout of a message or group entry, worked out once."""
    known = _LAYOUTS.get(cls)
    if known is None:
        known = _LAYOUTS[cls] = Layout(cls)
    return known


@dataclass(frozen=True, slots=True)
class Fields:
    """Something with a byte layout: a message, or an entry of a group."""

    def body(self) -> bytes:
        """The bytes of all fields.

        Raises:
            EncodeError: a value does not fit its field; the message names it.
        """
        plan = layout(type(self))
        values = [_to_raw(slot, getattr(self, slot.name)) for slot in plan.slots]
        entries = b""
        if isinstance(plan.group, Group):
            group = getattr(self, plan.slots[-1].name)
            entries = b"".join(entry.body() for entry in group)
        try:
            return plan.packed.pack(*values) + entries
        except struct.error as error:
            raise EncodeError(f"{type(self).__name__}: {self}: {error}") from error

    @classmethod
    def from_body(cls, body: bytes | memoryview, minor: int = SCHEMA_MINOR) -> Self:
        """Reads a whole body that was written with schema `minor`.

        Raises:
            DecodeError: with the protocol's reason and the tag of the field at fault.
        """
        plan = layout(cls)
        if len(body) < plan.size:
            raise DecodeError(
                f"{cls.__name__}: {len(body)} bytes, at least {plan.size} expected",
                SessionRejectReason.BODY_TOO_SHORT,
            )
        raws = plan.packed.unpack_from(body)
        values = [
            _from_raw(cls, slot, raw)
            for slot, raw in zip(plan.slots, raws, strict=True)
            if not isinstance(slot.kind, Group)
        ]
        end = plan.size
        if isinstance(plan.group, Group):
            count = raws[-1]
            entry = layout(plan.group.entry)
            end += count * entry.size
            if count > plan.group.cap or end > len(body) or (end != len(body) and minor <= SCHEMA_MINOR):
                raise DecodeError(
                    f"{cls.__name__}: a group of {count} entries in {len(body)} bytes",
                    SessionRejectReason.GROUP_COUNT,
                    plan.slots[-1].tag,
                )
            view = memoryview(body)
            values.append(
                tuple(
                    plan.group.entry.from_body(view[at : at + entry.size])
                    for at in range(plan.size, end, entry.size)
                )
            )
        if end < len(body) and minor <= SCHEMA_MINOR:
            raise DecodeError(
                f"{cls.__name__}: {len(body) - end} bytes after the last field",
                SessionRejectReason.TRAILING_BYTES,
            )
        return cls(*values)


@dataclass(frozen=True, slots=True)
class Message(Fields):
    """A template: what a frame carries."""

    TEMPLATE: ClassVar[int]


_LAYOUTS: dict[type, Layout] = {}


def text(value: str, width: int) -> bytes:
    """`value` as the protocol writes text: printable ASCII, padded with zeros to `width` bytes.

    Raises:
        EncodeError: it is too long, or has other characters.
    """
    if not all(" " <= character <= "~" for character in value) or len(value) > width:
        raise EncodeError(f"{value!r} is not at most {width} printable ASCII characters")
    return value.encode("ascii").ljust(width, b"\0")


def _width(kind: Kind) -> int:
    match kind:
        case Int(width=width) | Text(width=width) | Raw(width=width) | Bits(width=width):
            return width
        case Enumerated() | Flag() | Zero() | Group():
            return 1


def _struct_code(kind: Kind) -> str:
    match kind:
        case Text(width=width) | Raw(width=width):
            return f"{width}s"
        case Int(width=width, signed=signed):
            code = {1: "b", 2: "h", 4: "i", 8: "q"}[width]
            return code if signed else code.upper()
        case Bits(width=width):
            return {1: "B", 2: "H"}[width]
        case Enumerated() | Flag() | Zero() | Group():
            return "B"


def _to_raw(slot: Slot, value: Any) -> Any:
    match slot.kind:
        case Text(width=width):
            return text(value, width)
        case Raw(width=width):
            if len(value) != width:
                raise EncodeError(f"{slot.name}: {len(value)} bytes, {width} expected")
            return value
        case Group(cap=cap):
            if len(value) > cap:
                raise EncodeError(f"{slot.name}: {len(value)} entries, at most {cap}")
            return len(value)
        case _:
            return int(value)


def _from_raw(cls: type[Fields], slot: Slot, raw: Any) -> Any:
    match slot.kind:
        case Int() | Raw():
            return raw
        case Enumerated(codes=codes):
            try:
                return codes(raw)
            except ValueError:
                raise _fault(cls, slot, raw, SessionRejectReason.VALUE_OUT_OF_RANGE) from None
        case Bits(flags=flags):
            known = sum(flags)  # a number: the complement of flags has known flags only
            if raw & ~known:
                raise _fault(cls, slot, raw, SessionRejectReason.VALUE_OUT_OF_RANGE)
            return flags(raw)
        case Flag():
            if raw > 1:
                raise _fault(cls, slot, raw, SessionRejectReason.VALUE_OUT_OF_RANGE)
            return raw == 1
        case Zero():
            if raw:
                raise _fault(cls, slot, raw, SessionRejectReason.BAD_FORMAT)
            return 0
        case Text():
            content = raw.rstrip(b"\0")
            if not all(0x20 <= byte <= 0x7E for byte in content):
                raise _fault(cls, slot, raw, SessionRejectReason.BAD_FORMAT)
            return content.decode("ascii")
        case Group():
            raise TypeError("a group is read by its message")


def _fault(cls: type[Fields], slot: Slot, raw: object, reason: SessionRejectReason) -> DecodeError:
    return DecodeError(f"{cls.__name__}.{slot.name}: {raw!r} means nothing", reason, slot.tag)
