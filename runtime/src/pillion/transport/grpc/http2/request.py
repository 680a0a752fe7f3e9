"""What the fields of a request say: RFC 9113, section 8, and gRPC over HTTP/2 (PROTOCOL-HTTP2.md)."""

from __future__ import annotations

import base64
import binascii
from typing import Final
from urllib.parse import quote

import msgspec

from pillion.transport.grpc.http2.hpack import Field, literal
from pillion.transport.grpc.http2.wire import ErrorCode, StreamFault

__all__ = ["Metadata", "Request", "metadata_fields", "percent_encoded", "request_of", "seconds_of"]

Metadata = tuple[tuple[str, str | bytes], ...]

_UNITS: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_CONNECTION_SPECIFIC: Final = frozenset(
    {b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"}
)
_RESERVED: Final = frozenset({"te", "content-type", "content-length"})
"""Fields of the protocol, which handlers do not see; nor those that begin with ``grpc-``."""
_NAME: Final = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~")
_VALUE_NEVER: Final = frozenset(b"\0\r\n")


class Request(msgspec.Struct, frozen=True):
    """The head of a call. Several calls that say the same have the same one."""

    path: str
    metadata: Metadata
    encoding: bytes = b"identity"
    """Coding of compressed messages."""
    content_length: int | None = None
    refusal: int = 0
    """HTTP status for what is no gRPC at all; 0 where it is."""


def request_of(fields: list[Field]) -> Request:
    """Read the fields but ``grpc-timeout``, which differs from call to call.

    Raises:
        StreamFault: the request is malformed.
    """
    pseudo, others = _separated(fields)
    if not {b":method", b":scheme", b":path"} <= pseudo.keys():
        raise _malformed(":method, :scheme and :path are needed")
    path = pseudo[b":path"]
    if not path.startswith(b"/"):
        raise _malformed(":path does not begin with /")
    content_type, encoding, length = b"", b"identity", None
    metadata: list[tuple[str, str | bytes]] = []
    for name, value in others:
        _check(name, value)
        if name == b"content-type":
            content_type = value
        elif name == b"grpc-encoding":
            encoding = value
        elif name == b"content-length":
            if not value.isdigit():
                raise _malformed("content-length is no number")
            length = int(value)
        key = name.decode("ascii")
        if key not in _RESERVED and not key.startswith("grpc-"):
            metadata += [(key, one) for one in _values(key, value)]
    refusal = 0
    if not content_type.startswith(b"application/grpc"):
        refusal = 415
    elif pseudo[b":method"] != b"POST":
        refusal = 405
    return Request(path.decode("latin-1"), tuple(metadata), encoding, length, refusal)


def seconds_of(value: bytes) -> float:
    """A ``grpc-timeout``: at most eight digits and a unit.

    Raises:
        ValueError: it is none.
    """
    digits, unit = value[:-1], _UNITS.get(value[-1:])
    if unit is None or not digits.isdigit() or len(digits) > 8:
        raise ValueError("not a timeout")
    return int(digits) * unit


def metadata_fields(metadata: Metadata) -> bytes:
    """Metadata as header fields; values of names that end in ``-bin`` are bytes and travel as base64.

    Raises:
        ValueError: a name or a value cannot be sent.
    """
    out = b""
    for key, value in metadata:
        name = key.lower().encode("ascii")
        if not name or not _NAME.issuperset(name):
            raise ValueError(f"{key!r} is no name of metadata")
        if key.endswith("-bin"):
            raw = base64.b64encode(value.encode() if isinstance(value, str) else value).rstrip(b"=")
        else:
            raw = value.encode("ascii") if isinstance(value, str) else value
            if not all(0x20 <= byte < 0x7F for byte in raw):
                raise ValueError(f"the value of {key!r} is not printable ASCII")
        out += literal(name, raw)
    return out


def percent_encoded(sentence: str) -> bytes:
    """A ``grpc-message``."""
    if sentence.isascii() and sentence.isprintable() and "%" not in sentence:
        return sentence.encode()
    return quote(sentence, safe=" !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~").encode()


def _separated(fields: list[Field]) -> tuple[dict[bytes, bytes], list[Field]]:
    pseudo: dict[bytes, bytes] = {}
    others: list[Field] = []
    for field in fields:
        name = field[0]
        if not name.startswith(b":"):
            others.append(field)
        elif others:
            raise _malformed("a pseudo-header behind a field")
        elif name in pseudo or name not in (b":method", b":scheme", b":path", b":authority"):
            raise _malformed("a pseudo-header that is unknown or comes twice")
        else:
            pseudo[name] = field[1]
    return pseudo, others


def _check(name: bytes, value: bytes) -> None:
    if not name or not _NAME.issuperset(name):
        raise _malformed("a field's name has characters that are not allowed")
    if name in _CONNECTION_SPECIFIC or (name == b"te" and value != b"trailers"):
        raise _malformed("a field that belongs to HTTP/1.1")
    if not _VALUE_NEVER.isdisjoint(value):
        raise _malformed("a field's value has characters that are not allowed")


def _values(key: str, value: bytes) -> list[str | bytes]:
    if not key.endswith("-bin"):
        return [value.decode("latin-1")]
    try:
        return [base64.b64decode(part + b"=" * (-len(part) % 4), validate=True) for part in value.split(b",")]
    except binascii.Error:
        raise _malformed("metadata that ends in -bin is not base64") from None


def _malformed(why: str) -> StreamFault:
    return StreamFault(ErrorCode.PROTOCOL_ERROR, why)
