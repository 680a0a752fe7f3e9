"""The asyncio gRPC engine without sockets: a connection is fed bytes, and what it says and keeps is looked at."""

from __future__ import annotations

import asyncio
import warnings
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import grpc

from pillion.transport.body_budget import BodyBudget
from pillion.transport.grpc.http2 import wire
from pillion.transport.grpc.http2.connection import Connection
from pillion.transport.grpc.http2.hpack import HeaderBlockError, HeaderDecoder, OversizedHeadersError
from pillion.transport.grpc.http2.limits import ConnectionLimits
from pillion.transport.grpc.http2.messages import Coded, MessageFault, Messages
from pillion.transport.grpc.http2.service import Service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

__all__ = ["Seen", "grpc_messages", "hpack", "http2", "talk"]

_LIMITS: Final = ConnectionLimits(
    max_message_bytes=100_000,
    max_metadata_bytes=4096,
    max_streams=8,
    header_timeout=10,
    body_timeout=30,
    min_body_rate=1024,
    keepalive_time=60,
    keepalive_timeout=20,
    min_ping_interval=5,
    max_age_grace=300,
)
_TURNS: Final = 12
"""Of the loop: more than any call below takes."""


async def _echo(request: bytes, _: object) -> bytes:
    return request


async def _wait(request: bytes, _: object) -> bytes:
    await asyncio.Event().wait()
    return request


async def _each(requests: AsyncIterator[bytes], _: object) -> AsyncIterator[bytes]:
    async for one in requests:
        yield one


async def _many(request: bytes, _: object) -> AsyncIterator[bytes]:
    for _place in range(3):
        yield request


_METHODS: Final[dict[str, grpc.RpcMethodHandler[Any, Any]]] = {
    "e": grpc.unary_unary_rpc_method_handler(_echo),
    "w": grpc.unary_unary_rpc_method_handler(_wait),
    "s": grpc.stream_stream_rpc_method_handler(_each),
    "m": grpc.unary_stream_rpc_method_handler(_many),
}
"""Of the service ``f``: the paths are ``/f/e`` and so on."""


class _Transport(asyncio.Transport):
    """Takes what is written, as a socket whose client reads."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.closed = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name == "peername" else default

    def write(self, data: Any) -> None:
        if self.closed:
            raise AssertionError("something is written behind the end")
        self.written += data

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True


class Seen(NamedTuple):
    """What became of a connection."""

    frames: list[tuple[int, int, int, bytes]]
    """That the server sent: type, flags, stream, payload."""
    closed: bool
    """Whether the server has closed."""


def http2(data: bytes) -> None:
    """Frames of a client that has greeted, in one piece and in pieces whose size the first byte says."""
    size = data[0] if data else 0
    sent = wire.PREFACE + wire.settings({}) + data[1:]
    whole = talk([sent])
    pieces = talk([sent[at : at + size] for at in range(0, len(sent), size)]) if size else whole
    if whole != pieces:
        raise AssertionError(f"in pieces of {size} bytes it is something else: {whole} and {pieces}")


def talk(pieces: Sequence[bytes]) -> Seen:
    """Feed a new connection and end it.

    Raises:
        AssertionError: a frame of the server is malformed, something failed in the background, or something is kept.
    """
    with warnings.catch_warnings(), asyncio.Runner(loop_factory=_new_loop) as runner:
        return runner.run(_talk(pieces))


def _new_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.SelectorEventLoop()
    # Time stands still, so that what is counted per second does not depend on the machine.
    now = loop.time()
    loop.time = lambda: now  # type: ignore[method-assign] # as above
    return loop


async def _talk(pieces: Sequence[bytes]) -> Seen:
    loop = asyncio.get_running_loop()
    failures: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: failures.append(context))
    budget = BodyBudget(150_000)
    service = Service([grpc.method_handlers_generic_handler("f", _METHODS)], None, budget, 8, 8)
    connection, transport = Connection(service, _LIMITS, loop, 20.0), _Transport()
    connection.connection_made(transport)
    for piece in pieces:
        if not transport.closed:
            connection.data_received(piece)
    await _turns()
    closed, transport.closed = transport.closed, False
    frames = _frames(bytes(transport.written))
    transport.closed = True
    connection.connection_lost(None)
    await _turns()
    kept = {"calls": service.calls, "streams": connection.calls, "bytes": budget.used}
    if failures or any(kept.values()):
        raise AssertionError(f"left behind: {kept}, {failures}")
    return Seen(frames, closed)


async def _turns() -> None:
    for _ in range(_TURNS):
        await asyncio.sleep(0)


def _frames(written: bytes) -> list[tuple[int, int, int, bytes]]:
    found, at, ended, decoder = [], 0, set[int](), HeaderDecoder(1_000_000)
    while at < len(written):
        high, low, kind, flags, number = wire.read_head(written, at)
        payload = written[at + 9 : at + 9 + (high << 8 | low)]
        if len(payload) != high << 8 | low:
            raise AssertionError("a frame is cut")
        at += 9 + len(payload)
        if kind == wire.HEADERS:
            decoder.decode(payload)
        if number in ended and kind in (wire.DATA, wire.HEADERS):
            raise AssertionError(f"stream {number} goes on behind its end")
        if (kind in (wire.DATA, wire.HEADERS) and flags & wire.END_STREAM) or kind == wire.RST_STREAM:
            ended.add(number)
        found.append((kind, flags, number, payload))
    return found


def hpack(data: bytes) -> None:
    """Header blocks of one connection, each with a byte before it that is its length."""
    decoder, at = HeaderDecoder(4096), 0
    while at < len(data):
        block, at = data[at + 1 : at + 1 + data[at]], at + 1 + data[at]
        try:
            fields = decoder.decode(block)
        except OversizedHeadersError:
            continue
        except HeaderBlockError:
            return
        if sum(len(name) + len(value) + 32 for name, value in fields) > 4096:
            raise AssertionError("more fields than allowed")


def grpc_messages(data: bytes) -> None:
    """A call's messages: the first byte is the coding, the second the size of the pieces that the others come in."""
    coding = (b"identity", b"gzip", b"deflate", b"snappy")[data[0] % 4] if data else b"identity"
    size = data[1] if len(data) > 1 else 0
    body = data[2:]
    whole = _messages(coding, [body])
    pieces = _messages(coding, [body[at : at + size] for at in range(0, len(body), size)]) if size else whole
    if whole != pieces:
        raise AssertionError(f"in pieces of {size} bytes it is something else: {whole} and {pieces}")


def _messages(coding: bytes, pieces: Sequence[bytes]) -> list[object]:
    limit = 10_000
    messages, found = Messages(limit, coding), list[object]()
    for piece in pieces:
        try:
            for one in messages.feed(piece):
                message = messages.expanded(one) if type(one) is Coded else one
                if len(message) > limit:
                    raise AssertionError(f"{len(message)} bytes, more than the limit")
                found.append(message)
        except MessageFault:
            # The call ends with that, whatever came before in the same piece, and which of two faults is seen first.
            return ["fault"]
    return [*found, messages.received]
