"""Trainings that end in a model that serves: one store for what is trained and what is deployed."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.integration.jobs.following import ended, served
from tests.waiting import until_now

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.own_python.program import Program


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("deploying")


@pytest.fixture(scope="module")
def program(folder: Path) -> Iterator[Program]:
    with served(folder, PILLION_MODELS__STORE=str(folder / "store")) as program:
        yield program


def order(program: Program, name: str, label: int, word: str = "fine") -> tuple[int, Any]:
    body = {"model_name": name, "deploy": True, "parameters": {"data": [{"text": word, "label": label}], "epochs": 1}}
    return program.curl("/api/v1/ClassifyMoodTrain", body)


def trained(program: Program, name: str, label: int, word: str = "fine") -> dict[str, Any]:
    status, answer = order(program, name, label, word)
    assert 202 == status, answer
    return ended(program, answer["training_id"])


def asked(program: Program, name: str) -> Any:
    status, answer = program.curl("/api/v1/task/classify", {"model_id": name, "inputs": "fine"})
    assert 200 == status, answer
    return answer


def told(program: Program, name: str) -> list[tuple[str, str, str]]:
    models = httpx.get(program.url("/info/models"), params={"model_ids": name}).json()["models"]
    return [(one["version"], one["state"], one["reason"]) for one in models if one["state"] != "UNLOADING"]


def test_a_training_serves_what_it_made_in_place_of_the_version_before(program: Program, folder: Path) -> None:
    jobs = [trained(program, "glad", label) for label in (3, 5)]

    assert [("COMPLETED", "1", "true"), ("COMPLETED", "2", "true")] == [
        (job["state"], job["details"]["version"], job["details"]["deployed"]) for job in jobs
    ]
    assert 5 == asked(program, "glad")
    assert [("2", "READY", "")] == told(program, "glad")
    assert {"version.json", "files"} == {one.name for one in (folder / "store" / "models" / "glad" / "2").iterdir()}
    assert not (folder / "data" / "models").exists()


def test_an_earlier_version_of_a_training_is_deployed_by_its_number(program: Program) -> None:
    for label in (3, 5):
        trained(program, "back", label)
    status, info = program.curl("/management/models", {"model_id": "back", "version": "1"})

    assert (200, "1") == (status, info["version"])
    assert 3 == asked(program, "back")


def test_a_version_that_still_answers_its_last_request_is_deployed_again(program: Program, folder: Path) -> None:
    for label in (3, 5):
        trained(program, "forth", label)
    order = {"model_id": "forth", "inputs": "held"}
    calls = folder / "calls"
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(program.curl, "/api/v1/task/classify", order)
        try:
            until_now(lambda: calls.exists() and "held" in calls.read_text())
            answers = [
                program.curl("/management/models", {"model_id": "forth", "version": version}) for version in ("1", "2")
            ]
            assert not slow.done()
        finally:
            (folder / "release").touch()
    assert [(200, "1", "READY"), (200, "2", "READY")] == [(s, one["version"], one["state"]) for s, one in answers]
    until_now(lambda: len(told(program, "forth")) == 1)

    assert 200 == slow.result()[0]
    assert 5 == asked(program, "forth")


def test_what_cannot_be_loaded_leaves_the_former_version_and_says_so_in_the_job(program: Program) -> None:
    trained(program, "sad", 3)
    job = trained(program, "sad", 1, "unloadable")

    assert ("COMPLETED", "2", "false") == (job["state"], job["details"]["version"], job["details"]["deployed"])
    (reason,) = job["reasons"]
    assert "version 2 is kept, and not deployed" in reason
    assert "these scores cannot be used" in reason
    assert 3 == asked(program, "sad")
    ((version, state, shown),) = told(program, "sad")
    assert ("1", "READY") == (version, state)
    assert "these scores cannot be used" in shown


def test_the_name_of_a_declared_model_is_refused_before_anything_is_trained(program: Program) -> None:
    status, answer = order(program, "mood", 1)

    assert 409 == status, answer
    assert "is declared" in answer["details"]


def test_what_an_upload_says_of_a_training_makes_it_no_class(program: Program) -> None:
    job = trained(program, "made", 3)
    claim = {"training_id": job["training_id"], "training": "ClassifyMoodTrain"}
    files = [{"filename": "score.json", "data": "e30="}]
    status, answer = program.curl("/management/models", {"model_id": "up", "model_files": files, "metadata": claim})

    assert 400 == status, answer
    assert 3 == asked(program, "made")


def test_what_a_training_deployed_serves_again_after_a_kill(tmp_path: Path) -> None:
    store = {"PILLION_MODELS__STORE": str(tmp_path / "store")}
    with served(tmp_path, **store) as first:
        trained(first, "lasting", 4)
        first.process.kill()
        first.process.wait()
    with served(tmp_path, **store) as second:
        assert 4 == asked(second, "lasting")
        assert [("1", "READY", "")] == told(second, "lasting")


def test_without_a_store_there_is_nothing_to_deploy_to(tmp_path: Path) -> None:
    with served(tmp_path) as program:
        status, answer = order(program, "glad", 1)

    assert 403 == status, answer
    assert "models.store" in json.dumps(answer)
