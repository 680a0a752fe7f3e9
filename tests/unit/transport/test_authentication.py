from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import httpx
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from pillion.dataplane.call import WireProtocol
from pillion.errors import ErrorCode, PillionError
from pillion.jobs.asked import Submitter
from pillion.protocol.protos import open_inference_pb2 as pb
from pillion.transport.authentication import ApiKey, shown_digest
from pillion.transport.grpc.options import GrpcOptions
from pillion.transport.grpc.server import GrpcServer
from pillion.transport.http.direct import DirectAnswer, DirectApplication
from pillion.transport.http.dispatcher import Dispatcher
from pillion.transport.http.guard import Guard
from pillion.transport.management_access import ManagementAccess
from pillion.transport.submitting import submitter_of
from tests.unit.transport.plane import SmallPlane

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KEY = "a-key-of-the-test"
ROW = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}
INFER = "/v2/models/double/infer"
SERVICE = "inference.GRPCInferenceService"


@pytest.mark.parametrize(
    ("authorization", "key"),
    [
        (b"Bearer " + KEY.encode(), None),
        (b"bearer  " + KEY.encode(), None),
        (None, KEY.encode()),
        (b"Basic abc", KEY.encode()),
    ],
)
def test_the_key_is_taken_from_either_header(authorization: bytes | None, key: bytes | None) -> None:
    ApiKey({"shop": KEY}).check(authorization, key)


@pytest.mark.parametrize(
    ("authorization", "key"),
    [
        (None, None),
        (b"", None),
        (b"Bearer", None),
        (b"Basic " + KEY.encode(), None),
        (b"Bearer other", None),
        (b"Bearer " + KEY.encode(), b""),
        (None, KEY[:-1].encode()),
        (None, KEY.encode() + b"x"),
    ],
)
def test_anything_else_is_refused_with_the_name_of_the_setting(authorization: bytes | None, key: bytes | None) -> None:
    with pytest.raises(PillionError) as raised:
        ApiKey({"shop": KEY}).check(authorization, key)

    assert raised.value.code is ErrorCode.UNAUTHENTICATED
    assert "auth.api_key (PILLION_API_KEY)" in str(raised.value)
    assert KEY not in str(raised.value)


async def test_a_key_that_is_renewed_keeps_its_name_and_another_has_another() -> None:
    keys = ApiKey({"shop": "old", "bank": "other"}, also=ApiKey({"management.token": "secret"}))

    async def names(*shown: str) -> list[str]:
        return [await keys.name(None, one.encode()) for one in shown]

    assert ["key:shop", "key:bank", "key:management.token"] == await names("old", "other", "secret")
    assert "key:shop" == await keys.name(b"Bearer old", None)
    keys.replace({"shop": "new", "bank": "other"})
    assert ["key:shop", "key:bank"] == await names("new", "other")
    with pytest.raises(PillionError, match="the key is not the one"):
        await names("old")


async def test_one_key_with_two_names_has_the_first() -> None:
    assert "key:bank" == await ApiKey({"bank": "same", "shop": "same"}).name(None, b"same")


@pytest.mark.parametrize(
    ("token", "expected"), [("secret", "key:management.token"), ("another", shown_digest(None, b"secret"))]
)
async def test_without_keys_who_shows_the_management_token_is_called_by_it_and_others_by_what_they_show(
    token: str, expected: str
) -> None:
    access = ManagementAccess(token=ApiKey({"management.token": token}))

    assert expected == (await submitter_of(None, access, None, b"secret")).name
    assert Submitter() == await submitter_of(None, access, None, None)


async def fallback(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 418, "headers": []})
    await send({"type": "http.response.body", "body": b"fallback"})


@pytest.fixture
def plane() -> SmallPlane:
    return SmallPlane()


@pytest.fixture
def guard(plane: SmallPlane) -> Guard:
    return Guard(Dispatcher(plane, fallback), ApiKey({"shop": KEY}), plane)


@pytest.fixture
async def client(guard: Guard) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(guard)
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
        yield client


async def test_without_the_key_a_prediction_is_401_and_counted(client: httpx.AsyncClient, plane: SmallPlane) -> None:
    answer = await client.post(INFER, json=ROW, headers={"x-request-id": "mine"})

    assert 401 == answer.status_code
    assert ("unauthenticated", "mine") == (answer.json()["code"], answer.json()["id"])
    assert "auth.api_key (PILLION_API_KEY)" in answer.json()["error"]
    assert "Bearer" == answer.headers["www-authenticate"]
    assert [(ErrorCode.UNAUTHENTICATED, WireProtocol.REST, "double")] == plane.refusals
    assert [] == plane.requests


@pytest.mark.parametrize("headers", [{"authorization": f"Bearer {KEY}"}, {"x-api-key": KEY}])
async def test_with_the_key_a_prediction_is_answered(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    answer = await client.post(INFER, json=ROW, headers=headers)

    assert [2.0, 4.0, 6.0, 8.0] == answer.json()["outputs"][0]["data"]


class Everything:
    """An application that has every path that reaches it but the runtime's own."""

    handlers = False

    def handler(self, _: str) -> None:
        return None

    def find(self, path: str) -> Any:
        return None if path.startswith("/v2/") else fallback

    def routes(self) -> dict[str, str]:
        return {"/": "everything"}


@pytest.mark.parametrize(
    ("root", "path", "expected"), [("/ml", "/ml/v2/health/live", 200), ("/m", "/ml/v2/health/live", 401)]
)
async def test_no_path_of_an_application_is_open_because_it_ends_like_a_probe(
    plane: SmallPlane, root: str, path: str, expected: int
) -> None:
    guard = Guard(Dispatcher(plane, fallback, applications=Everything()), ApiKey({"shop": KEY}), plane)
    transport = httpx.ASGITransport(guard, root_path=root)
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
        assert expected == (await client.get(path)).status_code


class Root:
    """An application that is published below a path of the runtime's own, and so gets what looks like a probe."""

    handlers = False

    def handler(self, _: str) -> None:
        return None

    def find(self, path: str) -> Any:
        return fallback

    def routes(self) -> dict[str, str]:
        return {"/": "root"}


async def test_an_application_that_gets_a_path_like_a_probe_s_asks_for_the_key(plane: SmallPlane) -> None:
    guard = Guard(Dispatcher(plane, fallback, applications=Root()), ApiKey({"shop": KEY}), plane)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(guard), base_url="http://server") as client:
        assert 401 == (await client.get("/v2/health/live")).status_code
        assert 418 == (await client.get("/v2/health/live", headers={"x-api-key": KEY})).status_code


@pytest.mark.parametrize("path", ["/v2/health/live", "/v2/health/ready", "/v2/models/double/ready"])
async def test_health_is_open(client: httpx.AsyncClient, path: str) -> None:
    assert 200 == (await client.get(path)).status_code


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/models/double:predict"),
        ("POST", "/v2/models/double/versions/1/infer"),
        ("POST", "/v2/repository/models/double/unload"),
        ("GET", "/v2/models/double"),
        ("GET", "/v2"),
        ("GET", "/docs"),
        ("POST", "/anything/else"),
        ("POST", "/v2/models/double%2Fready/infer"),
    ],
)
async def test_everything_else_asks_for_the_key(client: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await client.request(method, path)

    assert 401 == answer.status_code


async def test_short_requests_keep_their_short_way(client: httpx.AsyncClient, guard: Guard) -> None:
    # As the listener asks; the static types of both say different things of the scope.
    assert issubclass(Guard, DirectApplication)
    body = httpx.Request("POST", "http://server", json=ROW).content
    media = (b"content-type", b"application/json")
    # A path is known from its first request on.
    await client.post(INFER, json=ROW, headers={"x-api-key": KEY})

    assert guard.begin(INFER.encode(), [media], body) is None
    assert isinstance(guard.begin(INFER.encode(), [media, (b"x-api-key", KEY.encode())], body), DirectAnswer)


async def test_a_websocket_is_closed_before_it_is_accepted(guard: Guard) -> None:
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    await guard({"type": "websocket", "path": "/ws", "headers": []}, receive, send)

    assert [("websocket.close", 1008)] == [(message["type"], message["code"]) for message in sent]


@pytest.fixture
async def port(plane: SmallPlane) -> AsyncIterator[int]:
    server = GrpcServer(plane, options=GrpcOptions(api_key=ApiKey({"shop": KEY}), health_poll=0.01))
    yield await server.start("127.0.0.1:0")
    await server.stop(0)


@pytest.fixture
async def channel(port: int) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel


def request() -> pb.ModelInferRequest:
    message = pb.ModelInferRequest(model_name="double")
    tensor = message.inputs.add(name="x", datatype="FP32", shape=[1, 4])
    tensor.contents.fp32_contents.extend([1, 2, 3, 4])
    return message


def unary(channel: grpc.aio.Channel, method: str, answer: Any) -> Any:
    return channel.unary_unary(
        method, request_serializer=lambda message: message.SerializeToString(), response_deserializer=answer.FromString
    )


async def test_a_call_without_the_key_is_unauthenticated(channel: grpc.aio.Channel, plane: SmallPlane) -> None:
    infer = unary(channel, f"/{SERVICE}/ModelInfer", pb.ModelInferResponse)

    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await infer(request())

    assert grpc.StatusCode.UNAUTHENTICATED is raised.value.code()
    assert "auth.api_key (PILLION_API_KEY)" in (raised.value.details() or "")
    assert "unauthenticated" == dict(raised.value.trailing_metadata() or ())["code"]
    assert [(ErrorCode.UNAUTHENTICATED, WireProtocol.GRPC, "")] == plane.refusals


@pytest.mark.parametrize("metadata", [("authorization", f"Bearer {KEY}"), ("x-api-key", KEY)])
async def test_a_call_with_the_key_is_answered(channel: grpc.aio.Channel, metadata: tuple[str, str]) -> None:
    infer = unary(channel, f"/{SERVICE}/ModelInfer", pb.ModelInferResponse)

    assert "double" == (await infer(request(), metadata=(metadata,))).model_name


@pytest.mark.parametrize(
    ("method", "message", "answer"),
    [
        ("/grpc.health.v1.Health/Check", health_pb2.HealthCheckRequest(), health_pb2.HealthCheckResponse),
        (f"/{SERVICE}/ServerLive", pb.ServerLiveRequest(), pb.ServerLiveResponse),
        (f"/{SERVICE}/ServerReady", pb.ServerReadyRequest(), pb.ServerReadyResponse),
        (f"/{SERVICE}/ModelReady", pb.ModelReadyRequest(name="double"), pb.ModelReadyResponse),
    ],
)
async def test_health_calls_are_open(channel: grpc.aio.Channel, method: str, message: Any, answer: Any) -> None:
    assert await unary(channel, method, answer)(message)


@pytest.mark.parametrize(
    ("method", "message", "answer"),
    [
        (f"/{SERVICE}/ModelStreamInfer", request(), pb.ModelStreamInferResponse),
        (
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
            reflection_pb2.ServerReflectionRequest(list_services=""),
            reflection_pb2.ServerReflectionResponse,
        ),
    ],
)
async def test_streams_are_refused_alike(port: int, method: str, message: Any, answer: Any) -> None:
    def called() -> grpc.StatusCode:
        # grpcio's blocking client: its asyncio one answers INTERNAL in place of the status that it was sent when a
        # message that it still had to write meets the end of the stream (``Call._write``, set_internal_error).
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            stream: Any = channel.stream_stream(
                method,
                request_serializer=lambda sent: sent.SerializeToString(),
                response_deserializer=answer.FromString,
            )
            with pytest.raises(grpc.RpcError) as raised:
                next(stream(iter([message] * 20)))
            code: grpc.StatusCode = raised.value.code()
            return code

    assert grpc.StatusCode.UNAUTHENTICATED is await asyncio.to_thread(called)


async def test_a_stream_that_waits_to_be_accepted_is_refused_alike(channel: grpc.aio.Channel) -> None:
    call: Any = channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")()

    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call.read()

    assert grpc.StatusCode.UNAUTHENTICATED is raised.value.code()


async def test_an_unknown_method_is_still_unknown(channel: grpc.aio.Channel) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await unary(channel, f"/{SERVICE}/Nothing", pb.ModelInferResponse)(request())

    assert grpc.StatusCode.UNIMPLEMENTED is raised.value.code()
