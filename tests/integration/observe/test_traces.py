"""Traces as a collector gets them: OTLP's own protobuf, from real servers over REST and gRPC."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from pillion.protocol.protos import open_inference_pb2 as pb
from pillion.runtimefile import DesiredModel, ExecutionSettings, RuntimeFile, dump
from tests.integration.observe.receivers import attributes, collector
from tests.integration.observe.slow import slow_model
from tests.integration.server.process import iris_request, served, write_config
from tests.waiting import until_now

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.observe.receivers import Collector
    from tests.integration.server.process import ServerProcess
    from tests.models import IrisModels

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"
SAMPLED = {"traceparent": f"00-{TRACE}-{CALLER}-01", "tracestate": "vendor=one,other=two"}
UNSAMPLED = {"traceparent": f"00-{TRACE}-{CALLER}-00"}
INFER = "/v2/models/iris/infer"
INFER_SPAN = "POST /v2/models/{model}/infer"
RPC_SPAN = "inference.GRPCInferenceService/ModelInfer"


@pytest.fixture
def gathered() -> Iterator[Collector]:
    with collector() as found:
        yield found


@pytest.fixture
def traced(tmp_path: Path, iris: IrisModels, gathered: Collector) -> Iterator[ServerProcess]:
    config = tmp_path / "runtime.yaml"
    # Whether requests share calls is otherwise decided by measuring, and shows in their spans.
    model = DesiredModel(name="iris", path=str(iris.onnx), execution=ExecutionSettings(batching="off"))
    config.write_text(dump(RuntimeFile(models=(model,))))
    with served(tmp_path, config, env=gathered.environment) as server:
        yield server


def ask(server: ServerProcess, headers: dict[str, str] | None = None, path: str = INFER) -> httpx.Response:
    return httpx.post(server.url(path), json=iris_request(), headers=headers)


def message() -> pb.ModelInferRequest:
    tensor = pb.ModelInferRequest.InferInputTensor(name="X", datatype="FP32", shape=[1, 4])
    tensor.contents.fp32_contents.extend([5.1, 3.5, 1.4, 0.2])
    return pb.ModelInferRequest(model_name="iris", inputs=[tensor])


def call(server: ServerProcess, metadata: dict[str, str]) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{server.ports['grpc']}") as channel:
        infer = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=pb.ModelInferRequest.SerializeToString,
            response_deserializer=pb.ModelInferResponse.FromString,
        )
        infer(message(), metadata=tuple(metadata.items()), timeout=30)


def test_a_request_over_rest_continues_the_callers_trace(traced: ServerProcess, gathered: Collector) -> None:
    assert ask(traced, SAMPLED | {"x-request-id": "mine"}).status_code == 200
    (span,) = gathered.wait_for(INFER_SPAN)
    assert (TRACE, CALLER) == (span.trace_id.hex(), span.parent_span_id.hex())
    assert span.trace_state == "vendor=one,other=two"
    assert span.kind == span.SPAN_KIND_SERVER
    assert {
        "http.request.method": "POST",
        "http.route": "/v2/models/{model}/infer",
        "http.response.status_code": 200,
        "url.path": INFER,
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "server.port": traced.ports["http"],
        "client.address": "127.0.0.1",
        "pillion.model.name": "iris",
        "pillion.model.version": "1",
        "pillion.request.id": "mine",
    }.items() <= attributes(span).items()


def test_the_parts_of_a_request_lie_in_order_inside_of_it(traced: ServerProcess, gathered: Collector) -> None:
    ask(traced, SAMPLED)
    (span,) = gathered.wait_for(INFER_SPAN)
    parts = gathered.below(span)
    names = ["pillion.decode", "pillion.admission", "pillion.compute", "pillion.encode"]
    assert set(names) == set(parts)
    moments = [span.start_time_unix_nano]
    for name in names:
        assert TRACE == parts[name].trace_id.hex()
        moments += [parts[name].start_time_unix_nano, parts[name].end_time_unix_nano]
    moments.append(span.end_time_unix_nano)
    assert sorted(moments) == moments
    assert parts["pillion.compute"].end_time_unix_nano > parts["pillion.compute"].start_time_unix_nano


def test_who_sends_is_said_as_the_environment_says(traced: ServerProcess, gathered: Collector) -> None:
    ask(traced)
    gathered.wait_for(INFER_SPAN)
    resource = gathered.resources()[0]
    assert {"service.name": "flowers", "deployment.environment": "test"}.items() <= resource.items()


def test_a_request_without_a_trace_begins_one(traced: ServerProcess, gathered: Collector) -> None:
    ask(traced)
    ask(traced)
    first, second = gathered.wait_for(INFER_SPAN, 2)
    assert first.trace_id != second.trace_id
    assert b"" == first.parent_span_id


def test_a_request_that_its_caller_does_not_sample_has_no_span(traced: ServerProcess, gathered: Collector) -> None:
    ask(traced, UNSAMPLED)
    ask(traced, SAMPLED)
    gathered.wait_for(INFER_SPAN)
    assert [CALLER] == [span.parent_span_id.hex() for span in gathered.spans() if span.name == INFER_SPAN]
    until_now(lambda: 1 == traced.counted('pillion_traces_total{result="exported"}'))  # counted once it is answered


def test_a_call_over_grpc_continues_the_callers_trace(traced: ServerProcess, gathered: Collector) -> None:
    call(traced, SAMPLED)
    (span,) = gathered.wait_for(RPC_SPAN)
    assert (TRACE, CALLER, "vendor=one,other=two") == (span.trace_id.hex(), span.parent_span_id.hex(), span.trace_state)
    assert {
        "rpc.system": "grpc",
        "rpc.service": "inference.GRPCInferenceService",
        "rpc.method": "ModelInfer",
        "rpc.grpc.status_code": 0,
        "client.address": "127.0.0.1",
        "pillion.model.name": "iris",
        "pillion.model.version": "1",
    }.items() <= attributes(span).items()
    assert {"pillion.decode", "pillion.admission", "pillion.compute", "pillion.encode"} == set(gathered.below(span))


def test_every_request_of_a_stream_has_a_span(traced: ServerProcess, gathered: Collector) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{traced.ports['grpc']}") as channel:
        stream = channel.stream_stream(
            "/inference.GRPCInferenceService/ModelStreamInfer",
            request_serializer=pb.ModelInferRequest.SerializeToString,
            response_deserializer=pb.ModelStreamInferResponse.FromString,
        )
        wrong = message()
        wrong.model_name = "nobody"
        answers = list(stream(iter([message(), wrong]), metadata=tuple(SAMPLED.items()), timeout=30))
    assert ["", True] == [answers[0].error_message, bool(answers[1].error_message)]
    good, bad = gathered.wait_for("inference.GRPCInferenceService/ModelStreamInfer", 2)
    assert (0, grpc.StatusCode.NOT_FOUND.value[0]) == (
        attributes(good)["rpc.grpc.status_code"],
        attributes(bad)["rpc.grpc.status_code"],
    )


def test_v1_has_its_route_and_a_bad_request_says_where_it_ended(traced: ServerProcess, gathered: Collector) -> None:
    httpx.post(traced.url("/v1/models/iris:predict"), json={"instances": [[5.1, 3.5, 1.4, 0.2]]})
    httpx.post(traced.url(INFER), content=b"{", headers={"content-type": "application/json"})
    (good,) = gathered.wait_for("POST /v1/models/{model}:predict")
    (bad,) = gathered.wait_for(INFER_SPAN)
    assert 200 == attributes(good)["http.response.status_code"]
    assert (400, "invalid_argument") == (
        attributes(bad)["http.response.status_code"],
        attributes(bad)["error.type"],
    )
    assert {"pillion.decode"} == set(gathered.below(bad))
    assert bad.status.code == bad.status.STATUS_CODE_UNSET  # the client's fault is no error of the server's span


def test_health_checks_are_not_traced(traced: ServerProcess, gathered: Collector) -> None:
    httpx.get(traced.url("/v2/health/ready"), headers=SAMPLED)
    ask(traced, SAMPLED)
    gathered.wait_for(INFER_SPAN)
    assert [INFER_SPAN] == [span.name for span in gathered.spans() if span.kind == span.SPAN_KIND_SERVER]


def test_durations_lead_to_the_trace_in_openmetrics_only(traced: ServerProcess, gathered: Collector) -> None:
    ask(traced, SAMPLED)
    accept = {"accept": "application/openmetrics-text; version=1.0.0"}

    def examples() -> list[dict[str, str]]:
        answer = httpx.get(traced.url("/metrics", port="admin"), headers=accept)
        assert answer.headers["content-type"].startswith("application/openmetrics-text")
        return [
            dict(sample.exemplar.labels)
            for family in text_string_to_metric_families(answer.text)  # type: ignore[no-untyped-call] # its parser has no annotations
            if family.name == "pillion_request_duration_seconds"
            for sample in family.samples
            if sample.exemplar is not None
        ]

    until_now(lambda: examples() == [{"trace_id": TRACE}])
    assert TRACE not in traced.admin("/metrics").text


def test_what_was_not_sent_yet_is_sent_at_the_end(tmp_path: Path, iris: IrisModels, gathered: Collector) -> None:
    config = tmp_path / "runtime.yaml"
    write_config(config, {"iris": iris.onnx})
    with served(tmp_path, config, env=gathered.environment | {"OTEL_BSP_SCHEDULE_DELAY": "600000"}) as server:
        ask(server, SAMPLED)
        assert [] == gathered.spans()
        server.process.terminate()
        assert 0 == server.wait()
    assert INFER_SPAN in {span.name for span in gathered.spans()}


def test_traces_that_find_no_room_are_counted_and_requests_go_on(
    tmp_path: Path, iris: IrisModels, gathered: Collector
) -> None:
    config = tmp_path / "runtime.yaml"
    write_config(config, {"iris": iris.onnx})
    narrow = {"OTEL_BSP_MAX_QUEUE_SIZE": "2", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "1"}
    gathered.received.gate.clear()
    with served(tmp_path, config, env=gathered.environment | narrow) as server:
        assert [200] * 10 == [ask(server).status_code for _ in range(10)]
        # One is under way, two wait, and the others found no room.
        until_now(lambda: server.counted('pillion_traces_total{result="dropped"}') >= 7)
        gathered.received.gate.set()


def test_a_share_of_traces_is_kept_on_the_quick_way(tmp_path: Path, iris: IrisModels, gathered: Collector) -> None:
    config = tmp_path / "runtime.yaml"
    write_config(config, {"iris": iris.onnx})
    share = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.5"}
    with served(tmp_path, config, env=gathered.environment | share) as server:
        with httpx.Client() as client:
            for _ in range(200):
                assert 200 == client.post(server.url(INFER), json=iris_request()).status_code
        server.process.terminate()
        server.wait()
    kept = len([span for span in gathered.spans() if span.name == INFER_SPAN])
    assert 60 < kept < 140  # 100 +- 5.6 standard deviations


@pytest.mark.parametrize(
    "environment",
    [{}, {"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none"}],
    ids=["unset", "disabled", "none"],
)
def test_nothing_is_sent_unless_it_is_asked_for(
    tmp_path: Path, iris: IrisModels, gathered: Collector, environment: dict[str, str]
) -> None:
    config = tmp_path / "runtime.yaml"
    write_config(config, {"iris": iris.onnx})
    asked = gathered.environment if environment else {}
    with served(tmp_path, config, env=asked | environment) as server:
        ask(server, SAMPLED)
        assert "pillion_traces" not in server.admin("/metrics").text
    assert [] == gathered.spans()


def test_without_the_extra_a_warning_names_the_command(tmp_path: Path, iris: IrisModels, gathered: Collector) -> None:
    config = tmp_path / "runtime.yaml"
    write_config(config, {"iris": iris.onnx})
    # A package of that name without the messages stands before the real one.
    hidden = tmp_path / "hidden" / "opentelemetry"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").touch()
    env = gathered.environment | {"PYTHONPATH": str(hidden.parent)}
    with served(tmp_path, config, env=env) as server:
        assert 200 == ask(server, SAMPLED).status_code
        (line,) = server.wait_logged("OpenTelemetry")
    assert line["level"] == "warning"
    assert 'pip install "pillion[tracing]"' in line["message"]


def test_lines_of_the_access_log_and_of_failures_name_the_trace(tmp_path: Path, iris: IrisModels) -> None:
    config = tmp_path / "runtime.yaml"
    write_config(config, {"iris": iris.onnx}, settings={"log": {"access": 1}})
    with served(tmp_path, config) as server:
        ask(server, UNSAMPLED)
        call(server, UNSAMPLED)

        def named() -> list[str | None]:
            lines = [line for line in server.log if line["logger"] == "pillion.access"]
            return [line.get("trace_id") for line in lines if "infer" in line["message"].lower()]

        until_now(lambda: named() == [TRACE, TRACE])


def test_tasks_are_traced_over_both_protocols(tmp_path: Path, gathered: Collector) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    config = tmp_path / "runtime.yaml"
    config.write_text(dump(RuntimeFile(models=(slow_model(),))))
    with served(tmp_path, config, env=gathered.environment) as server:
        assert 200 == httpx.post(server.url("/slow/wait"), json={"text": str(gate)}, headers=SAMPLED).status_code
        with grpc.insecure_channel(f"127.0.0.1:{server.ports['grpc']}") as channel:
            wait: Any = channel.unary_unary("/slow.SlowService/WaitPredict")
            path = str(gate).encode()
            # Field 1, length-delimited: the one argument of the task.
            wait(b"\x0a" + bytes([len(path)]) + path, metadata=tuple(SAMPLED.items()), timeout=30)
        (rest,) = gathered.wait_for("POST /{model}/{task}")
        (rpc,) = gathered.wait_for("slow.SlowService/WaitPredict")
    for span in (rest, rpc):
        assert (TRACE, CALLER) == (span.trace_id.hex(), span.parent_span_id.hex())
        assert "slow" == attributes(span)["pillion.model.name"]
        assert "pillion.compute" in gathered.below(span)
    assert "wait" == attributes(rest)["pillion.task"]


def test_requests_that_share_a_call_say_so(tmp_path: Path, iris: IrisModels, gathered: Collector) -> None:
    config = tmp_path / "runtime.yaml"
    # A delay, so that requests of several connections surely wait for each other.
    execution = ExecutionSettings(batching="on", max_batch_delay_seconds=0.5)
    model = DesiredModel(name="iris", path=str(iris.onnx), execution=execution)
    config.write_text(dump(RuntimeFile(models=(model,))))
    with served(tmp_path, config, env=gathered.environment) as server:
        with ThreadPoolExecutor(4) as pool:
            assert [200] * 4 == [answer.status_code for answer in pool.map(lambda _: ask(server), range(4))]
        spans = gathered.wait_for(INFER_SPAN, 4)
        batches = [gathered.below(span)["pillion.batch"] for span in spans]
    assert max(attributes(batch)["pillion.batch.size"] for batch in batches) > 1
    for span, batch in zip(spans, batches, strict=True):
        assert batch.end_time_unix_nano == gathered.below(span)["pillion.compute"].start_time_unix_nano
