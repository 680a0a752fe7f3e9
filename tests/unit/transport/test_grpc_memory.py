"""What clients of the asyncio engine can make the server keep: bodies, answers nobody takes, handshakes."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING, Any, Final

import grpc
import grpc.aio
import pytest

from pillion.transport.body_budget import BodyBudget
from pillion.transport.grpc.engine import GrpcTls
from pillion.transport.grpc.http2 import wire
from pillion.transport.grpc.http2.engine import AsyncioEngine
from pillion.transport.grpc.http2.hpack import literal
from pillion.transport.grpc.http2.wire import ErrorCode
from pillion.transport.grpc.limits import GrpcLimits
from tests.certificates import Authority
from tests.unit.transport.http2_client import RawClient, head_of
from tests.waiting import WITHIN, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

MIB: Final = 1024 * 1024
QUICK: Final = GrpcLimits(handshake_timeout=2.0, max_connections=3)


class Sized:
    """A service: ``Give`` answers as many bytes as the request says, ``Length`` with the length of each message."""

    def __init__(self) -> None:
        self.begun = 0
        self.go_on = asyncio.Event()

    async def give(self, request: bytes, _: object) -> bytes:
        self.begun += 1
        return bytes(int(request))

    async def hold(self, request: bytes, _: object) -> bytes:
        await self.go_on.wait()
        return str(len(request)).encode()

    async def echo(self, request: bytes, _: object) -> bytes:
        return request

    async def join(self, requests: AsyncIterator[bytes], _: object) -> bytes:
        return b"".join([one async for one in requests])

    async def length(self, requests: AsyncIterator[bytes], _: object) -> AsyncIterator[bytes]:
        async for one in requests:
            yield str(len(one)).encode()

    def handlers(self) -> list[grpc.GenericRpcHandler]:
        methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "Give": grpc.unary_unary_rpc_method_handler(self.give),
            "Hold": grpc.unary_unary_rpc_method_handler(self.hold),
            "Echo": grpc.unary_unary_rpc_method_handler(self.echo),
            "Join": grpc.stream_unary_rpc_method_handler(self.join),
            "Length": grpc.stream_stream_rpc_method_handler(self.length),
        }
        return [grpc.method_handlers_generic_handler("Sized", methods)]


class Serving:
    def __init__(self, port: int, service: Sized, bodies: BodyBudget) -> None:
        self.port = port
        self.service = service
        self.bodies = bodies
        self._clients: list[RawClient] = []

    async def client(self) -> RawClient:
        client = await RawClient.connect(self.port)
        self._clients.append(client)
        return client

    def close(self) -> None:
        for one in self._clients:
            one.close()


@contextlib.asynccontextmanager
async def serving(bodies: int, limits: GrpcLimits | None = None, tls: GrpcTls | None = None) -> AsyncIterator[Serving]:
    budget, service = BodyBudget(bodies), Sized()
    engine = AsyncioEngine(limits or GrpcLimits(), budget)
    server = Serving(await engine.start("127.0.0.1:0", tls, service.handlers(), None), service, budget)
    try:
        yield server
    finally:
        server.close()
        await engine.stop(0)
    assert 0 == budget.used


def part(size: int, of: int) -> bytes:
    """The first ``size`` bytes of a message as frames of stream 1."""
    content = b"\0" + of.to_bytes(4) + bytes(size)
    step = 16_384
    return b"".join(wire.frame(wire.DATA, 0, 1, content[at : at + step]) for at in range(0, len(content), step))


def opened(method: str) -> bytes:
    return wire.frame(wire.HEADERS, wire.END_HEADERS, 1, head_of(f"/Sized/{method}"))


async def test_messages_of_all_connections_together_have_a_budget() -> None:
    async with serving(500_000) as server:
        first, second = [await server.client() for _ in range(2)]
        first.send(opened("Hold") + part(300_000, 400_000))
        await until(lambda: server.bodies.used > 299_000)
        second.send(opened("Hold") + part(300_000, 400_000))
        *_, fields = await second.frame_of(wire.HEADERS)
        assert literal(b"grpc-status", b"8") in fields
        assert b"limits.max_body_bytes_in_flight 500000" in fields
        assert literal(b"grpc-retry-pushback-ms", b"1000") in fields
        assert literal(b"code", b"queue_full") in fields
        await until(lambda: server.bodies.used < 310_000)
        first.close()
        await until(lambda: server.bodies.used == 0)


async def test_a_message_is_kept_until_its_call_has_ended() -> None:
    async with serving(500_000) as server:
        options = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}", options=options) as channel:
            hold: Any = channel.unary_unary("/Sized/Hold")
            call = hold(bytes(300_000), timeout=WITHIN)
            await until(lambda: server.bodies.used == 300_005)
            server.service.go_on.set()
            assert b"300000" == await call
            await until(lambda: server.bodies.used == 0)


async def test_an_answer_has_the_room_that_its_request_had() -> None:
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with (
        serving(500_000) as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}", options=options) as channel,
    ):
        echo: Any = channel.unary_unary("/Sized/Echo")
        assert bytes(300_000) == await echo(bytes(300_000), timeout=WITHIN)
        join: Any = channel.stream_unary("/Sized/Join")
        assert bytes(300_000) == await join(iter([bytes(300_000)]), timeout=WITHIN)
        await until(lambda: server.bodies.used == 0)


async def test_a_stream_keeps_one_message_at_a_time() -> None:
    async with (
        serving(500_000) as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        length: Any = channel.stream_stream("/Sized/Length")
        call = length(timeout=WITHIN)
        for _ in range(5):
            await call.write(bytes(300_000))
            assert b"300000" == await call.read()
        await call.write(b"small")
        assert b"5" == await call.read()
        await until(lambda: server.bodies.used == 0)
        await call.done_writing()


async def test_a_compressed_message_is_kept_as_what_it_expands_to() -> None:
    async with (
        serving(500_000) as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}", compression=grpc.Compression.Gzip) as channel,
    ):
        length: Any = channel.stream_stream("/Sized/Length")
        call = length(timeout=WITHIN)
        await call.write(bytes(600_000))
        assert grpc.StatusCode.RESOURCE_EXHAUSTED == await call.code()
        assert "limits.max_body_bytes_in_flight" in await call.details()


def give(client: RawClient, number: int, size: int) -> None:
    client.call(number, "/Sized/Give", str(size).encode())


async def test_calls_of_a_client_that_takes_no_answers_wait_until_it_does() -> None:
    async with serving(64 * MIB) as server:
        client = await server.client()
        for number in (1, 3, 5):
            give(client, number, 6 * MIB)
            await client.frame_of(wire.HEADERS)
        give(client, 7, 3)
        client.send(wire.frame(wire.PING, 0, 0, b"answered"))
        await client.frame_of(wire.PING)
        assert 3 == server.service.begun
        other = await server.client()
        give(other, 1, 3)
        assert bytes(3) == (await other.frame_of(wire.DATA))[3][5:]

        client.send(b"".join(wire.window_update(number, 64 * MIB) for number in (0, 1, 3, 5)))
        while (found := await client.frame_of(wire.DATA))[2] != 7:
            pass
        assert bytes(3) == found[3][5:]


async def test_answers_that_nobody_takes_have_the_same_budget_and_the_call_is_reset() -> None:
    async with serving(10 * MIB) as server:
        client, other = [await server.client() for _ in range(2)]
        give(client, 1, 8 * MIB)
        await client.frame_of(wire.DATA)
        assert 8 * MIB + 5 == server.bodies.used
        give(other, 1, 8 * MIB)
        assert ("stream", ErrorCode.ENHANCE_YOUR_CALM, "") == await other.fault()
        give(other, 3, 3)
        assert bytes(3) == (await other.frame_of(wire.DATA))[3][5:]
        client.close()
        await until(lambda: server.bodies.used == 0)
        give(other, 5, 3 * MIB)
        assert 5 == (await other.frame_of(wire.DATA))[2]


@pytest.fixture
def tls(tmp_path: Path) -> tuple[GrpcTls, bytes]:
    authority = Authority()
    issued = authority.issue()
    (tmp_path / "crt").write_text(issued.cert)
    (tmp_path / "key").write_text(issued.key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "crt", tmp_path / "key")
    context.set_alpn_protocols(["h2"])
    credentials = grpc.ssl_server_credentials([(issued.key.encode(), issued.cert.encode())])
    return GrpcTls(credentials, context), authority.pem.encode()


async def test_handshakes_that_are_not_over_count_as_connections_and_have_a_time(tls: tuple[GrpcTls, bytes]) -> None:
    async with serving(MIB, QUICK, tls[0]) as server:
        silent = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(4)]
        async with asyncio.timeout(WITHIN):
            assert b"" == await silent[3][0].read()
            assert not any(reader.at_eof() for reader, _ in silent[:3])
            for reader, _ in silent[:3]:
                assert b"" == await reader.read()
        credentials = grpc.ssl_channel_credentials(tls[1])
        async with grpc.aio.secure_channel(f"localhost:{server.port}", credentials) as channel:
            ask: Any = channel.unary_unary("/Sized/Give")
            assert bytes(3) == await ask(b"3", timeout=WITHIN)
        for _, writer in silent:
            writer.close()
