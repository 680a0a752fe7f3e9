"""The log of payloads at a real sink, read by the CloudEvents SDK."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import time
from typing import TYPE_CHECKING, Any

import grpc
import httpx
import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event

from pillion.protocol.protos import open_inference_pb2 as pb
from pillion.server.failures import ExitCode
from tests.certificates import Authority
from tests.integration.observe.receivers import receiver
from tests.integration.server.process import command, iris_request, served, write_config
from tests.waiting import until_now

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.observe.receivers import Received
    from tests.models import IrisModels

INFER = "/v2/models/iris/infer"
REQUEST = "org.kubeflow.serving.inference.request"
RESPONSE = "org.kubeflow.serving.inference.response"


@pytest.fixture
def sink() -> Iterator[Received]:
    with receiver() as received:
        yield received


def logger(sink: Received, **settings: Any) -> dict[str, Any]:
    """Settings of a server whose payloads go to the sink, as the operator writes them."""
    own = {
        "url": f"{sink.url}/log?of=iris",
        "service": "iris",
        "namespace": "flowers",
        "allow_loopback": True,
        "connections": 1,
    }
    return {"logger": own | settings}


def config_of(folder: Path, iris: IrisModels, settings: dict[str, Any]) -> Path:
    path = folder / "runtime.yaml"
    write_config(path, {"iris": iris.onnx}, settings=settings)
    return path


def events(sink: Received, count: int) -> list[Any]:
    """So many events, once they are there, as the SDK reads them."""
    until_now(lambda: len(sink.requests) >= count)
    return [from_http_event(HTTPMessage(headers, body)) for _, headers, body in sink.requests]


def extensions(event: Any) -> dict[str, Any]:
    return {
        name: event.get_extension(name)
        for name in ("inferenceservicename", "namespace", "component", "endpoint", "metadata", "annotations")
    }


@pytest.mark.parametrize("encoding", ["binary", "structured"])
def test_a_prediction_is_two_events_with_kserves_attributes(
    tmp_path: Path, iris: IrisModels, sink: Received, encoding: str
) -> None:
    settings = logger(
        sink, encoding=encoding, metadata_headers=["X-Team", "Authorization"], annotations=["owner=Grün & Co, 100%"]
    )
    with served(tmp_path, config_of(tmp_path, iris, settings)) as server:
        headers = {"x-request-id": "mine", "x-team": "iris", "authorization": "Bearer secret"}
        answer = httpx.post(server.url(INFER), json=iris_request(), headers=headers)
        asked, answered = events(sink, 2)
    assert (REQUEST, RESPONSE) == (asked.get_type(), answered.get_type())
    assert ("mine", "mine") == (asked.get_id(), answered.get_id())
    assert socket.gethostname() == asked.get_source()
    assert {
        "inferenceservicename": "iris",
        "namespace": "flowers",
        "component": "predictor",
        "endpoint": "default",
        "metadata": json.dumps({"X-Team": ["iris"]}),
        "annotations": json.dumps({"owner": "Grün & Co, 100%"}),
    } == extensions(asked)
    assert "application/json" == asked.get_datacontenttype()
    assert abs(time.time() - asked.get_time().timestamp()) < 60
    assert (iris_request(), answer.json()) == (asked.get_data(), answered.get_data())
    assert ["/log?of=iris"] * 2 == [path for path, _, _ in sink.requests]


def test_the_callers_event_id_is_kept(tmp_path: Path, iris: IrisModels, sink: Received) -> None:
    with served(tmp_path, config_of(tmp_path, iris, logger(sink, mode="request"))) as server:
        httpx.post(server.url(INFER), json=iris_request(), headers={"ce-id": "theirs"})
        (event,) = events(sink, 1)
    assert "theirs" == event.get_id()


@pytest.mark.parametrize(("mode", "kinds"), [("request", [REQUEST]), ("response", [RESPONSE])])
def test_a_mode_is_one_of_the_two(
    tmp_path: Path, iris: IrisModels, sink: Received, mode: str, kinds: list[str]
) -> None:
    with served(tmp_path, config_of(tmp_path, iris, logger(sink, mode=mode))) as server:
        httpx.post(server.url(INFER), json=iris_request())
        server.process.terminate()
        server.wait()  # what waits is sent before the end
    assert kinds == [event.get_type() for event in events(sink, 1)]


def test_an_answer_that_is_no_prediction_is_not_sent(tmp_path: Path, iris: IrisModels, sink: Received) -> None:
    with served(tmp_path, config_of(tmp_path, iris, logger(sink))) as server:
        refused = httpx.post(server.url(INFER), content=b"{", headers={"content-type": "application/json"})
        httpx.get(server.url("/v2/models/iris"))
        server.process.terminate()
        server.wait()
    assert 400 == refused.status_code
    assert [(REQUEST, b"{")] == [(headers["ce-type"], body) for _, headers, body in sink.requests]


@pytest.mark.parametrize("encoding", ["binary", "structured"])
def test_a_call_over_grpc_is_sent_as_its_messages(
    tmp_path: Path, iris: IrisModels, sink: Received, encoding: str
) -> None:
    tensor = pb.ModelInferRequest.InferInputTensor(name="X", datatype="FP32", shape=[1, 4])
    tensor.contents.fp32_contents.extend([5.1, 3.5, 1.4, 0.2])
    message = pb.ModelInferRequest(model_name="iris", inputs=[tensor])
    with served(tmp_path, config_of(tmp_path, iris, logger(sink, encoding=encoding))) as server:
        with grpc.insecure_channel(f"127.0.0.1:{server.ports['grpc']}") as channel:
            infer: Any = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
            answer = infer(message.SerializeToString(), timeout=30)
        asked, answered = events(sink, 2)
    assert "application/x-protobuf" == asked.get_datacontenttype()
    assert (message, answer) == (pb.ModelInferRequest.FromString(asked.get_data()), answered.get_data())


def test_a_sink_that_stands_still_slows_no_request(tmp_path: Path, iris: IrisModels, sink: Received) -> None:
    sink.gate.clear()
    with served(tmp_path, config_of(tmp_path, iris, logger(sink, max_events=4))) as server:
        with httpx.Client() as client:
            assert [200] * 20 == [client.post(server.url(INFER), json=iris_request()).status_code for _ in range(20)]
        # The last answer is offered to the log after it has been sent.
        until_now(lambda: server.counted('pillion_payload_events_total{result="dropped"}') == 36)
        assert 4 == server.metric("pillion_payload_events_waiting")
        sink.gate.set()
        until_now(lambda: server.counted('pillion_payload_events_total{result="sent"}') == 4)


def test_the_buffer_is_bounded_by_bytes(tmp_path: Path, iris: IrisModels, sink: Received) -> None:
    sink.gate.clear()
    body = len(json.dumps(iris_request()))
    settings = logger(sink, mode="request", max_bytes=int(2.5 * body))
    with served(tmp_path, config_of(tmp_path, iris, settings)) as server:
        for _ in range(5):
            httpx.post(server.url(INFER), content=json.dumps(iris_request()))
        until_now(lambda: server.counted('pillion_payload_events_total{result="dropped"}') == 3)


def test_what_the_sink_refuses_is_counted_and_said_once(tmp_path: Path, iris: IrisModels, sink: Received) -> None:
    sink.status = 503
    with served(tmp_path, config_of(tmp_path, iris, logger(sink))) as server:
        for _ in range(3):
            httpx.post(server.url(INFER), json=iris_request())
        until_now(lambda: server.counted('pillion_payload_events_total{result="failed"}') == 6)
        (line,) = server.wait_logged("payload log does not reach its sink")
    assert "the sink answered 503" in line["message"]


def test_a_sink_on_loopback_has_to_be_allowed(tmp_path: Path, iris: IrisModels, sink: Received) -> None:
    with served(tmp_path, config_of(tmp_path, iris, logger(sink, allow_loopback=False))) as server:
        httpx.post(server.url(INFER), json=iris_request())
        until_now(lambda: server.counted('pillion_payload_events_total{result="failed"}') == 2)
        (line,) = server.wait_logged("payload log does not reach its sink")
    assert "logger.allow_loopback" in line["message"]
    assert [] == sink.requests


def test_a_token_is_shown_to_the_sink_and_to_nobody_else(tmp_path: Path, iris: IrisModels, sink: Received) -> None:
    env = {"PILLION_LOGGER__BEARER_TOKEN": "s3cret-token"}
    with served(tmp_path, config_of(tmp_path, iris, logger(sink)), env=env) as server:
        httpx.post(server.url(INFER), json=iris_request())
        events(sink, 2)
        assert "s3cret-token" not in server.log_file.read_text()
    assert ["Bearer s3cret-token"] * 2 == [headers["authorization"] for _, headers, _ in sink.requests]


def test_a_share_of_requests_is_sent(tmp_path: Path, iris: IrisModels, sink: Received) -> None:
    with served(tmp_path, config_of(tmp_path, iris, logger(sink, share=0.5, mode="request"))) as server:
        with httpx.Client() as client:
            for _ in range(200):
                client.post(server.url(INFER), json=iris_request())
        server.process.terminate()
        server.wait()
    assert 60 < len(sink.requests) < 140  # 100 +- 5.6 standard deviations


def test_v1_is_sent_as_it_came(tmp_path: Path, iris: IrisModels, sink: Received) -> None:
    with served(tmp_path, config_of(tmp_path, iris, logger(sink))) as server:
        body = {"instances": [[5.1, 3.5, 1.4, 0.2]]}
        answer = httpx.post(server.url("/v1/models/iris:predict"), json=body)
        asked, answered = events(sink, 2)
    assert (body, answer.json()) == (asked.get_data(), answered.get_data())


def test_a_sink_over_tls_is_trusted_by_its_ca_only(tmp_path: Path, iris: IrisModels) -> None:
    authority = Authority()
    cert, key = authority.issue().write(tmp_path)
    (tmp_path / "ca.crt").write_text(authority.pem)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    with receiver(context) as sink:
        url = f"https://localhost:{sink.port}/"
        trusting = config_of(tmp_path, iris, logger(sink, url=url, ca=str(tmp_path / "ca.crt")))
        with served(tmp_path, trusting) as server:
            httpx.post(server.url(INFER), json=iris_request())
            assert [REQUEST, RESPONSE] == [event.get_type() for event in events(sink, 2)]
        with served(tmp_path, config_of(tmp_path, iris, logger(sink, url=url))) as server:
            httpx.post(server.url(INFER), json=iris_request())
            until_now(lambda: server.counted('pillion_payload_events_total{result="failed"}') == 2)
            (line,) = server.wait_logged("payload log does not reach its sink")
        assert "certificate verify failed" in line["message"]
        assert 2 == len(sink.requests)


def test_a_ca_that_is_not_there_is_told_at_the_start(tmp_path: Path, iris: IrisModels) -> None:
    settings = {"logger": {"url": "https://sink.example", "ca": str(tmp_path / "missing.crt")}}
    config = config_of(tmp_path, iris, settings)
    ended = subprocess.run(command(config), capture_output=True, text=True, timeout=60, check=False)
    assert int(ExitCode.USAGE) == ended.returncode
    assert "logger.ca" in ended.stderr
    assert "missing.crt" in ended.stderr
