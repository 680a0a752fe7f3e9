from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Protocol

import grpc
import grpc.aio
import msgspec
import numpy as np
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from pillion.dataplane.call import WireProtocol
from pillion.errors import ErrorCode, PillionError
from pillion.protocol.protos import open_inference_pb2 as pb
from pillion.transport.grpc.errors import GRPC_STATUS
from pillion.transport.grpc.limits import GrpcLimits
from pillion.transport.grpc.options import GrpcOptions, RpcRecord
from pillion.transport.grpc.server import GrpcServer
from pillion.transport.management_access import ManagementAccess
from tests.unit.transport.plane import SmallPlane
from tests.waiting import WITHIN, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

SERVICE = "inference.GRPCInferenceService"


class Running:
    """A server on a free port and a channel to it."""

    def __init__(
        self, plane: SmallPlane, server: GrpcServer, channel: grpc.aio.Channel, port: int, engine: str
    ) -> None:
        self.plane = plane
        self.engine = engine
        self.server = server
        self.channel = channel
        self.port = port

    def unary(self, method: str, response: Any, service: str = SERVICE) -> Any:
        return self.channel.unary_unary(
            f"/{service}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=response.FromString,
        )

    @property
    def infer(self) -> Any:
        return self.unary("ModelInfer", pb.ModelInferResponse)


class Starter(Protocol):
    """Starts a server of one engine."""

    def __call__(
        self, plane: SmallPlane, limits: GrpcLimits | None = None, options: GrpcOptions | None = None
    ) -> Awaitable[Running]: ...


@pytest.fixture(params=["grpcio", "asyncio"])
def start(request: pytest.FixtureRequest) -> Starter:
    """Every test here says what any engine does."""

    async def started(
        plane: SmallPlane, limits: GrpcLimits | None = None, options: GrpcOptions | None = None
    ) -> Running:
        engine: str = request.param
        server = GrpcServer(plane, limits, msgspec.structs.replace(options or GrpcOptions(), engine=engine))
        port = await server.start("127.0.0.1:0")
        channel = grpc.aio.insecure_channel(
            f"127.0.0.1:{port}", options=[("grpc.max_receive_message_length", -1), ("grpc.enable_retries", 0)]
        )
        return Running(plane, server, channel, port, engine)

    return started


@pytest.fixture
async def running(start: Starter) -> AsyncIterator[Running]:
    state = await start(SmallPlane(), options=GrpcOptions(health_poll=0.01))
    yield state
    state.plane.release.set()
    await state.channel.close()
    await state.server.stop(0)


def request(model: str = "double", **more: Any) -> pb.ModelInferRequest:
    message = pb.ModelInferRequest(model_name=model, **more)
    tensor = message.inputs.add(name="x", datatype="FP32", shape=[1, 4])
    tensor.contents.fp32_contents.extend([1, 2, 3, 4])
    return message


async def failure(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


def trailing(error: grpc.aio.AioRpcError) -> dict[str, Any]:
    return dict(error.trailing_metadata() or ())


async def test_typed_requests_get_typed_answers_and_raw_ones_raw(running: Running) -> None:
    typed = await running.infer(request(id="7"))
    assert ("double", "1", "7") == (typed.model_name, typed.model_version, typed.id)
    assert [2, 4, 6, 8] == list(typed.outputs[0].contents.fp32_contents)
    message = request()
    message.inputs[0].ClearField("contents")
    message.raw_input_contents.append(np.array([1, 2, 3, 4], np.float32).tobytes())
    raw = await running.infer(message)
    assert np.array([2, 4, 6, 8], np.float32).tobytes() == raw.raw_output_contents[0]


async def test_a_large_raw_tensor_comes_back_unchanged(running: Running) -> None:
    content = np.random.default_rng(0).bytes(8 * 1024 * 1024)
    message = pb.ModelInferRequest(model_name="echo", raw_input_contents=[content])
    message.inputs.add(name="x", datatype="UINT8", shape=[len(content)])
    assert content == (await running.infer(message)).raw_output_contents[0]


async def test_the_version_asked_for_answers(running: Running) -> None:
    assert "2" == (await running.infer(request(model_version="2"))).model_version


async def test_a_priority_comes_by_metadata_or_parameter_and_the_lower_one_holds(running: Running) -> None:
    await running.infer(request())
    await running.infer(request(), metadata=(("x-request-priority", "2"),))
    both = request()
    both.parameters["priority"].int64_param = 1
    await running.infer(both, metadata=(("x-request-priority", "3"),))
    assert [0, 2, 3] == [call.priority for call in running.plane.calls]
    error = await failure(running.infer(request(), metadata=(("x-request-priority", "high"),)))
    assert (grpc.StatusCode.INVALID_ARGUMENT, True) == (error.code(), "x-request-priority" in str(error.details()))


@pytest.mark.parametrize("code", list(ErrorCode))
async def test_every_error_code_has_its_status_sentence_and_metadata(running: Running, code: ErrorCode) -> None:
    running.plane.failure = PillionError(code, "sentence", remedy="remedy", retry_after=2)
    error = await failure(running.infer(request(), metadata=(("x-request-id", "abc"),)))
    assert (GRPC_STATUS[code], "sentence (remedy)") == (error.code(), error.details())
    metadata = trailing(error)
    assert (code.value, "abc", "2000") == (
        metadata["code"],
        metadata["x-request-id"],
        metadata["grpc-retry-pushback-ms"],
    )


def test_the_table_of_statuses_is_exhaustive_and_never_says_ok() -> None:
    assert set(ErrorCode) == set(GRPC_STATUS)
    assert grpc.StatusCode.OK not in GRPC_STATUS.values()


async def test_an_unexpected_failure_is_internal_without_its_text(running: Running) -> None:
    error = await failure(running.infer(request("broken")))
    assert grpc.StatusCode.INTERNAL is error.code()
    assert "secret" not in str(error.details())


async def test_an_unknown_model_is_not_found(running: Running) -> None:
    error = await failure(running.infer(request("none")))
    assert grpc.StatusCode.NOT_FOUND is error.code()
    assert str(error.details()).startswith("Request for unknown model")


async def test_bytes_that_are_no_message_are_an_invalid_argument(running: Running) -> None:
    call: Any = running.channel.unary_unary(f"/{SERVICE}/ModelInfer")
    assert grpc.StatusCode.INVALID_ARGUMENT is (await failure(call(b"\xff\xff"))).code()
    call = running.channel.unary_unary(f"/{SERVICE}/ModelMetadata")
    assert grpc.StatusCode.INVALID_ARGUMENT is (await failure(call(b"\xff\xff"))).code()


async def test_the_callers_deadline_reaches_the_data_plane(running: Running) -> None:
    now = asyncio.get_running_loop().time()
    await running.infer(request(), timeout=30)
    await running.infer(request())
    first, second = (call.deadline for call in running.plane.calls)
    assert first is not None
    assert 25 < first - now < 60
    assert second is None


async def test_cancelling_and_running_out_of_time_end_the_call_in_the_data_plane(running: Running) -> None:
    call = running.infer(request("slow"))
    await until(running.plane.entered.is_set)
    call.cancel()
    await until(lambda: running.plane.cancelled == 1)
    error = await failure(running.infer(request("slow"), timeout=0.5))
    assert grpc.StatusCode.DEADLINE_EXCEEDED is error.code()
    await until(lambda: running.plane.cancelled == 2)


async def test_a_request_id_is_taken_and_echoed(running: Running) -> None:
    given = running.infer(request(), metadata=(("x-request-id", "abc"),))
    assert "abc" == dict(await given.trailing_metadata())["x-request-id"]
    assert "abc" == running.plane.calls[0].request_id


async def test_a_request_id_is_made_where_none_is_fit_and_told_with_failures(running: Running) -> None:
    await running.infer(request(), metadata=(("x-request-id", "not safe to log"),))
    error = await failure(running.infer(request("broken")))
    first, second = (call.request_id for call in running.plane.calls)
    assert (32, 32, second) == (len(first), len(second), trailing(error)["x-request-id"])
    assert first != second


async def test_a_stream_answers_each_request_in_order_and_survives_a_bad_one(running: Running) -> None:
    call: Any = running.channel.stream_stream(
        f"/{SERVICE}/ModelStreamInfer",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=pb.ModelStreamInferResponse.FromString,
    )

    async def requests() -> AsyncIterator[pb.ModelInferRequest]:
        for index, model in enumerate(["double", "none", "broken", "double"]):
            yield request(model, id=str(index))

    answers = [answer async for answer in call(requests())]
    assert ["0", "1", "2", "3"] == [answer.infer_response.id for answer in answers]
    assert [True, False, False, True] == [not answer.error_message for answer in answers]
    assert answers[1].error_message.startswith("Request for unknown model")


async def test_server_and_models_describe_themselves(running: Running) -> None:
    live = await running.unary("ServerLive", pb.ServerLiveResponse)(pb.ServerLiveRequest())
    ready = await running.unary("ServerReady", pb.ServerReadyResponse)(pb.ServerReadyRequest())
    server = await running.unary("ServerMetadata", pb.ServerMetadataResponse)(pb.ServerMetadataRequest())
    model = await running.unary("ModelMetadata", pb.ModelMetadataResponse)(pb.ModelMetadataRequest(name="double"))
    assert (True, True, "pillion") == (live.live, ready.ready, server.name)
    assert (["1", "2"], "test_double", "FP32", [-1, 4]) == (
        list(model.versions),
        model.platform,
        model.inputs[0].datatype,
        list(model.inputs[0].shape),
    )
    model_ready = running.unary("ModelReady", pb.ModelReadyResponse)
    assert [True, False] == [
        (await model_ready(pb.ModelReadyRequest(name=name))).ready for name in ("double", "loading")
    ]
    index = await running.unary("RepositoryIndex", pb.RepositoryIndexResponse)(pb.RepositoryIndexRequest(ready=True))
    assert "loading" not in {entry.name for entry in index.models}


async def test_the_configuration_says_rows_apart_from_the_shape(running: Running) -> None:
    config = running.unary("ModelConfig", pb.ModelConfigResponse)
    told = (await config(pb.ModelConfigRequest(name="double"))).config

    assert ("double", "test_double", True) == (told.name, told.platform, told.max_batch_size > 0)
    assert [("x", pb.DataType.Value("TYPE_FP32"), [4])] == [(i.name, i.data_type, list(i.dims)) for i in told.input]
    assert grpc.StatusCode.NOT_FOUND is (await failure(config(pb.ModelConfigRequest(name="none")))).code()


async def test_an_output_may_be_asked_for_as_its_best_classes_every_time(running: Running) -> None:
    message = request()
    message.inputs[0].ClearField("contents")
    message.raw_input_contents.append(np.array([1, 2, 3, 4], np.float32).tobytes())
    message.outputs.add(name="y").parameters["classification"].int64_param = 1

    answers = [await running.infer(message) for _ in range(3)]

    assert [("BYTES", [1, 1], b"\x0a\0\0\x008.000000:3")] * 3 == [
        (answer.outputs[0].datatype, list(answer.outputs[0].shape), answer.raw_output_contents[0]) for answer in answers
    ]


async def test_a_timeout_in_the_parameters_is_a_deadline(running: Running) -> None:
    message = request()
    message.parameters["timeout"].int64_param = 200_000_000
    before = time.monotonic()

    await running.infer(message)
    await running.infer(message, timeout=100)

    assert pytest.approx([200, 100], abs=40) == [(call.deadline or 0) - before for call in running.plane.calls]


async def test_statistics_are_in_nanoseconds(running: Running) -> None:
    statistics = running.unary("ModelStatistics", pb.ModelStatisticsResponse)
    (told,) = (await statistics(pb.ModelStatisticsRequest(name="double", version="2"))).model_stats

    assert ("double", "2", 1700000000500, 3, 2) == (
        told.name, told.version, told.last_inference, told.inference_count, told.execution_count,
    )  # fmt: skip
    assert (3, 6_000_000) == (told.inference_stats.success.count, told.inference_stats.success.ns)
    assert [(1, 1_000_000), (2, 2_000_000)] == [(b.batch_size, b.compute_infer.ns) for b in told.batch_stats]
    assert grpc.StatusCode.NOT_FOUND is (await failure(statistics(pb.ModelStatisticsRequest(name="none")))).code()


async def test_statistics_of_no_name_are_those_of_all_models(running: Running) -> None:
    statistics = running.unary("ModelStatistics", pb.ModelStatisticsResponse)

    told = (await statistics(pb.ModelStatisticsRequest())).model_stats

    assert {("double", "1"), ("double", "2"), ("table", "1")} <= {(one.name, one.version) for one in told}


@pytest.mark.parametrize(
    "method", ["SystemSharedMemoryRegister", "CudaSharedMemoryStatus", "SystemSharedMemoryUnregister"]
)
async def test_shared_memory_is_refused_with_what_to_do_instead(running: Running, method: str) -> None:
    error = await failure(running.unary(method, pb.ModelReadyResponse)(pb.ModelReadyRequest(name="region")))

    assert grpc.StatusCode.UNIMPLEMENTED is error.code()
    assert "send tensors as binary data" in (error.details() or "")


async def test_management_is_denied_with_the_setting_until_it_is_enabled(running: Running, start: Starter) -> None:
    load = running.unary("RepositoryModelLoad", pb.RepositoryModelLoadResponse)
    error = await failure(load(pb.RepositoryModelLoadRequest(model_name="double")))
    assert grpc.StatusCode.PERMISSION_DENIED is error.code()
    assert "management.enabled" in str(error.details())
    open_ = await start(SmallPlane(), options=GrpcOptions(management=ManagementAccess(enabled=True)))
    load = open_.unary("RepositoryModelLoad", pb.RepositoryModelLoadResponse)
    unload = open_.unary("RepositoryModelUnload", pb.RepositoryModelUnloadResponse)
    assert (await load(pb.RepositoryModelLoadRequest(model_name="double"))).isLoaded
    assert (await unload(pb.RepositoryModelUnloadRequest(repository_name="echo"))).isUnloaded
    assert (["double"], ["echo"]) == (open_.plane.loaded, open_.plane.unloaded)
    await open_.channel.close()
    await open_.server.stop(0)


async def test_health_follows_the_data_plane_and_the_drain(running: Running) -> None:
    check = running.unary("Check", health_pb2.HealthCheckResponse, "grpc.health.v1.Health")

    async def state(service: str) -> int:
        answer: health_pb2.HealthCheckResponse = await check(health_pb2.HealthCheckRequest(service=service))
        return answer.status

    assert [1, 1, 1, 2] == [await state(name) for name in ("", SERVICE, "double", "loading")]
    unknown = await failure(check(health_pb2.HealthCheckRequest(service="none")))
    assert grpc.StatusCode.NOT_FOUND is unknown.code()
    running.plane.is_ready = False
    assert [2, 2, 1] == [await state(name) for name in ("", SERVICE, "double")]
    running.plane.is_ready = True
    running.server.mark_draining()
    assert [2, 2, 1] == [await state(name) for name in ("", SERVICE, "double")]


async def test_a_health_watch_tells_each_change_once(running: Running) -> None:
    watch: Any = running.channel.unary_stream(
        "/grpc.health.v1.Health/Watch",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    async with asyncio.timeout(WITHIN):
        call = watch(health_pb2.HealthCheckRequest())
        unknown = watch(health_pb2.HealthCheckRequest(service="none"))
        told = [(await call.read()).status]
        running.plane.is_ready = False
        told.append((await call.read()).status)
        running.plane.is_ready = True
        told.append((await call.read()).status)
        assert [1, 2, 1] == told
        assert health_pb2.HealthCheckResponse.SERVICE_UNKNOWN == (await unknown.read()).status
    call.cancel()
    unknown.cancel()


@pytest.mark.parametrize("package", ["grpc.reflection.v1", "grpc.reflection.v1alpha"])
async def test_reflection_lists_services_and_gives_their_files(running: Running, package: str) -> None:
    call: Any = running.channel.stream_stream(
        f"/{package}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    question = reflection_pb2.ServerReflectionRequest
    questions = [
        question(list_services=""),
        question(file_containing_symbol=f"{SERVICE}.ModelInfer"),
        question(file_containing_symbol="grpc.reflection.v1.ServerReflectionRequest"),
        question(file_by_filename="grpc/health/v1/health.proto"),
        question(file_containing_symbol="no.such.Thing"),
        question(file_by_filename="no.proto"),
    ]
    answers = [answer async for answer in call(iter(questions))]
    services = [service.name for service in answers[0].list_services_response.service]
    assert [
        SERVICE,
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    ] == services
    assert [1, 1] == [len(answer.file_descriptor_response.file_descriptor_proto) for answer in answers[1:3]]
    assert [5, 5] == [answer.error_response.error_code for answer in answers[4:]]


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
async def test_the_limit_is_that_of_the_expanded_message(compression: grpc.Compression, start: Starter) -> None:
    small = await start(SmallPlane(), GrpcLimits(max_message_bytes=100_000))
    answers = []
    for size in (90_000, 200_000):
        message = pb.ModelInferRequest(model_name="echo", raw_input_contents=[bytes(size)])
        message.inputs.add(name="x", datatype="UINT8", shape=[size])
        call = small.infer(message, compression=compression)
        answers.append(await call.code())
    assert [grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED] == answers
    await small.channel.close()
    await small.server.stop(0)


async def test_a_message_beyond_the_limit_and_a_call_too_many_are_resource_exhausted(start: Starter) -> None:
    small = await start(SmallPlane(), GrpcLimits(max_message_bytes=1000, max_concurrent_rpcs=1))
    message = pb.ModelInferRequest(model_name="echo", raw_input_contents=[bytes(2000)])
    assert grpc.StatusCode.RESOURCE_EXHAUSTED is (await failure(small.infer(message))).code()
    first = asyncio.ensure_future(small.infer(request("slow")))
    async with asyncio.timeout(WITHIN):
        await small.plane.entered.wait()
        assert grpc.StatusCode.RESOURCE_EXHAUSTED is (await failure(small.infer(request()))).code()
        small.plane.release.set()
        assert "slow" == (await first).model_name
    await small.channel.close()
    await small.server.stop(0)


async def test_a_port_in_use_is_an_os_error_with_the_address(running: Running) -> None:
    with pytest.raises(OSError, match=f"127.0.0.1:{running.port}"):
        await GrpcServer(SmallPlane()).start(f"127.0.0.1:{running.port}")


async def test_servers_share_a_port_where_they_are_to_and_not_where_they_are_not(start: Starter) -> None:
    shared = GrpcLimits(shared_port=True)
    first = await start(SmallPlane(), shared)
    second = GrpcServer(SmallPlane(), shared, GrpcOptions(engine=first.engine))
    assert first.port == await second.start(f"127.0.0.1:{first.port}")
    with pytest.raises(OSError, match="in use"):
        await GrpcServer(SmallPlane(), options=GrpcOptions(engine=first.engine)).start(f"127.0.0.1:{first.port}")
    await second.stop(0)
    assert "double" == (await first.infer(request(), wait_for_ready=True, timeout=WITHIN)).model_name
    await first.channel.close()
    await first.server.stop(0)


async def test_connections_age_out_and_calls_in_progress_are_finished(start: Starter) -> None:
    aging = await start(SmallPlane(), GrpcLimits(max_connection_age=0.2))
    slow = asyncio.ensure_future(aging.infer(request("slow")))
    async with asyncio.timeout(WITHIN):
        await aging.plane.entered.wait()
        for _ in range(50):
            await aging.infer(request())
            await asyncio.sleep(0.01)
        aging.plane.release.set()
        assert "slow" == (await slow).model_name
    await aging.channel.close()
    await aging.server.stop(0)


async def test_stopping_lets_calls_in_progress_end_in_their_grace(start: Starter) -> None:
    stopping = await start(SmallPlane())
    slow = asyncio.ensure_future(stopping.infer(request("slow")))
    async with asyncio.timeout(WITHIN):
        await stopping.plane.entered.wait()
        ended = asyncio.create_task(stopping.server.stop(WITHIN))
        await asyncio.sleep(0.05)
        stopping.plane.release.set()
        assert "slow" == (await slow).model_name
        await ended
    await stopping.channel.close()


async def test_stops_that_meet_end_the_server_once(start: Starter) -> None:
    # grpc.aio itself dies of a segmentation fault here: a stop whose grace runs out finds the server freed by another.
    async with asyncio.timeout(WITHIN):
        for _ in range(50):
            stopping = await start(SmallPlane())
            await stopping.infer(request())
            stop = stopping.server.stop
            await asyncio.gather(stop(WITHIN), stop(0), stop(0.001), stop(0))
            await stop(0)
            await stopping.channel.close()


async def test_a_second_stop_cuts_short_the_grace_of_the_first(start: Starter) -> None:
    stopping = await start(SmallPlane())
    slow = asyncio.ensure_future(stopping.infer(request("slow")))
    async with asyncio.timeout(WITHIN):
        await stopping.plane.entered.wait()
        ended = asyncio.create_task(stopping.server.stop(10 * WITHIN))
        await stopping.server.stop(0)
        await ended
        with pytest.raises((grpc.aio.AioRpcError, asyncio.CancelledError)):
            await slow
    await stopping.channel.close()


async def test_each_call_is_recorded_with_its_status(start: Starter) -> None:
    records: list[RpcRecord] = []
    recorded = await start(SmallPlane(), options=GrpcOptions(on_answer=records.append))
    await recorded.infer(request(), metadata=(("x-request-id", "a"),))
    await failure(recorded.infer(request("none")))
    assert [("a", "ModelInfer", "OK", ""), ("NOT_FOUND", "unknown_model")] == [
        (records[0].request_id, records[0].method, records[0].status, records[0].code),
        (records[1].status, records[1].code),
    ]
    await recorded.channel.close()
    await recorded.server.stop(0)


async def test_a_message_that_cannot_be_used_is_counted_under_its_model(running: Running) -> None:
    wrong = request()
    wrong.inputs[0].datatype = "FP99"
    with pytest.raises(grpc.aio.AioRpcError):
        await running.infer(wrong)
    assert [(ErrorCode.INVALID_ARGUMENT, WireProtocol.GRPC, "double")] == running.plane.refusals
