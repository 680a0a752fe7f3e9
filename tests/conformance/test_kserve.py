"""KServe's own client, over REST (V1 and V2) and gRPC, against the real server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.conformance.conftest import run_script

if TYPE_CHECKING:
    from tests.conformance.server import RunningServer


@pytest.fixture(scope="module")
def results(any_engine: RunningServer) -> dict[str, Any]:
    return run_script("kserve", "kserve_client.py", any_engine.http, any_engine.grpc)


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("v2_live", True),
        ("v2_ready", True),
        ("v2_model_ready", True),
        ("v2_unknown_ready", False),
        ("v2_json", ["7", "iris-onnx", [0, 2]]),
        ("v2_binary", ["7", "iris-onnx", [0, 2]]),
        ("v2_strings", ["plain", "ümläut"]),
        ("v1_live", True),
        ("v1_model_ready", True),
        ("v1_predict", {"predictions": [0, 2]}),
        ("v1_columns", {"predictions": [0, 2]}),
        ("grpc_live", True),
        ("grpc_ready", True),
        ("grpc_model_ready", True),
        ("grpc_typed", ["7", "iris-onnx", [0, 2]]),
        ("grpc_raw", ["7", "iris-onnx", [0, 2]]),
    ],
)
def test_it_gets(results: dict[str, Any], case: str, expected: object) -> None:
    assert expected == results[case]


@pytest.mark.parametrize(
    ("case", "text"),
    [
        ("v2_unknown", "Request for unknown model"),
        ("v1_bad", "instances"),
        ("grpc_unknown", "Request for unknown model"),
    ],
)
def test_it_is_told(results: dict[str, Any], case: str, text: str) -> None:
    assert text in results[case]["raised"]
