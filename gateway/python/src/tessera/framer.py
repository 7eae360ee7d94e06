"""Streams of bytes as sequences of frames.

| offset | field | width | unit |
|---:|---|---:|---|
| 0 | body_len | 2 | bytes after the header |
| 2 | template | 2 | number of the message |
| 4 | minor | 1 | schema minor of the sender |
| 5 | flags | 1 | bits of `FrameFlags` |
| 6 | reserved | 2 | 0 |
| 8 | seq | 8 | depends on the stream |
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntFlag

from tessera.codes import CloseCode
from tessera.errors import FrameError
from tessera.messages import TEMPLATES
from tessera.wire import SCHEMA_MINOR, Message

MAX_SERVER_BODY = 16_384
"""Most bytes of a body that a server sends."""

MAX_CLIENT_BODY = 1_024
"""Most bytes of a body that a client may send."""

HEADER = struct.Struct("<HHBBHQ")
"""The header of a frame: body_len, template, minor, flags, reserved, seq."""


class FrameFlags(IntFlag):
    """Flags of a header."""

    NONE = 0
    POSS_DUP = 1
    POSS_RESEND = 2
    """The client may have sent this request before, on another connection."""
    LAST_IN_BATCH = 4


@dataclass(frozen=True, slots=True)
class Frame:
    """A header's fields, and the body as it came."""

    template: int
    minor: int
    flags: FrameFlags
    seq: int
    body: bytes

    def message(self) -> Message | None:
        """The message in the body; None for a template that this package does not know.

        Raises:
            DecodeError: the body is not what its template says.
        """
        known = TEMPLATES.get(self.template)
        return None if known is None else known.from_body(self.body, self.minor)


def encode_frame(message: Message, seq: int = 0, flags: FrameFlags = FrameFlags.NONE) -> bytes:
    """A message with its header.

    Raises:
        EncodeError: a value does not fit its field.
    """
    body = message.body()
    return HEADER.pack(len(body), message.TEMPLATE, SCHEMA_MINOR, flags, 0, seq) + body


class Framer:
    """Cuts one stream into frames; keeps at most one unfinished frame."""

    def __init__(self, max_body: int = MAX_SERVER_BODY) -> None:
        self._max_body = max_body
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are complete with `data`.

        Raises:
            FrameError: a header that means nothing, or a body above the limit; nothing can be read after it.
        """
        pending = self._rest + data if self._rest else data
        at = 0
        try:
            while len(pending) - at >= HEADER.size:
                body_len, template, minor, flags, reserved, seq = HEADER.unpack_from(pending, at)
                if reserved or flags & ~_KNOWN_FLAGS:
                    raise FrameError(
                        f"header with flags {flags:#04x}, reserved {reserved}", CloseCode.BAD_HEADER
                    )
                if body_len > self._max_body:
                    raise FrameError(
                        f"a body of {body_len} bytes, at most {self._max_body}", CloseCode.BODY_TOO_LARGE
                    )
                end = at + HEADER.size + body_len
                if len(pending) < end:
                    break
                body = pending[at + HEADER.size : end]
                at = end
                yield Frame(template, minor, FrameFlags(flags), seq, body)
        finally:
            self._rest = pending[at:]

    def finish(self) -> None:
        """Says that the stream has ended.

        Raises:
            FrameError: it ended inside a frame.
        """
        if self._rest:
            raise FrameError(f"the stream ended {len(self._rest)} bytes into a frame", CloseCode.TRUNCATED)


_KNOWN_FLAGS = int(FrameFlags.POSS_DUP | FrameFlags.POSS_RESEND | FrameFlags.LAST_IN_BATCH)
"""As a number: the complement of flags has known flags only."""
