"""Triton's client and a model that answers one request several times: ModelStreamInfer, decoupled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.conformance.conftest import run_script
from tests.conformance.test_openai import SERVICE
from tests.engines import ENGINE_VARIABLE, ENGINES
from tests.integration.own_python.program import serving
from tests.waiting import until_now

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.own_python.program import Program


@pytest.fixture(scope="module", params=ENGINES)
def program(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Program]:
    folder: Path = tmp_path_factory.mktemp("decoupled")
    (folder / "service.py").write_text(SERVICE)
    with serving(folder, "service.py:Story", **{ENGINE_VARIABLE: request.param}) as program:
        yield program


@pytest.fixture(scope="module")
def results(program: Program) -> dict[str, Any]:
    return run_script("tritonclient", "triton_decoupled.py", f"127.0.0.1:{program.ports['grpc']}")


def test_each_piece_is_an_answer(results: dict[str, Any]) -> None:
    assert [["1", "w0 ", False], ["1", "w1 ", False]] == results["pieces"]


def test_the_end_is_an_answer_of_its_own_where_it_is_asked_for(results: dict[str, Any]) -> None:
    assert [
        *(["1", "w0 ", False], ["1", "w1 ", False], ["1", None, True]),
        *(["2", "w0 ", False], ["2", "w1 ", False], ["2", None, True]),
    ] == results["final"]


def test_a_request_that_is_refused_leaves_the_stream_to_the_others(results: dict[str, Any]) -> None:
    refused, answered = results["refused"]
    assert "error" == refused[0]
    assert "top_k: the model does not take this option; it takes: max_tokens, fail_after" in refused[1]
    assert ["", "w0 ", False] == answered


def test_a_failure_comes_after_the_pieces_before_it(results: dict[str, Any]) -> None:
    piece, failure = results["fails"]
    assert ["", "w0 ", False] == piece
    assert "out of ideas" in failure[1]


def test_a_client_that_leaves_holds_nothing(results: dict[str, Any], program: Program) -> None:
    assert [["", "w0 ", False]] == results["leaves"]
    until_now(lambda: program.gauge("pillion_in_flight") == 0 and program.gauge("pillion_abandoned_calls") == 0)
