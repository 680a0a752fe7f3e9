"""A server that asks for a key, over real sockets: on the short way and on the ordinary one, and on gRPC."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import grpc
import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from pillion.protocol.protos import open_inference_pb2 as pb
from tests.integration.server.process import environment, iris_request, served, write_config
from tests.waiting import until_now

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.server.process import ServerProcess
    from tests.models import IrisModels

KEY = "only-for-this-test"
WRONG = "some-other-key"
INFER = "/v2/models/iris/infer"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, iris: IrisModels) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("key")
    write_config(folder / "runtime.yaml", {"iris": iris.onnx}, {"log": {"access": 1.0, "level": "debug"}})
    with served(folder, folder / "runtime.yaml", env={"PILLION_API_KEY": KEY}) as process:
        yield process


def test_rest_answers_who_shows_the_key_and_nobody_else(server: ServerProcess) -> None:
    with httpx.Client(base_url=server.url()) as client:
        for headers in ({"authorization": f"Bearer {KEY}"}, {"x-api-key": KEY}) * 2:
            assert client.post(INFER, json=iris_request(), headers=headers).json()["outputs"]
        for headers in ({}, {"x-api-key": WRONG}, {"authorization": f"Basic {KEY}"}):
            answer = client.post(INFER, json=iris_request(), headers=headers)
            assert 401 == answer.status_code
            assert "PILLION_API_KEY" in answer.json()["error"]
    refused = 'pillion_requests_total{code="unauthenticated",model="iris",protocol="rest",version="1"}'
    until_now(lambda: server.counted(refused) == 3)


def test_grpc_answers_who_shows_the_key_and_nobody_else(server: ServerProcess) -> None:
    request = pb.ModelInferRequest(model_name="iris")
    tensor = request.inputs.add(name="X", datatype="FP32", shape=[1, 4])
    tensor.contents.fp32_contents.extend([5.1, 3.5, 1.4, 0.2])
    with grpc.insecure_channel(f"127.0.0.1:{server.ports['grpc']}") as channel:
        ready = _method(channel, "ServerReady", pb.ServerReadyResponse)
        infer = _method(channel, "ModelInfer", pb.ModelInferResponse)

        assert ready(pb.ServerReadyRequest()).ready
        assert infer(request, metadata=(("authorization", f"Bearer {KEY}"),)).outputs
        with pytest.raises(grpc.RpcError) as raised:
            infer(request, metadata=(("x-api-key", WRONG),))

    assert grpc.StatusCode.UNAUTHENTICATED is raised.value.code()
    assert "PILLION_API_KEY" in str(raised.value.details())


def _method(channel: grpc.Channel, name: str, answer: Any) -> Any:
    return channel.unary_unary(
        f"/inference.GRPCInferenceService/{name}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=answer.FromString,
    )


def test_health_needs_no_key_and_the_admin_port_has_none(server: ServerProcess) -> None:
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/iris/ready"):
        assert 200 == httpx.get(server.url(path)).status_code
    assert 200 == server.admin("/metrics").status_code
    assert 401 == httpx.get(server.url("/docs")).status_code


@pytest.mark.parametrize("path", ["/api/v1/task/any", "/anything"])
def test_a_websocket_without_the_key_is_answered_as_a_request_is(server: ServerProcess, path: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        connect(server.url(path).replace("http://", "ws://"))

    response = refused.value.response
    assert (401, "Bearer") == (response.status_code, response.headers["WWW-Authenticate"])
    assert b"PILLION_API_KEY" in (response.body or b"")
    assert 32 == len(response.headers["X-Request-ID"])
    assert "completing handshake" not in server.log_file.read_text()  # uvicorn's word of one that nobody answered


def test_no_key_is_ever_written_to_the_log_or_told(server: ServerProcess) -> None:
    answer = httpx.post(server.url(INFER), json=iris_request(), headers={"x-api-key": WRONG})

    assert WRONG not in answer.text
    log = server.log_file.read_text()
    assert "iris" in log
    assert KEY not in log
    assert WRONG not in log
    assert KEY not in server.admin("/status").text


@pytest.mark.parametrize("way", ["rest", "grpc"])
def test_the_command_line_shows_the_key_of_its_environment(server: ServerProcess, way: str) -> None:
    where = ["--url", server.url()] if way == "rest" else ["--grpc", "--url", f"127.0.0.1:{server.ports['grpc']}"]
    command = [sys.executable, "-m", "pillion.cli.main", "predict", "iris", "--data", "[[5.1,3.5,1.4,0.2]]", *where]

    def run(**env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, env=environment(**env), capture_output=True, text=True, timeout=60, check=False)

    assert "PILLION_API_KEY" in run().stderr
    answered = run(PILLION_API_KEY=KEY)
    assert (0, "") == (answered.returncode, answered.stderr)
