"""Tasks whose clients send item by item: over gRPC in all its kinds, and over WebSocket."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import httpx
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from openapi_spec_validator import validate
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.engines import ENGINE_VARIABLE, ENGINES
from tests.integration.own_python.program import serving
from tests.waiting import until_now

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
    from pathlib import Path

    from tests.integration.own_python.program import Program

SERVICE = """
import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

from pillion import File, Model, task


class Talk(Model):
    def load(self):
        self.ends = []

    @task
    def join(self, words: Iterator[str], glue: str = " ") -> str:
        "In a thread."
        return glue.join(words)

    @task
    async def total(self, numbers: AsyncIterator[int]) -> int:
        with self.told("total"):
            return sum([number async for number in numbers])

    @task
    async def wait(self, word: str) -> str:
        with self.told("wait"):
            await asyncio.Event().wait()

    @task
    async def begin(self, word: str) -> AsyncIterator[str]:
        with self.told("begin"):
            yield word
            await asyncio.Event().wait()

    @contextlib.contextmanager
    def told(self, name):
        self.ends.append(f"{name} begun")
        try:
            yield
        except BaseException:  # cancelled, or told that the caller left by what it reads from
            self.ends.append(name)
            raise

    @task
    async def echo(self, words: AsyncIterator[str], times: int = 1) -> AsyncIterator[str]:
        with self.told("echo"):
            async for word in words:
                for _ in range(times):
                    yield word

    @task
    def shout(self, words: Iterator[str]) -> Iterator[str]:
        for word in words:
            if word == "fail":
                raise RuntimeError("hoarse")
            yield word.upper()

    @task
    def sizes(self, chunks: Iterator[bytes]) -> list[int]:
        return [len(chunk) for chunk in chunks]

    @task
    async def spell(self, word: str) -> AsyncIterator[str]:
        for letter in word:
            yield letter

    @task
    async def seen(self) -> list[str]:
        return self.ends
"""


@pytest.fixture(scope="module", params=ENGINES)
def program(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Program]:
    folder: Path = tmp_path_factory.mktemp("talk")
    (folder / "service.py").write_text(SERVICE)
    with serving(folder, "service.py:Talk", **{ENGINE_VARIABLE: request.param}) as program:
        yield program


class Service:
    """The service as a client learns it by reflection."""

    def __init__(self, channel: grpc.aio.Channel, address: str) -> None:
        self._channel = channel
        with grpc.insecure_channel(address) as plain:
            database = ProtoReflectionDescriptorDatabase(plain)
            assert "talk.TalkService" in database.get_services()
            self._pool = descriptor_pool.DescriptorPool(database)
            self.methods: dict[str, Any] = {
                method.name: method for method in self._pool.FindServiceByName("talk.TalkService").methods
            }

    def kind(self, name: str) -> tuple[bool, bool]:
        shown = descriptor_pb2.MethodDescriptorProto()
        self.methods[name].CopyToProto(shown)
        return shown.client_streaming, shown.server_streaming

    def call(
        self,
        name: str,
        messages: Sequence[dict[str, Any]],
        *metadata: tuple[str, str],
        timeout: float = 60.0,
        ends: bool = True,
    ) -> Any:
        """Begin a call; a client that streams and does not end its side leaves it open."""
        method = self.methods[name]
        request = message_factory.GetMessageClass(method.input_type)
        response = message_factory.GetMessageClass(method.output_type)
        kinds = {
            (False, False): "unary_unary",
            (False, True): "unary_stream",
            (True, False): "stream_unary",
            (True, True): "stream_stream",
        }
        made = getattr(self._channel, kinds[self.kind(name)])(
            f"/talk.TalkService/{name}",
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )
        sent = [json_format.ParseDict(message, request()) for message in messages]

        async def items() -> AsyncIterator[Any]:
            for one in sent:
                yield one
            if not ends:
                await asyncio.Event().wait()

        return made(items() if self.kind(name)[0] else sent[0], timeout=timeout, metadata=metadata)


@pytest.fixture
async def service(program: Program) -> AsyncIterator[Service]:
    address = f"127.0.0.1:{program.ports['grpc']}"
    async with grpc.aio.insecure_channel(address) as channel:
        yield await asyncio.to_thread(Service, channel, address)


async def collected(call: Any, found: list[Any]) -> None:
    """Keep the results of a call."""
    async for one in call:
        found.append(one.result)  # noqa: PERF401 - those before a failure are wanted


async def test_the_four_kinds_are_told_by_reflection(service: Service) -> None:
    kinds = {name: service.kind(name) for name in service.methods}
    assert {
        "ClientStreamingJoinPredict": (True, False), "ClientStreamingTotalPredict": (True, False),
        "BidiStreamingEchoPredict": (True, True), "BidiStreamingShoutPredict": (True, True),
        "ClientStreamingSizesPredict": (True, False), "ServerStreamingSpellPredict": (False, True),
        "SeenPredict": (False, False), "WaitPredict": (False, False), "ServerStreamingBeginPredict": (False, True),
    } == kinds  # fmt: skip


async def test_a_stream_of_the_client_is_answered_at_its_end(service: Service) -> None:
    answer = await service.call(
        "ClientStreamingJoinPredict", [{"words": "a", "glue": "-"}, {"words": ""}, {"words": "b"}]
    )
    assert "a--b" == answer.result
    assert 6 == (await service.call("ClientStreamingTotalPredict", [{"numbers": n} for n in (1, 2, 3)])).result
    assert 0 == (await service.call("ClientStreamingTotalPredict", [])).result


async def test_both_sides_stream(service: Service) -> None:
    found = [one.result async for one in service.call("BidiStreamingShoutPredict", [{"words": "a"}, {"words": "b"}])]
    assert ["A", "B"] == found
    spelt = [one.result async for one in service.call("ServerStreamingSpellPredict", [{"word": "abc"}])]
    assert ["a", "b", "c"] == spelt


@pytest.mark.parametrize(
    ("name", "messages", "code", "sentence"),
    [
        ("ClientStreamingTotalPredict", [{"numbers": 1}, {}], grpc.StatusCode.INVALID_ARGUMENT, "numbers: is missing"),
        ("ServerStreamingSpellPredict", [{}], grpc.StatusCode.INVALID_ARGUMENT, "word: is missing"),
    ],
)
async def test_what_is_wrong_with_an_item_ends_the_call(
    service: Service, name: str, messages: list[dict[str, Any]], code: grpc.StatusCode, sentence: str
) -> None:
    call = service.call(name, messages)
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await (collected(call, []) if hasattr(call, "__aiter__") else call)
    assert code == failure.value.code()
    assert sentence in str(failure.value.details())


@pytest.mark.parametrize("name", ["SeenPredict", "ServerStreamingSpellPredict", "ClientStreamingTotalPredict"])
async def test_tasks_heed_the_priority_of_the_metadata(service: Service, name: str) -> None:
    messages: dict[str, dict[str, Any]] = {
        "ServerStreamingSpellPredict": {"word": "abc"},
        "ClientStreamingTotalPredict": {"numbers": 1},
    }
    call = service.call(name, [messages.get(name, {})], ("x-request-priority", "first"))
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await (collected(call, []) if hasattr(call, "__aiter__") else call)
    assert grpc.StatusCode.INVALID_ARGUMENT == failure.value.code()
    assert "x-request-priority: must be a whole number" in str(failure.value.details())


async def test_a_websocket_heeds_the_priority_of_its_header(program: Program) -> None:
    with pytest.raises(InvalidStatus) as refusal:
        await connect(url(program, "/echo"), proxy=None, additional_headers={"x-request-priority": "first"})
    assert 400 == refusal.value.response.status_code


async def test_a_failure_comes_after_the_items_before_it(service: Service) -> None:
    call = service.call("BidiStreamingShoutPredict", [{"words": "a"}, {"words": "fail"}])
    found: list[Any] = []
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await collected(call, found)
    assert (["A"], grpc.StatusCode.INTERNAL) == (found, failure.value.code())


OPEN: dict[str, tuple[str, dict[str, Any]]] = {
    "wait": ("WaitPredict", {"word": "a"}),
    "begin": ("ServerStreamingBeginPredict", {"word": "a"}),
    "total": ("ClientStreamingTotalPredict", {"numbers": 1}),
    "echo": ("BidiStreamingEchoPredict", {"words": "a"}),
}
"""Tasks of each kind that go on until somebody ends them."""


async def ended(service: Service, name: str) -> int:
    """How many calls of a task did not come to their end; with "begun" behind its name, how many came there."""
    return list((await service.call("SeenPredict", [{}])).result).count(name)


@pytest.mark.parametrize("task", OPEN)
async def test_a_deadline_ends_a_call_of_any_kind_and_its_code(program: Program, service: Service, task: str) -> None:
    name, message = OPEN[task]
    await nothing_runs(program)
    before = await ended(service, task)
    call = service.call(name, [message], timeout=2, ends=False)
    found: list[Any] = []
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await (collected(call, found) if hasattr(call, "__aiter__") else call)
    assert grpc.StatusCode.DEADLINE_EXCEEDED == failure.value.code()
    assert (["a"] if hasattr(call, "__aiter__") else []) == found
    await until(lambda: ended(service, task), before + 1)


@pytest.mark.parametrize("task", OPEN)
async def test_a_client_that_cancels_ends_a_call_of_any_kind_and_its_code(
    program: Program, service: Service, task: str
) -> None:
    name, message = OPEN[task]
    await nothing_runs(program)
    before, begun = await ended(service, task), await ended(service, f"{task} begun")
    call = service.call(name, [message], ends=False)
    if hasattr(call, "__aiter__"):
        assert "a" == (await call.read()).result
    else:
        await until(lambda: ended(service, f"{task} begun"), begun + 1)
    call.cancel()
    await until(lambda: ended(service, task), before + 1)
    await nothing_runs(program)


async def nothing_runs(program: Program) -> None:
    """Wait until the calls of the tests before have ended, and are counted."""
    await asyncio.to_thread(until_now, lambda: program.gauge("pillion_in_flight") == 0)


async def until(look: Callable[[], Awaitable[int]], number: int) -> None:
    """Ask until the answer is this number."""
    async with asyncio.timeout(60):
        while await look() != number:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.02)


def url(program: Program, path: str) -> str:
    return f"ws://127.0.0.1:{program.ports['http']}{path}"


async def test_a_websocket_sends_items_and_is_answered_by_items(program: Program) -> None:
    async with connect(url(program, "/echo"), proxy=None) as socket:
        await socket.send(json.dumps({"times": 2}))
        for word in ("a", "b"):
            await socket.send(json.dumps({"words": word}))
            assert [word, word] == [json.loads(await socket.recv()) for _ in range(2)]
        await socket.send("")
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert 1000 == socket.close_code


@pytest.mark.parametrize(
    ("path", "messages", "answer"),
    [
        ("/join", ['{"words": "a", "glue": "-"}', '{"words": "b"}', "null"], "a-b"),
        ("/talk/total", ['{"numbers": 1}', '{"numbers": 2}', ""], 3),
        ("/total", [""], 0),
        ("/api/v1/task/join", ['{"inputs": "a", "parameters": {"glue": "-"}}', '{"inputs": "b"}', ""], "a-b"),
        ("/api/v1/task/client-streaming-join", ['{"inputs": "a"}', '{"inputs": "b"}', ""], "a b"),
        ("/sizes", [b"abc", b"de", ""], [3, 2]),
    ],
)
async def test_a_websocket_is_answered_once_where_only_it_streams(
    program: Program, path: str, messages: list[str | bytes], answer: object
) -> None:
    async with connect(url(program, path), proxy=None) as socket:
        for message in messages:
            await socket.send(message)
        assert answer == json.loads(await socket.recv())
        await socket.wait_closed()
        assert 1000 == socket.close_code


async def test_a_stream_of_the_server_comes_over_websocket_too(program: Program) -> None:
    async with connect(url(program, "/spell"), proxy=None) as socket:
        await socket.send('{"word": "abc"}')
        assert ["a", "b", "c"] == [json.loads(message) async for message in socket]


@pytest.mark.parametrize(
    ("path", "messages", "status", "sentence"),
    [
        ("/total", ['{"numbers": 1}', '{"numbers": "x"}'], 422, "numbers: should be a valid integer"),
        ("/total", ["{"], 400, "the message is not valid JSON"),
        ("/total", ['{"numbers": 1}', "[1]"], 400, "the message: should be a JSON object"),
        ("/join", ['{"words": "a", "glu": "-"}'], 422, "glu: task 'join' has no such parameter; it has: glue, words"),
        ("/shout", ['{"words": "fail"}'], 500, "RuntimeError: hoarse"),
    ],
)
async def test_a_failure_is_a_message_and_a_code(
    program: Program, path: str, messages: list[str], status: int, sentence: str
) -> None:
    async with connect(url(program, path), proxy=None) as socket:
        for message in messages:
            await socket.send(message)
        answer = json.loads(await socket.recv())
        assert status == answer["code"]
        assert sentence in answer["details"]
        await socket.wait_closed()
        assert 4000 + status == socket.close_code


async def test_a_path_without_a_task_is_no_connection(program: Program) -> None:
    with pytest.raises(InvalidStatus) as refusal:
        await connect(url(program, "/nothing"), proxy=None)
    assert 404 == refusal.value.response.status_code
    assert "there is no task 'nothing'" in json.loads(refusal.value.response.body or b"{}")["details"]


async def test_clients_that_leave_end_their_calls(program: Program, service: Service) -> None:
    for path in ("/echo", "/shout"):
        async with connect(url(program, path), proxy=None) as socket:
            await socket.send('{"words": "a"}')
            await socket.recv()
    call = service.call("BidiStreamingEchoPredict", [{"words": "a"}] * 100)
    async for _ in call:
        call.cancel()
        break
    await asyncio.to_thread(
        until_now, lambda: program.gauge("pillion_in_flight") == program.gauge("pillion_abandoned_calls") == 0
    )


def test_a_post_is_told_how_to_stream(program: Program) -> None:
    status, answer = program.curl("/join", {"glue": "-"})
    assert 400 == status
    assert "words: task 'join' is sent these one by one (connect to this path by WebSocket" in answer["details"]


def test_the_envelope_takes_the_names_of_caikit(program: Program) -> None:
    answer = httpx.post(program.url("/api/v1/task/server-streaming-spell"), json={"inputs": "ab"}, trust_env=False)
    assert 'event: message\ndata: "a"\n\nevent: message\ndata: "b"\n\n' == answer.text


def test_the_documentation_describes_what_can_be_posted(program: Program) -> None:
    _, document = program.curl("/openapi.json")
    validate(document)
    assert {"/spell", "/seen"} <= document["paths"].keys()
    assert "/join" not in document["paths"]
    schema = document["paths"]["/spell"]["post"]["responses"]["200"]["content"]["text/event-stream"]["schema"]
    data = [event["properties"]["data"]["contentSchema"] for event in schema["oneOf"]]
    assert [{"type": "string"}, {"$ref": "#/components/schemas/TaskError"}] == data
