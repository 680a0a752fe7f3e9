"""Frames, error codes and settings of HTTP/2 (RFC 9113, sections 4, 6 and 7)."""

from __future__ import annotations

from struct import Struct
from typing import Final

__all__ = [
    "ACK",
    "CONTINUATION",
    "DATA",
    "END_HEADERS",
    "END_STREAM",
    "GOAWAY",
    "HEADERS",
    "LARGEST_WINDOW",
    "PADDED",
    "PING",
    "PREFACE",
    "PRIORITISED",
    "PRIORITY",
    "PUSH_PROMISE",
    "RST_STREAM",
    "SETTINGS",
    "WINDOW_UPDATE",
    "ConnectionFault",
    "ErrorCode",
    "Setting",
    "StreamFault",
    "frame",
    "goaway",
    "head",
    "read_head",
    "reset",
    "settings",
    "unpadded",
    "window_update",
]

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA: Final = 0
HEADERS: Final = 1
PRIORITY: Final = 2
RST_STREAM: Final = 3
SETTINGS: Final = 4
PUSH_PROMISE: Final = 5
PING: Final = 6
GOAWAY: Final = 7
WINDOW_UPDATE: Final = 8
CONTINUATION: Final = 9

ACK: Final = 0x1
END_STREAM: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITISED: Final = 0x20

LARGEST_WINDOW: Final = 2**31 - 1

_HEAD: Final = Struct(">HBBBL")
_SETTING: Final = Struct(">HL")

read_head: Final = _HEAD.unpack_from
"""Of nine bytes: length / 256, length % 256, type, flags, stream (with the reserved bit)."""


class ErrorCode:
    """RFC 9113, section 7."""

    NO_ERROR: Final = 0x0
    PROTOCOL_ERROR: Final = 0x1
    INTERNAL_ERROR: Final = 0x2
    FLOW_CONTROL_ERROR: Final = 0x3
    STREAM_CLOSED: Final = 0x5
    FRAME_SIZE_ERROR: Final = 0x6
    REFUSED_STREAM: Final = 0x7
    CANCEL: Final = 0x8
    COMPRESSION_ERROR: Final = 0x9
    ENHANCE_YOUR_CALM: Final = 0xB


class Setting:
    """RFC 9113, section 6.5.2."""

    HEADER_TABLE_SIZE: Final = 0x1
    ENABLE_PUSH: Final = 0x2
    MAX_CONCURRENT_STREAMS: Final = 0x3
    INITIAL_WINDOW_SIZE: Final = 0x4
    MAX_FRAME_SIZE: Final = 0x5
    MAX_HEADER_LIST_SIZE: Final = 0x6


class ConnectionFault(Exception):  # noqa: N818 - what it is: the peer is told of it by GOAWAY
    """The peer broke the protocol, or went over a limit, so that the connection ends."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


class StreamFault(Exception):  # noqa: N818 - as above, by RST_STREAM
    """The same for one stream."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


def head(length: int, kind: int, flags: int, stream: int) -> bytes:
    """The nine bytes before a payload."""
    return _HEAD.pack(length >> 8, length & 0xFF, kind, flags, stream)


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A whole frame."""
    return head(len(payload), kind, flags, stream) + payload


def settings(values: dict[int, int]) -> bytes:
    """A SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(name, value) for name, value in values.items()))


def read_settings(payload: bytes) -> list[tuple[int, int]]:
    """Name and value of each setting in a payload whose length is a multiple of six."""
    return list(_SETTING.iter_unpack(payload))


def reset(stream: int, code: int) -> bytes:
    """A RST_STREAM frame."""
    return frame(RST_STREAM, 0, stream, code.to_bytes(4))


def window_update(stream: int, increment: int) -> bytes:
    """A WINDOW_UPDATE frame."""
    return frame(WINDOW_UPDATE, 0, stream, increment.to_bytes(4))


def goaway(last: int, code: int, why: str = "") -> bytes:
    """A GOAWAY frame. ``why`` is for people, and for gRPC's clients, which know ``too_many_pings``."""
    return frame(GOAWAY, 0, 0, last.to_bytes(4) + code.to_bytes(4) + why.encode()[:256])


def unpadded(payload: bytes) -> bytes:
    """The content of a payload whose frame is padded.

    Raises:
        ConnectionFault: there is more padding than content.
    """
    if not payload or payload[0] >= len(payload):
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "more padding than content")
    return payload[1 : len(payload) - payload[0]]
