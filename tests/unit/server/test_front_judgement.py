"""What is said of several front workers, and how many there are."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pillion.server.failures import ExitCode, StartError
from pillion.server.front.count import count
from pillion.server.front.judgement import Standing, replaceable, status, unready_reason
from pillion.server.settings import JobsSettings, ManagementSettings, MetricsSettings, Settings

READY = Standing(number=0, pid=10, starts=1, settled=True, accepting=True, ready=True)
LOADING = Standing(number=1, pid=11, starts=1, settled=False, accepting=True, ready=False, reason="model iris: loading")
FAILED = Standing(number=1, pid=11, starts=1, settled=True, accepting=True, ready=False, reason="model iris: broken")
REPLACING = msgspec.structs.replace(LOADING, accepting=False, starts=2)


@pytest.mark.parametrize(
    ("standings", "expected"),
    [
        ([READY, READY], ""),
        ([READY, FAILED], ""),
        ([READY, REPLACING], ""),
        ([READY, LOADING], "model iris: loading"),
        ([FAILED, FAILED], "model iris: broken"),
        ([REPLACING, FAILED], "worker 1: model iris: loading; worker 1: model iris: broken"),
    ],
)
def test_one_ready_worker_is_enough_once_none_takes_connections_that_it_cannot_answer(
    standings: list[Standing], expected: str
) -> None:
    assert expected == unready_reason(standings)


@pytest.mark.parametrize(
    ("standings", "expected"),
    [([READY, FAILED], [1]), ([FAILED, FAILED], []), ([READY, LOADING], []), ([READY, READY], [])],
)
def test_a_worker_whose_models_failed_is_replaced_where_another_has_them(
    standings: list[Standing], expected: list[int]
) -> None:
    assert expected == replaceable(standings)


def model(name: str, state: str) -> dict[str, Any]:
    return {"name": name, "version": "1", "state": state, "reason": ""}


def test_a_model_is_shown_as_it_is_in_the_worker_where_it_is_worst() -> None:
    one = {"models": [model("iris", "READY"), model("churn", "UNAVAILABLE")]}
    other = {"models": [model("iris", "LOADING"), model("churn", "READY")], "configError": "models: 1"}
    document = status([READY, LOADING], [one, other], {"version": "1", "draining": False, "ready": True})
    assert [("iris", "LOADING"), ("churn", "UNAVAILABLE")] == [(m["name"], m["state"]) for m in document["models"]]
    assert "models: 1" == document["configError"]
    assert [10, 11] == [worker["pid"] for worker in document["workers"]]
    assert {"version", "draining", "ready", "models", "workers", "configError"} == set(document)


@pytest.mark.parametrize(("workers", "expected"), [(1, 1), (3, 3), ("auto", 4)])
def test_the_workers_are_as_many_as_asked_for_or_one_per_processor(workers: Any, expected: int) -> None:
    assert expected == count(Settings(workers=workers), cpus=4)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (Settings(workers=2, management=ManagementSettings(enabled=True)), "management.enabled"),
        (Settings(workers=2, jobs=JobsSettings(folder="jobs")), "jobs.folder"),
        (Settings(workers="auto", metrics=MetricsSettings(on_data_port=True)), "metrics.on_data_port"),
    ],
)
def test_settings_that_mean_one_process_are_refused_by_name(settings: Settings, named: str) -> None:
    with pytest.raises(StartError, match=named) as failure:
        count(settings, cpus=4)
    assert ExitCode.USAGE is failure.value.code
    assert "set workers to 1" in str(failure.value)
    assert 1 == count(msgspec.structs.replace(settings, workers=1), cpus=4)


def declared(state: str, identity: str = "a/1") -> dict[str, Any]:
    return {"models": [], "declared": [{"name": "fraud", "id": identity, "state": state}]}


@pytest.mark.parametrize(
    ("views", "state"),
    [
        ([declared("Ready"), declared("Ready")], "Ready"),
        ([declared("Ready"), declared("Loading")], "Loading"),
        ([declared("Failed"), declared("Ready")], "Failed"),
        ([declared("Ready"), {"models": [], "declared": []}], "Fetching"),
        ([declared("Ready", "a/1"), declared("Ready", "a/2")], "Fetching"),
    ],
)
def test_a_declared_model_is_ready_once_all_workers_serve_the_same_declaration(
    views: list[dict[str, Any]], state: str
) -> None:
    document = status([READY, READY], views, {"version": "1", "draining": False, "ready": True})

    assert [state] == [model["state"] for model in document["declared"]]
