"""Clients that misbehave on the gRPC port, by bytes on the wire: what is bounded, and what the others notice of it."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import grpc
import grpc.aio
import pytest

from pillion.protocol.protos import open_inference_pb2 as pb
from pillion.transport.grpc.http2 import wire
from pillion.transport.grpc.http2.hpack import literal
from pillion.transport.grpc.http2.wire import ErrorCode, Setting
from pillion.transport.grpc.limits import GrpcLimits
from pillion.transport.grpc.options import GrpcOptions
from pillion.transport.grpc.server import GrpcServer
from tests.unit.transport.http2_client import RawClient, head_of
from tests.unit.transport.plane import SmallPlane
from tests.waiting import WITHIN, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

INFER: Final = "/inference.GRPCInferenceService/ModelInfer"
STREAM_INFER: Final = "/inference.GRPCInferenceService/ModelStreamInfer"
ENGINES: Final = ("grpcio", "asyncio")
RESETS: Final = 20_000
QUICK: Final = GrpcLimits(handshake_timeout=0.5, message_timeout=0.5, max_concurrent_streams=4, max_connections=3)


class Serving:
    """A server and who talks to it."""

    def __init__(self, server: GrpcServer, plane: SmallPlane, port: int) -> None:
        self.server = server
        self.plane = plane
        self.port = port
        self._clients: list[RawClient] = []

    async def client(self, *, greet: bool = True) -> RawClient:
        client = await RawClient.connect(self.port, greet=greet)
        self._clients.append(client)
        return client

    async def answers_others(self) -> bool:
        """Whether an ordinary client's call is answered."""
        async with grpc.aio.insecure_channel(
            f"127.0.0.1:{self.port}", options=[("grpc.use_local_subchannel_pool", 1)]
        ) as channel:
            infer: Any = channel.unary_unary(INFER)
            answer: bytes = await infer(message("double"), timeout=WITHIN)
            return pb.ModelInferResponse.FromString(answer).model_name == "double"

    async def stop(self) -> None:
        for client in self._clients:
            client.close()
        self.plane.release.set()
        await self.server.stop(0)


@contextlib.asynccontextmanager
async def serving(engine: str, limits: GrpcLimits | None = None) -> AsyncIterator[Serving]:
    plane = SmallPlane()
    server = GrpcServer(plane, limits, GrpcOptions(engine=engine))
    state = Serving(server, plane, await server.start("127.0.0.1:0"))
    yield state
    await state.stop()


@pytest.fixture
async def quick() -> AsyncIterator[Serving]:
    """The asyncio engine with little patience."""
    async with serving("asyncio", QUICK) as state:
        yield state


def message(model: str, elements: int = 4) -> bytes:
    request = pb.ModelInferRequest(model_name=model)
    request.inputs.add(name="x", datatype="FP32", shape=[1, elements])
    request.raw_input_contents.append(bytes(4 * elements))
    return request.SerializeToString()


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# --- both engines


@pytest.mark.parametrize("engine", ENGINES)
async def test_streams_that_are_opened_and_reset_cost_no_memory_and_leave_no_call_running(engine: str) -> None:
    async with serving(engine) as state:
        client = await state.client()
        assert await state.answers_others()
        before = resident()
        head, request = head_of(INFER), message("slow")
        content = wire.frame(wire.DATA, wire.END_STREAM, 0, b"\0" + len(request).to_bytes(4) + request)
        with contextlib.suppress(ConnectionError):
            for number in range(1, 2 * RESETS, 2):
                client.send(
                    wire.frame(wire.HEADERS, wire.END_HEADERS, number, head)
                    + content[:5] + number.to_bytes(4) + content[9:]
                    + wire.reset(number, ErrorCode.CANCEL)
                )  # fmt: skip
                if number % 200 == 1:
                    await client.flush()
            await client.flush()
        assert await state.answers_others()
        await until(lambda: state.plane.cancelled == sum(one.model == "slow" for one in state.plane.requests))
        assert 64 * 1024 * 1024 > resident() - before


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("sent", [b"", wire.PREFACE[:10]])
async def test_a_connection_that_never_finishes_its_greeting_is_closed(engine: str, sent: bytes) -> None:
    async with serving(engine, QUICK) as state:
        client = await state.client(greet=False)
        client.send(sent)
        await client.closed()


@pytest.mark.parametrize("engine", ENGINES)
async def test_pings_without_a_call_end_the_connection(engine: str) -> None:
    async with serving(engine) as state:
        client = await state.client()
        client.send(wire.frame(wire.PING, 0, 0, b"flooding") * 10)
        await client.closed()
        assert await state.answers_others()


async def test_pings_without_a_call_are_told_why_the_connection_ends(quick: Serving) -> None:
    client = await quick.client()
    client.send(wire.frame(wire.PING, 0, 0, b"flooding") * 4)
    assert ("connection", ErrorCode.ENHANCE_YOUR_CALM, "too_many_pings") == await client.fault()


@pytest.mark.parametrize("engine", ENGINES)
async def test_metadata_beyond_the_limit_ends_the_call_and_not_the_server(engine: str) -> None:
    async with serving(engine, GrpcLimits(max_metadata_bytes=4096)) as state:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{state.port}") as channel:
            infer: Any = channel.unary_unary(INFER)
            call = infer(message("double"), metadata=(("x-large", "x" * 20_000),))
            assert grpc.StatusCode.RESOURCE_EXHAUSTED is await call.code()
        assert await state.answers_others()


# --- ours: every bound has its own sentence


async def test_a_header_block_that_never_ends_ends_the_connection(quick: Serving) -> None:
    slow, endless = await quick.client(), await quick.client()
    slow.send(wire.frame(wire.HEADERS, 0, 1, head_of(INFER)))
    assert ("connection", ErrorCode.ENHANCE_YOUR_CALM, "a header block that does not end") == await slow.fault()
    endless.send(wire.frame(wire.HEADERS, 0, 1, head_of(INFER)))
    for _ in range(100):
        endless.send(wire.frame(wire.CONTINUATION, 0, 1))
    assert ("connection", ErrorCode.ENHANCE_YOUR_CALM, "a header block that does not end") == await endless.fault()


@pytest.mark.parametrize(
    "one",
    [
        wire.settings({}),
        wire.frame(wire.PRIORITY, 0, 3, bytes(5)),
        wire.frame(0x42, 0, 0, b"unknown"),
        wire.frame(wire.DATA, 0, 1),
        wire.frame(wire.PING, wire.ACK, 0, bytes(8)),
    ],
    ids=["settings", "priorities", "unknown", "empty data", "answers to pings"],
)
async def test_frames_that_say_nothing_are_counted(quick: Serving, one: bytes) -> None:
    client = await quick.client()
    client.send(wire.frame(wire.HEADERS, wire.END_HEADERS, 1, head_of(STREAM_INFER)))
    client.send(one * 1500)
    assert ("connection", ErrorCode.ENHANCE_YOUR_CALM, "too many frames that say nothing") == await client.fault()
    assert await quick.answers_others()


async def test_a_message_that_does_not_get_on_ends_the_call(quick: Serving) -> None:
    client = await quick.client()
    client.send(wire.frame(wire.HEADERS, wire.END_HEADERS, 1, head_of(INFER)))
    client.send(wire.frame(wire.DATA, 0, 1, b"\0\0\0\0\x50half"))
    *_, payload = await client.frame_of(wire.HEADERS)
    assert literal(b"grpc-status", b"4") in payload
    assert ("stream", ErrorCode.NO_ERROR, "") == await client.fault()


async def test_a_call_whose_one_message_is_there_and_whose_end_never_comes_ends(quick: Serving) -> None:
    client, request = await quick.client(), message("double")
    client.send(
        wire.frame(wire.HEADERS, wire.END_HEADERS, 1, head_of(INFER))
        + wire.frame(wire.DATA, 0, 1, b"\0" + len(request).to_bytes(4) + request)
    )
    *_, payload = await client.frame_of(wire.HEADERS)
    assert literal(b"grpc-status", b"4") in payload


async def test_compressed_messages_that_no_call_takes_yet_are_not_expanded(quick: Serving) -> None:
    client, request, bomb = await quick.client(), message("slow"), gzip.compress(bytes(2**24))
    client.send(_call(grpc_encoding="gzip") + wire.frame(wire.DATA, 0, 1, b"\0" + len(request).to_bytes(4) + request))
    await until(quick.plane.entered.is_set)
    before = resident()
    for _ in range(8):
        client.send(wire.frame(wire.DATA, 0, 1, b"\1" + len(bomb).to_bytes(4)) + wire.frame(wire.DATA, 0, 1, bomb))
    client.send(wire.frame(wire.PING, 0, 0, b"12345678"))
    while (await client.frame_of(wire.PING))[1] != wire.ACK:
        pass
    assert resident() - before < 2**26


async def test_a_stream_may_be_silent_between_messages(quick: Serving) -> None:
    client = await quick.client()
    client.send(wire.frame(wire.HEADERS, wire.END_HEADERS, 1, head_of(STREAM_INFER)))
    request = message("double")
    content = wire.frame(wire.DATA, 0, 1, b"\0" + len(request).to_bytes(4) + request)
    for _ in range(2):
        client.send(content)
        assert wire.DATA == (await client.frame_of(wire.DATA, wire.RST_STREAM))[0]
        await asyncio.sleep(3 * QUICK.message_timeout)


async def test_messages_that_no_call_takes_yet_are_not_given_room_again(quick: Serving) -> None:
    client = await quick.client()
    client.send(_call())
    request = message("slow", 1000)
    content = wire.frame(wire.DATA, 0, 1, b"\0" + len(request).to_bytes(4) + request)
    client.send(content * (2**20 // len(request)))
    await until(quick.plane.entered.is_set)
    client.send(content)
    assert ("stream", ErrorCode.FLOW_CONTROL_ERROR, "") == await client.fault()
    await until(lambda: quick.plane.cancelled == 1)


async def test_an_answer_that_the_client_does_not_take_ends_the_call_and_frees_it(quick: Serving) -> None:
    client = await quick.client(greet=False)
    client.send(wire.PREFACE + wire.settings({Setting.INITIAL_WINDOW_SIZE: 10}))
    client.call(1, INFER, message("double"))
    _, _, _, first = await client.frame_of(wire.DATA)
    assert 10 == len(first)
    assert ("stream", ErrorCode.CANCEL, "") == await client.fault()


async def test_windows_that_nothing_can_be_sent_in_do_not_keep_a_call_alive(quick: Serving) -> None:
    client = await quick.client()
    client.send(wire.settings({Setting.INITIAL_WINDOW_SIZE: 2**20}))
    request = message("double", 2**15)
    content = b"\0" + len(request).to_bytes(4) + request
    pieces = [content[at : at + 16384] for at in range(0, len(content), 16384)]
    client.send(wire.frame(wire.HEADERS, wire.END_HEADERS, 1, head_of(INFER)))
    for piece in pieces:
        client.send(wire.frame(wire.DATA, (piece is pieces[-1]) * wire.END_STREAM, 1, piece))

    async def widen() -> None:
        # The connection's window, 65,535 bytes, is used up; this one has room.
        while True:
            client.send(wire.window_update(1, 1))
            await asyncio.sleep(QUICK.message_timeout / 8)

    widening = asyncio.create_task(widen())
    async with asyncio.timeout(WITHIN):
        assert ("stream", ErrorCode.CANCEL, "") == await client.fault()
    widening.cancel()


async def test_calls_that_begin_together_are_bounded_although_their_heads_came_before() -> None:
    async with serving("asyncio", GrpcLimits(max_concurrent_rpcs=1)) as state:
        client = await state.client()
        request = message("slow")
        for number in (1, 3):
            client.send(wire.frame(wire.HEADERS, wire.END_HEADERS, number, head_of(INFER)))
        for number in (1, 3):
            content = b"\0" + len(request).to_bytes(4) + request
            client.send(wire.frame(wire.DATA, wire.END_STREAM, number, content))
        *_, number, fields = await client.frame_of(wire.HEADERS)
        assert (3, True) == (number, literal(b"grpc-status", b"8") in fields)
        await until(state.plane.entered.is_set)
        assert 1 == len(state.plane.requests)


async def test_an_answer_waits_for_the_window_and_goes_on_in_pieces(quick: Serving) -> None:
    client = await quick.client(greet=False)
    client.send(wire.PREFACE + wire.settings({Setting.INITIAL_WINDOW_SIZE: 10}))
    client.call(1, INFER, message("double"))
    pieces = [(await client.frame_of(wire.DATA))[3]]
    client.send(wire.settings({Setting.INITIAL_WINDOW_SIZE: 30}))
    pieces.append((await client.frame_of(wire.DATA))[3])
    client.send(wire.window_update(1, 10_000))
    pieces.append((await client.frame_of(wire.DATA))[3])
    answer = b"".join(pieces)
    assert ([10, 20], "double") == (
        [len(piece) for piece in pieces[:2]],
        pb.ModelInferResponse.FromString(answer[5:]).model_name,
    )
    _, flags, _, trailers = await client.frame_of(wire.HEADERS)
    assert (wire.END_HEADERS | wire.END_STREAM, literal(b"grpc-status", b"0")) == (flags, trailers)


async def test_a_client_that_keeps_no_table_is_told_that_we_use_none(quick: Serving) -> None:
    client = await quick.client(greet=False)
    client.send(wire.PREFACE + wire.settings({Setting.HEADER_TABLE_SIZE: 0}))
    client.call(1, INFER, message("double"))
    client.call(3, INFER, message("double"))
    blocks = [(await client.frame_of(wire.HEADERS))[3] for _ in range(4)]
    assert [True, False, False, False] == [block.startswith(b"\x20") for block in blocks]


async def test_streams_and_connections_too_many_are_refused(quick: Serving) -> None:
    client = await quick.client()
    for number in (1, 3, 5, 7, 9):
        client.call(number, INFER, message("slow"))
    kind, _, number, payload = await client.frame_of(wire.RST_STREAM)
    assert (wire.RST_STREAM, 9, ErrorCode.REFUSED_STREAM) == (kind, number, int.from_bytes(payload))
    others = [await quick.client() for _ in range(3)]
    assert ("connection", ErrorCode.ENHANCE_YOUR_CALM, "too many connections") == await others[-1].fault()


async def test_a_client_that_does_not_read_is_not_read_from_and_then_cut(quick: Serving) -> None:
    client = await quick.client()
    client.send(wire.window_update(0, 2**30) + wire.settings({Setting.INITIAL_WINDOW_SIZE: 2**30}))
    numbers = iter(range(1, 2**20, 2))
    large = message("double", 256 * 1024)

    async def ask() -> None:
        while True:
            number = next(numbers)
            client.send(wire.frame(wire.HEADERS, wire.END_HEADERS, number, head_of(INFER)))
            content = b"\0" + len(large).to_bytes(4) + large
            for at in range(0, len(content), 16384):
                last = at + 16384 >= len(content)
                client.send(wire.frame(wire.DATA, last * wire.END_STREAM, number, content[at : at + 16384]))
            await client.flush()

    async with asyncio.timeout(WITHIN):
        with contextlib.suppress(ConnectionError):
            await ask()
    assert await quick.answers_others()


async def test_a_call_is_put_together_from_single_bytes_and_with_padding(quick: Serving) -> None:
    client = await quick.client()
    request = message("double")
    client.send(wire.frame(wire.HEADERS, wire.END_HEADERS, 1, head_of(INFER)))
    for byte in b"\0" + len(request).to_bytes(4) + request:
        client.send(wire.frame(wire.DATA, wire.PADDED, 1, bytes((3, byte)) + bytes(3)))
    client.send(wire.frame(wire.DATA, wire.END_STREAM, 1))
    *_, payload = await client.frame_of(wire.DATA)
    assert "double" == pb.ModelInferResponse.FromString(payload[5:]).model_name


@pytest.mark.parametrize(
    ("status", "fields"),
    [
        (b"415", {"content-type": "text/html"}),
        (b"415", {"content-type": ""}),
        (b"405", {":method": "GET"}),
    ],
)
async def test_what_is_no_grpc_is_answered_in_http(quick: Serving, status: bytes, fields: dict[str, str]) -> None:
    client = await quick.client()
    client.send(wire.frame(wire.HEADERS, wire.END_HEADERS | wire.END_STREAM, 1, head_of(INFER, **fields)))
    *_, payload = await client.frame_of(wire.HEADERS)
    assert literal(b":status", status) == payload


@pytest.mark.parametrize(
    ("status", "path", "content", "fields"),
    [
        (b"12", "/none", b"\0\0\0\0\0", {}),
        (b"12", INFER, b"", {}),
        (b"12", INFER, b"\0\0\0\0\0" * 2, {}),
        (b"12", INFER, b"\0\0\0\0\0", {"grpc-encoding": "snappy"}),
        (b"13", INFER, b"\0\0\0\0", {}),
        (b"13", INFER, b"\1\0\0\0\0", {}),
        (b"13", INFER, b"\2\0\0\0\0", {}),
        (b"13", INFER, b"\1\0\0\0\2hi", {"grpc-encoding": "gzip"}),
        (b"8", INFER, b"\0\xff\xff\xff\xff", {}),
    ],
)
async def test_a_call_that_cannot_be_read_ends_with_its_status(
    quick: Serving, status: bytes, path: str, content: bytes, fields: dict[str, str]
) -> None:
    client = await quick.client()
    client.send(
        wire.frame(wire.HEADERS, wire.END_HEADERS, 1, head_of(path, **fields))
        + wire.frame(wire.DATA, wire.END_STREAM, 1, content)
    )
    *_, payload = await client.frame_of(wire.HEADERS)
    assert literal(b"grpc-status", status) in payload


def _call(number: int = 1, flags: int = wire.END_HEADERS, **fields: str) -> bytes:
    return wire.frame(wire.HEADERS, flags, number, head_of(STREAM_INFER, **fields))


def _fields(*pairs: tuple[bytes, bytes]) -> bytes:
    block = b"".join(literal(name, value) for name, value in pairs)
    return wire.frame(wire.HEADERS, wire.END_HEADERS, 1, block)


BASE: Final = ((b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/x"))
CONNECTION: Final[dict[str, tuple[int, bytes]]] = {
    "data of no stream": (ErrorCode.PROTOCOL_ERROR, wire.frame(wire.DATA, 0, 0, b"x")),
    "data of a stream that is not open": (ErrorCode.PROTOCOL_ERROR, wire.frame(wire.DATA, 0, 1, b"x")),
    "more padding than content": (ErrorCode.PROTOCOL_ERROR, _call() + wire.frame(wire.DATA, wire.PADDED, 1, b"\x09x")),
    "an even stream": (ErrorCode.PROTOCOL_ERROR, _call(2)),
    "a stream that has ended": (ErrorCode.STREAM_CLOSED, _call(3) + wire.reset(3, 0) + _call(1)),
    "a header block cut by another frame": (ErrorCode.PROTOCOL_ERROR, _call(flags=0) + wire.settings({})),
    "a continuation of nothing": (ErrorCode.PROTOCOL_ERROR, wire.frame(wire.CONTINUATION, 4, 1)),
    "a block that cannot be read": (ErrorCode.COMPRESSION_ERROR, wire.frame(wire.HEADERS, 4, 1, b"\xff\xff\xff\xff")),
    "a reset of three bytes": (ErrorCode.FRAME_SIZE_ERROR, wire.frame(wire.RST_STREAM, 0, 1, b"xxx")),
    "a reset of a stream that is not open": (ErrorCode.PROTOCOL_ERROR, wire.reset(1, 0)),
    "settings of a stream": (ErrorCode.PROTOCOL_ERROR, wire.frame(wire.SETTINGS, 0, 1)),
    "settings of seven bytes": (ErrorCode.FRAME_SIZE_ERROR, wire.frame(wire.SETTINGS, 0, 0, bytes(7))),
    "an acknowledgement with content": (ErrorCode.FRAME_SIZE_ERROR, wire.frame(wire.SETTINGS, 1, 0, bytes(6))),
    "a push that is neither on nor off": (ErrorCode.PROTOCOL_ERROR, wire.settings({Setting.ENABLE_PUSH: 2})),
    "a frame size too small": (ErrorCode.PROTOCOL_ERROR, wire.settings({Setting.MAX_FRAME_SIZE: 100})),
    "a first window too large": (ErrorCode.FLOW_CONTROL_ERROR, wire.settings({Setting.INITIAL_WINDOW_SIZE: 2**31})),
    "a push": (ErrorCode.PROTOCOL_ERROR, wire.frame(wire.PUSH_PROMISE, 4, 1, bytes(4))),
    "a ping of seven bytes": (ErrorCode.FRAME_SIZE_ERROR, wire.frame(wire.PING, 0, 0, bytes(7))),
    "a ping of a stream": (ErrorCode.PROTOCOL_ERROR, wire.frame(wire.PING, 0, 1, bytes(8))),
    "an increment of nothing": (ErrorCode.PROTOCOL_ERROR, wire.window_update(0, 0)),
    "an increment of three bytes": (ErrorCode.FRAME_SIZE_ERROR, wire.frame(wire.WINDOW_UPDATE, 0, 0, bytes(3))),
    "a window too large": (ErrorCode.FLOW_CONTROL_ERROR, wire.window_update(0, 2**31 - 1)),
    "a frame too long": (ErrorCode.FRAME_SIZE_ERROR, wire.head(16385, wire.DATA, 0, 1)),
    "a priority of four bytes of a stream that is not open": (
        ErrorCode.FRAME_SIZE_ERROR,
        wire.frame(wire.PRIORITY, 0, 5, bytes(4)),
    ),
    "a priority over itself of a stream that is not open": (
        ErrorCode.PROTOCOL_ERROR,
        wire.frame(wire.PRIORITY, 0, 5, (5).to_bytes(4) + b"\0"),
    ),
    "a priority of four bytes of an even stream": (
        ErrorCode.FRAME_SIZE_ERROR,
        _call(3) + wire.frame(wire.PRIORITY, 0, 2, bytes(4)),
    ),
    "a stream that depends on itself": (
        ErrorCode.PROTOCOL_ERROR,
        wire.frame(wire.HEADERS, wire.END_HEADERS | wire.PRIORITISED, 1, (1).to_bytes(4) + b"\0"),
    ),
}
STREAM: Final[dict[str, tuple[int, bytes]]] = {
    "data behind the end": (
        ErrorCode.STREAM_CLOSED,
        wire.frame(wire.HEADERS, 5, 1, head_of(STREAM_INFER)) + wire.frame(wire.DATA, 0, 1, b"x"),
    ),
    "an increment of nothing": (ErrorCode.PROTOCOL_ERROR, _call() + wire.window_update(1, 0)),
    "a window too large": (ErrorCode.FLOW_CONTROL_ERROR, _call() + wire.window_update(1, 2**31 - 1)),
    "trailers that are not the end": (ErrorCode.PROTOCOL_ERROR, _call() + _call()),
    "another content-length": (
        ErrorCode.PROTOCOL_ERROR, _call(content_length="3") + wire.frame(wire.DATA, wire.END_STREAM, 1, b"xx"),
    ),
    "a priority of four bytes": (ErrorCode.FRAME_SIZE_ERROR, _call() + wire.frame(wire.PRIORITY, 0, 1, bytes(4))),
    "a priority over itself": (
        ErrorCode.PROTOCOL_ERROR, _call(5) + wire.frame(wire.PRIORITY, 0, 5, (5).to_bytes(4) + b"\0"),
    ),
    "a priority of four bytes behind the end": (
        ErrorCode.FRAME_SIZE_ERROR, _call(3) + wire.reset(3, 0) + wire.frame(wire.PRIORITY, 0, 1, bytes(4)),
    ),
    "no path": (ErrorCode.PROTOCOL_ERROR, _fields(*BASE[:2])),
    "an empty path": (ErrorCode.PROTOCOL_ERROR, _fields(*BASE[:2], (b":path", b""))),
    "a pseudo-header twice": (ErrorCode.PROTOCOL_ERROR, _fields(*BASE, BASE[2])),
    "a pseudo-header of answers": (ErrorCode.PROTOCOL_ERROR, _fields(*BASE, (b":status", b"200"))),
    "a pseudo-header behind a field": (ErrorCode.PROTOCOL_ERROR, _fields(*BASE[:2], (b"a", b"b"), BASE[2])),
    "capitals": (ErrorCode.PROTOCOL_ERROR, _fields(*BASE, (b"Name", b"value"))),
    "a line break in a value": (ErrorCode.PROTOCOL_ERROR, _fields(*BASE, (b"name", b"a\r\nb: c"))),
    "a field of HTTP/1.1": (ErrorCode.PROTOCOL_ERROR, _fields(*BASE, (b"connection", b"close"))),
    "te that is not trailers": (ErrorCode.PROTOCOL_ERROR, _fields(*BASE, (b"te", b"gzip"))),
    "a content-length that is no number": (ErrorCode.PROTOCOL_ERROR, _fields(*BASE, (b"content-length", b"x"))),
    "binary metadata that is no base64": (ErrorCode.PROTOCOL_ERROR, _fields(*BASE, (b"a-bin", b"%"))),
    "a timeout that is none": (ErrorCode.PROTOCOL_ERROR, _call(grpc_timeout="soon")),
}  # fmt: skip


@pytest.mark.parametrize("name", list(CONNECTION))
async def test_who_breaks_the_protocol_of_the_connection_loses_it(quick: Serving, name: str) -> None:
    code, sent = CONNECTION[name]
    client = await quick.client()
    client.send(sent)
    assert ("connection", code) == (await client.fault())[:2]
    await client.closed()


@pytest.mark.parametrize("name", list(STREAM))
async def test_who_breaks_the_protocol_of_a_stream_loses_the_stream_alone(quick: Serving, name: str) -> None:
    code, sent = STREAM[name]
    client = await quick.client()
    client.send(sent)
    assert ("stream", code) == (await client.fault())[:2]
    client.call(11, INFER, message("double"))
    assert 11 == (await client.frame_of(wire.DATA))[2]


@pytest.mark.parametrize(
    "sent", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", wire.PREFACE + wire.frame(wire.PING, 0, 0, bytes(8))]
)
async def test_other_protocols_are_told_what_is_spoken_here(quick: Serving, sent: bytes) -> None:
    client = await quick.client(greet=False)
    client.send(sent)
    assert ("connection", ErrorCode.PROTOCOL_ERROR) == (await client.fault())[:2]


async def test_a_connection_that_has_aged_is_told_twice_and_then_closed() -> None:
    async with serving("asyncio", GrpcLimits(max_connection_age=0.1)) as state:
        client = await state.client()
        client.call(1, INFER, message("slow"))
        first = await client.frame_of(wire.GOAWAY)
        *_, ping = await client.frame_of(wire.PING)
        client.call(3, INFER, message("double"))
        client.send(wire.frame(wire.PING, wire.ACK, 0, ping))
        second = await client.frame_of(wire.GOAWAY)
        client.call(5, INFER, message("double"))
        kind, _, number, _ = await client.frame_of(wire.RST_STREAM)
        state.plane.release.set()
        assert 1 == (await client.frame_of(wire.DATA))[2]
        await client.closed()
        told: Callable[[bytes], int] = lambda payload: int.from_bytes(payload[:4])  # noqa: E731 - short, used twice
        assert (2**31 - 1, 3, wire.RST_STREAM, 5) == (told(first[3]), told(second[3]), kind, number)
