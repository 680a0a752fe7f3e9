"""NVIDIA's asyncio clients, over HTTP and gRPC, against the real server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.conformance.conftest import run_script

if TYPE_CHECKING:
    from tests.conformance.server import RunningServer


@pytest.fixture(scope="module")
def results(any_engine: RunningServer) -> dict[str, Any]:
    return run_script("tritonclient", "triton_aio.py", any_engine.http, any_engine.grpc)


@pytest.mark.parametrize("protocol", ["http", "grpc"])
@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("health", [True, True, True]),
        ("infer", [0, 2]),
        ("gzip", [0, 2]),
        ("together", [[0, 2]] * 50),
        ("classes", [["0", "1"], ["2", "1"]]),
        ("statistics", "iris-onnx"),
        ("timeout", [0, 2]),
    ],
)
def test_it_gets(results: dict[str, Any], protocol: str, case: str, expected: object) -> None:
    assert expected == results[f"{protocol}_{case}"]


def test_over_http_it_may_deflate(results: dict[str, Any]) -> None:
    assert [0, 2] == results["http_deflate"]


@pytest.mark.parametrize(("protocol", "status"), [("http", "501"), ("grpc", "StatusCode.UNIMPLEMENTED")])
def test_sequences_are_refused_by_name(results: dict[str, Any], protocol: str, status: str) -> None:
    assert status == results[f"{protocol}_sequence"]["status"]
    assert "parameters.sequence_id" in results[f"{protocol}_sequence"]["raised"]


def test_a_stream_answers_in_order_and_survives_an_unknown_model(results: dict[str, Any]) -> None:
    first, second, third = results["grpc_stream"]
    assert ([0, 2], [0, 2]) == (first, third)
    assert second.startswith("Request for unknown model")
