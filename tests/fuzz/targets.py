"""What is fuzzed: each codec as a function of bytes that returns, or raises what the fuzzer is to find.

A request may be refused, by :class:`~pillion.errors.PillionError` alone, and by one short printable line.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from pillion.errors import PillionError
from pillion.model import ModelMetadata
from pillion.protocol.invocations import decode_invocation
from pillion.protocol.limits import CodecLimits
from pillion.protocol.oip_json import OipJsonDecoder
from pillion.protocol.oip_proto import decode_infer
from pillion.protocol.proto_templates import InferCodec
from pillion.protocol.v1 import decode_v1
from pillion.tensors import Datatype, TensorSpec
from pillion.transport.http.content_coding import Expander
from tests.fuzz.http2 import grpc_messages, hpack, http2
from tests.fuzz.sockets import socket_bodies, socket_frames

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["TARGETS", "attempt"]

_LIMITS: Final = CodecLimits(max_elements=1_000_000)
_DECODER: Final = OipJsonDecoder(_LIMITS)
_CODEC: Final = InferCodec(_LIMITS)
_METADATA: Final = ModelMetadata(
    "p", (TensorSpec("x", Datatype.FP32, (-1, 4)), TensorSpec("y", Datatype.BYTES, (-1,), optional=True)), ()
)
_TABLE: Final = ModelMetadata(
    "p",
    (TensorSpec("x", Datatype.FP64, (-1, 2)),),
    (),
    columns=(TensorSpec("a", Datatype.FP64, (-1, 1)), TensorSpec("b", Datatype.FP64, (-1, 1), nullable=True)),
)


def _oip_json(data: bytes) -> None:
    _DECODER.decode(data, "m")


def _oip_binary(data: bytes) -> None:
    """The first two bytes are the length of the JSON."""
    _DECODER.decode(data[2:], "m", header_length=int.from_bytes(data[:2], "little"))


def _oip_proto(data: bytes) -> None:
    decode_infer(data, _LIMITS)


def _proto_templates(data: bytes) -> None:
    """The same through the memory of templates, which has to come to the same end as without."""
    _CODEC.decode(data)


def _v1(data: bytes) -> None:
    decode_v1(data, model="m", metadata=_METADATA, limits=_LIMITS)


def _v1_table(data: bytes) -> None:
    decode_v1(data, model="m", metadata=_TABLE, limits=_LIMITS)


def _invocations(data: bytes) -> None:
    decode_invocation(data, model="m", metadata=_TABLE, limits=_LIMITS)


def _codings(data: bytes) -> None:
    """The first byte chooses the coding."""
    limit = 64 * 1024
    coding = b"gzip" if data[:1] < b"\x80" else b"deflate"
    expanded = asyncio.run(Expander(limit).expand(data[1:], coding))
    if len(expanded) > limit:
        raise AssertionError(f"{len(expanded)} bytes, more than the limit")


TARGETS: Final[Mapping[str, Callable[[bytes], None]]] = {
    "oip_json": _oip_json,
    "oip_binary": _oip_binary,
    "oip_proto": _oip_proto,
    "proto_templates": _proto_templates,
    "v1": _v1,
    "v1_table": _v1_table,
    "invocations": _invocations,
    "codings": _codings,
    "http2": http2,
    "hpack": hpack,
    "grpc_messages": grpc_messages,
    "socket_frames": socket_frames,
    "socket_bodies": socket_bodies,
}


def attempt(target: str, data: bytes) -> None:
    """Decode ``data``; a refusal is fine where it can be shown to people.

    Raises:
        Exception: what is a fault of ours.
    """
    try:
        TARGETS[target](data)
    except PillionError as error:
        if not str(error).isprintable():
            raise AssertionError(f"not one printable line: {str(error)!r}") from error
