"""Our own checker against our own server: nothing it knows of is broken, MUST or SHOULD, over REST and gRPC."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pillion.conformance.model import Outcome
from pillion.conformance.run import examine

if TYPE_CHECKING:
    from tests.conformance.server import RunningServer


def test_the_server_keeps_to_every_sentence_with_every_model(any_engine: RunningServer) -> None:
    report = examine(f"http://{any_engine.http}", grpc=any_engine.grpc)

    assert [] == [(r.check.id, r.model, r.expected, r.got) for r in report.results if r.outcome is Outcome.FAILED]
    assert {"half", "iris", "iris-onnx", "penguins", "plain", "text"} == set(report.models)
    assert 500 < report.count(Outcome.PASSED)


def test_every_check_that_pillion_claims_to_keep_has_run_for_some_model(any_engine: RunningServer) -> None:
    report = examine(f"http://{any_engine.http}", grpc=any_engine.grpc)
    ran = {result.check.id for result in report.results if result.outcome is Outcome.PASSED}

    never = {result.check.id for result in report.results} - ran
    assert {"health.ready-without-model"} == never
