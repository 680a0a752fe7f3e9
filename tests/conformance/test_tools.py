"""What people type: curl, grpcurl, and the gRPC health probe."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conformance.server import RunningServer

ROW = '{"inputs":[{"name":"X","datatype":"FP32","shape":[1,4],"data":[5.1,3.5,1.4,0.2]}]}'
GRPC_ROW = json.dumps(
    {
        "model_name": "iris-onnx",
        "inputs": [
            {"name": "X", "datatype": "FP32", "shape": [1, 4], "contents": {"fp32_contents": [5.1, 3.5, 1.4, 0.2]}}
        ],
    }
)


def curl(server: RunningServer, path: str, *arguments: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers in lower case, body."""
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--include", *arguments, f"http://{server.http}{path}"],
        capture_output=True,
        check=True,
        timeout=30,
    )
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    while head.startswith(b"HTTP/1.1 100"):
        head, _, body = body.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return int(first.split()[1]), headers, body


def test_curl_predicts_with_json(server: RunningServer) -> None:
    status, _, body = curl(server, "/v2/models/iris-onnx/infer", "--json", ROW)
    assert (200, [0]) == (status, json.loads(body)["outputs"][0]["data"])


def test_curl_with_its_default_content_type_is_told_what_to_use(server: RunningServer) -> None:
    status, _, body = curl(server, "/v2/models/iris-onnx/infer", "--data", ROW)
    assert 415 == status
    assert "curl --json" in json.loads(body)["error"]


@pytest.mark.parametrize(
    ("path", "arguments", "expected"),
    [
        ("/v2/models/nothing/infer", ["--json", ROW], 404),
        ("/v2/models/iris/versions/9/infer", ["--json", ROW], 404),
        ("/v2/models/iris-onnx/infer", ["--json", ROW.replace("0.2", "NaN")], 400),
        ("/v2/models/iris-onnx/infer", ["--json", ROW.replace("0.2", '"a"')], 400),
        ("/v2/models/iris-onnx/infer", ["--json", ROW.replace("[1,4]", "[1,5]")], 400),
        ("/v2/models/iris-onnx/infer", ["--json", ROW.replace("[1,4]", "[4611686018427387904,4]")], 400),
        ("/v2/models/iris-onnx/infer", ["--json", ROW.replace('"X"', '"Z"')], 400),
        ("/v2/models/iris-onnx/infer", ["--json", ROW.replace("FP32", "INT32")], 400),
        ("/v2/models/iris-onnx/infer", ["--json", "[" * 100_000], 400),
        ("/v2/models/iris-onnx/infer", ["--json", '{"inputs":[]}'], 400),
        ("/v2/models/iris-onnx/infer", ["--json", "{"], 400),
        ("/v2/models/iris-onnx/infer", [], 405),
        ("/v2/models/iris-onnx/infer", ["--json", ROW, "--header", "X-Request-Timeout-Seconds: soon"], 400),
        ("/v2/repository/models/iris/unload", ["--request", "POST"], 403),
        ("/v2/nothing", [], 404),
    ],
)
def test_bad_input_gets_the_right_code_in_the_protocols_shape(
    server: RunningServer, path: str, arguments: list[str], expected: int
) -> None:
    status, headers, body = curl(server, path, *arguments)
    document = json.loads(body)
    assert expected == status
    assert ["error", "code", "id"] == list(document)
    assert document["id"] == headers["x-request-id"]


def test_a_body_beyond_the_limit_is_413(server: RunningServer, tmp_path: Path) -> None:
    large = tmp_path / "large.json"
    with large.open("wb") as file:
        file.truncate(64 * 1024 * 1024 + 1)
    status, _, body = curl(server, "/v2/models/plain/infer", "--json", f"@{large}")
    assert 413 == status
    assert "limits.max_body_bytes" in json.loads(body)["error"]


def test_a_request_id_is_echoed(server: RunningServer) -> None:
    _, headers, _ = curl(server, "/v2/health/live", "--header", "X-Request-ID: abc-1")
    assert "abc-1" == headers["x-request-id"]


@pytest.mark.parametrize("service", ["", "inference.GRPCInferenceService", "iris"])
def test_the_grpc_health_probe_finds_it_serving(any_engine: RunningServer, service: str) -> None:
    with grpc.insecure_channel(any_engine.grpc) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=60)
    assert health_pb2.HealthCheckResponse.SERVING == answer.status


def test_grpcurl_lists_and_describes_by_reflection(any_engine: RunningServer, grpcurl: str) -> None:
    listed = subprocess.run(
        [grpcurl, "-plaintext", any_engine.grpc, "list"], capture_output=True, text=True, check=True
    )
    assert {"inference.GRPCInferenceService", "grpc.health.v1.Health"} <= set(listed.stdout.split())
    method = "inference.GRPCInferenceService.ModelInfer"
    described = subprocess.run(
        [grpcurl, "-plaintext", any_engine.grpc, "describe", method], capture_output=True, text=True, check=True
    )
    assert ".inference.ModelInferRequest" in described.stdout


def test_grpcurl_predicts(any_engine: RunningServer, grpcurl: str) -> None:
    done = subprocess.run(
        [grpcurl, "-plaintext", "-d", GRPC_ROW, any_engine.grpc, "inference.GRPCInferenceService/ModelInfer"],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert ["0"] == json.loads(done.stdout)["outputs"][0]["contents"]["int64Contents"]
