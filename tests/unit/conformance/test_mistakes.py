"""Each known mistake of servers is found by its checks, and a server without mistakes has none found."""

from __future__ import annotations

import pytest

from pillion.conformance.model import Outcome, Report
from pillion.conformance.run import examine
from tests.unit.conformance.small_server import running


def failed(report: Report) -> set[str]:
    return {result.check.id for result in report.results if result.outcome is Outcome.FAILED}


def skipped(report: Report) -> set[str]:
    return {result.check.id for result in report.results if result.outcome is Outcome.SKIPPED}


def test_a_server_without_mistakes_passes_every_check_that_is_not_skipped() -> None:
    with running() as url:
        report = examine(url)

    assert set() == failed(report)
    assert report.conforms(strict=True)
    assert 60 < report.count(Outcome.PASSED)


@pytest.mark.parametrize(
    ("mistake", "expected"),
    [
        ("422 with detail", {"errors.no-inputs", "errors.no-inputs-status", "errors.data-short"}),
        ("errors are plain text", {"errors.no-json", "metadata.unknown-model", "versions.unknown"}),
        ("errors tell the stack", {"errors.no-traceback"}),
        ("JSON as HTML", {"metadata.content-type"}),
        ("an unknown model is 500", {"errors.unknown-model-404", "metadata.unknown-model-404"}),
        ("versions are 501", {"versions.metadata", "versions.infer", "versions.ready", "versions.unknown-404"}),
        ("extensions is a text", {"metadata.server-members"}),
        ("live is an empty object", {"health.live-body"}),
        ("any model is ready", {"health.unknown-model-ready"}),
        ("a model that is not ready", {"health.model-ready", "health.ready-means-models"}),
        ("metadata without inputs", {"metadata.inputs-described"}),
        ("a cut body is answered", {"errors.length-above-body"}),
        ("a charset is refused", {"infer.charset"}),
        ("a form is accepted", {"errors.form", "errors.form-status", "errors.plain-text"}),
        ("missing inputs are 500", {"errors.no-inputs-status", "errors.empty-inputs-status"}),
        ("shapes are not looked at", {"errors.data-short", "errors.shape-overflow", "errors.shape-not-the-models"}),
        ("one row is answered", {"infer.batch"}),
        ("binary sizes are not looked at", {"binary.body-long", "binary.size-not-of-shape"}),
        ("big-endian", {"binary.input", "binary.output"}),
        ("nested data is refused", {"infer.nested-data"}),
        ("the choice of outputs is ignored", {"infer.outputs-chosen", "infer.output-unknown"}),
        ("the id is lost", {"infer.id", "infer.concurrent", "binary.id"}),
        ("ids get mixed up", {"infer.id", "infer.concurrent"}),
        ("binary is turned into lists", {"binary.output", "binary.output-all"}),
        ("shapes of outputs lie", {"infer.members"}),
        ("numbers as texts", {"infer.values"}),
    ],
)
def test_a_mistake_is_found_by_its_checks(mistake: str, expected: set[str]) -> None:
    with running(mistake) as url:
        report = examine(url)

    assert expected <= failed(report)
    assert not report.conforms(strict=True)


def test_a_server_that_is_ready_without_a_model_is_found() -> None:
    with running("ready without a model", models=()) as url:
        assert {"health.ready-without-model"} == failed(examine(url))


def test_a_server_without_a_model_that_says_so_has_nothing_found() -> None:
    with running(models=()) as url:
        report = examine(url)

    assert set() == failed(report)
    assert "infer.valid" in skipped(report)


def test_an_extension_that_is_not_claimed_is_skipped() -> None:
    with running(binary=False) as url:
        report = examine(url)

    assert "binary.input" in skipped(report)


def test_an_extension_that_is_not_claimed_can_be_asked_for() -> None:
    with running("binary is turned into lists", binary=False) as url:
        assert "binary.output" in failed(examine(url, extensions=["binary_tensor_data"]))


def test_a_failure_tells_what_was_sent_what_came_and_what_was_expected() -> None:
    with running("the id is lost") as url:
        report = examine(url)

    (result,) = [result for result in report.results if result.check.id == "infer.id"]
    assert "id 'request-42'" == result.expected
    assert "None" == result.got
    assert result.sent.startswith("POST /v2/models/double/infer")
    assert result.came.startswith("200 (application/json)")


def test_a_request_of_the_callers_stands_in_for_metadata_that_describes_no_inputs() -> None:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [[1, 2]]}
    with running("metadata without inputs") as url:
        assert "infer.valid" in skipped(examine(url))
        assert {"metadata.inputs-described"} == failed(examine(url, request={"inputs": [tensor]}))


def test_what_the_time_is_over_for_is_told_and_does_not_count_as_kept() -> None:
    ticks = iter(range(10_000))
    with running() as url:
        report = examine(url, seconds=20, clock=lambda: next(ticks))

    assert 0 < report.count(Outcome.NOT_RUN)
    assert not report.conforms(strict=False)


def test_an_answer_that_drips_is_not_waited_for_longer_than_the_time_for_one() -> None:
    with running("live drips") as url:
        report = examine(url, timeout=1)

    assert "health.live" in failed(report)
    assert 60 > report.seconds  # and not the hours that it drips for
