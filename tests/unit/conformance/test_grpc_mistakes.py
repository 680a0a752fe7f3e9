"""The same over gRPC: each mistake is found by its check."""

from __future__ import annotations

import pytest

from pillion.conformance.model import Outcome
from pillion.conformance.run import examine
from tests.unit.conformance.small_grpc import running_grpc
from tests.unit.conformance.small_server import running
from tests.unit.conformance.test_mistakes import failed


def test_a_server_without_mistakes_passes_over_grpc_too() -> None:
    with running() as url, running_grpc() as address:
        report = examine(url, grpc=address)

    assert set() == failed(report)
    assert [] == [r.check.id for r in report.results if r.check.group == "grpc" and r.outcome is not Outcome.PASSED]


@pytest.mark.parametrize(
    ("mistake", "expected"),
    [
        ("not live", {"grpc.server-live"}),
        ("not ready over gRPC", {"grpc.server-ready"}),
        ("any model is ready", {"grpc.model-ready-unknown"}),
        ("another name over gRPC", {"grpc.server-metadata"}),
        ("an unknown model is INTERNAL", {"grpc.unknown-model-code", "grpc.model-metadata-unknown"}),
        ("bad input is INTERNAL", {"grpc.raw-short-code", "grpc.no-inputs-code"}),
        ("raw is refused", {"grpc.infer-raw", "grpc.infer-as-rest"}),
        ("typed sizes are not looked at", {"grpc.typed-short"}),
        ("other numbers over gRPC", {"grpc.infer-as-rest"}),
        ("the id is lost", {"grpc.id"}),
        ("raw outputs are missing", {"grpc.infer-raw", "grpc.infer-typed"}),
        ("no health service", {"grpc_health.server", "grpc_health.unknown"}),
        ("no reflection", {"grpc_reflection.lists"}),
    ],
)
def test_a_mistake_is_found_by_its_check(mistake: str, expected: set[str]) -> None:
    with running() as url, running_grpc(mistake) as address:
        assert expected <= failed(examine(url, grpc=address))
