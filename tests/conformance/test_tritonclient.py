"""NVIDIA's client, over HTTP and gRPC, against the real server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests import penguins
from tests.conformance.conftest import run_script

if TYPE_CHECKING:
    from tests.conformance.server import RunningServer

IRIS_ONNX = {
    "name": "iris-onnx",
    "versions": ["1"],
    "platform": "onnx_onnxruntime",
    "inputs": [{"name": "X", "datatype": "FP32", "shape": [-1, 4]}],
    "outputs": [
        {"name": "label", "datatype": "INT64", "shape": [-1]},
        {"name": "probabilities", "datatype": "FP32", "shape": [-1, 3]},
    ],
}

CONFIG = [
    "iris-onnx",
    True,
    [["X", "TYPE_FP32", [4]]],
    [["label", "TYPE_INT64", []], ["probabilities", "TYPE_FP32", [3]]],
]


@pytest.fixture(scope="module")
def http(server: RunningServer) -> dict[str, Any]:
    return run_script("tritonclient", "triton_http.py", server.http)


def test_a_data_frame_is_answered_as_by_the_estimator_over_http_and_grpc(any_engine: RunningServer) -> None:
    results = run_script("tritonclient", "triton_pandas.py", any_engine.http, any_engine.grpc)
    estimator, frame = penguins.fit(), penguins.table()
    expected = {
        "predict": estimator.predict(frame).tolist(),
        "predict_proba": estimator.predict_proba(frame).tolist(),
    }
    assert {"http": expected, "grpc": expected} == results


@pytest.fixture(scope="module")
def grpc(any_engine: RunningServer) -> dict[str, Any]:
    return run_script("tritonclient", "triton_grpc.py", any_engine.grpc)


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("health", [True, True, True, True, False]),
        ("model_metadata", IRIS_ONNX),
        ("infer_binary", ["7", [0, 2], [2, 3]]),
        ("infer_mixed", [[0, 2], [0, 2]]),
        ("infer_version", "2"),
        ("strings_binary", ["plain", "ümläut", ""]),
        ("strings_json", ["plain", "ümläut", ""]),
        ("half", [1.5, -2.0, 65504.0]),
        ("nan_binary", True),
        ("sixteen_megabytes", True),
        ("in_parallel", [[0, 2]]),
        ("compressed", [[0, 2], [0, 2]]),
        ("compressed_answer", ["gzip", True]),
        ("compressed_json_answer", [3.0] * 4000),
        ("configuration", CONFIG),
        ("statistics", ["iris-onnx", True, True]),
    ],
)
def test_over_http_it_gets(http: dict[str, Any], case: str, expected: object) -> None:
    assert expected == http[case]


def test_over_http_it_reads_server_and_index(http: dict[str, Any]) -> None:
    assert "pillion" == http["server_metadata"]["name"]
    assert {("iris", "1"), ("iris", "2"), ("iris-onnx", "1")} <= {(m["name"], m["version"]) for m in http["index"]}


def test_over_http_json_and_binary_say_the_same(http: dict[str, Any]) -> None:
    first, second = http["infer_json"][:3], http["infer_json"][3:]
    assert (0, 2) == (first.index(max(first)), second.index(max(second)))


@pytest.mark.parametrize(
    ("case", "status", "text"),
    [
        ("unknown_model", "404", "Request for unknown model"),
        ("unknown_version", "404", "Request for unknown model"),
        ("wrong_shape", "400", "X"),
        ("wrong_datatype", "400", "X"),
        ("wrong_input", "400", "Z"),
        ("wrong_output", "400", "nothing"),
        ("nan_json", "400", "binary_data"),
        ("load_denied", "403", "management.enabled"),
        ("shared_memory", "501", "binary data"),
    ],
)
def test_over_http_it_is_told(http: dict[str, Any], case: str, status: str, text: str) -> None:
    assert status == http[case]["status"]
    assert text in http[case]["raised"]


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("health", [True, True, True, True]),
        ("infer", ["7", [0, 2], [2, 3]]),
        ("infer_selected", ["label"]),
        ("infer_version", "2"),
        ("strings", ["plain", "ümläut", ""]),
        ("half", [1.5, -2.0, 65504.0]),
        ("sixteen_megabytes", True),
        ("compressed", [0, 2]),
        ("compressed_deflate", [0, 2]),
        ("configuration", CONFIG),
        ("statistics", ["iris-onnx", True, True]),
    ],
)
def test_over_grpc_it_gets(grpc: dict[str, Any], case: str, expected: object) -> None:
    assert expected == grpc[case]


def test_over_grpc_it_reads_server_model_and_index(grpc: dict[str, Any]) -> None:
    # protobuf's JSON writes 64-bit integers as text.
    inputs = [{**spec, "shape": [int(side) for side in spec["shape"]]} for spec in grpc["model_metadata"]["inputs"]]
    assert IRIS_ONNX["inputs"] == inputs
    assert "pillion" == grpc["server_metadata"]["name"]
    assert {("iris", "1"), ("iris", "2")} <= {(m["name"], m["version"]) for m in grpc["index"]}


def test_over_grpc_a_stream_answers_in_order_and_survives_an_unknown_model(grpc: dict[str, Any]) -> None:
    first, second, third = grpc["stream"]
    assert (["a", None], ["c", None]) == (first, third)
    assert second[1].startswith("Request for unknown model")


@pytest.mark.parametrize(
    ("case", "status", "text"),
    [
        ("unknown_ready", "NOT_FOUND", "Request for unknown model"),
        ("unknown_model", "NOT_FOUND", "Request for unknown model"),
        ("wrong_shape", "INVALID_ARGUMENT", "X"),
        ("wrong_datatype", "INVALID_ARGUMENT", "X"),
        ("load_denied", "PERMISSION_DENIED", "management.enabled"),
        ("shared_memory", "UNIMPLEMENTED", "binary data"),
    ],
)
def test_over_grpc_it_is_told(grpc: dict[str, Any], case: str, status: str, text: str) -> None:
    assert f"StatusCode.{status}" == grpc[case]["status"]
    assert text in grpc[case]["raised"]
