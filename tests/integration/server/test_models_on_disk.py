"""A watched folder and ``pillion models``, on a real server."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.integration.server.process import environment, iris_request, served, write_config
from tests.waiting import until_now

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.server.process import ServerProcess
    from tests.models import IrisModels

BUDGET = 1
"""Bytes: room for one model at a time, however small."""


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, iris: IrisModels) -> Iterator[tuple[ServerProcess, Path]]:
    """A server that loads lazily, with room for one model, and the folder that it watches."""
    folder = tmp_path_factory.mktemp("watched")
    models = folder / "models"
    models.mkdir()
    shutil.copy(iris.onnx, models / "first.onnx")
    write_config(folder / "runtime.yaml", {})
    env = {
        "PILLION_MODELS__WATCH": str(models),
        "PILLION_MODELS__WATCH_QUIET_SECONDS": "0.1",
        "PILLION_MODELS__LAZY": "true",
        "PILLION_MODELS__MEMORY_BUDGET": str(BUDGET),
        "PILLION_MODELS__STORE": str(folder / "store"),
        "PILLION_MANAGEMENT__ENABLED": "true",
    }
    with served(folder, folder / "runtime.yaml", env=env) as server:
        yield server, models


def predict(server: ServerProcess, name: str) -> int:
    return httpx.post(server.url(f"/v2/models/{name}/infer"), json=iris_request(), timeout=30).status_code


def states(server: ServerProcess) -> dict[str, str]:
    models = httpx.get(server.url("/info/models"), timeout=60).json()["models"]
    return {model["name"]: model["state"] for model in models}


def models(server: ServerProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pillion.cli.main", "models", *arguments, "--url", server.url()]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environment())


def test_models_come_and_go_with_the_folder_and_only_the_last_used_is_in_memory(
    watched: tuple[ServerProcess, Path], iris: IrisModels
) -> None:
    server, folder = watched
    assert {"first": "ASLEEP"} == states(server)
    assert 200 == predict(server, "first")
    assert {"first": "READY"} == states(server)
    (folder / "second").mkdir()
    shutil.copy(iris.onnx, folder / "second" / "model.onnx")
    until_now(lambda: "second" in states(server))
    answer = httpx.post(server.url("/v1/models/second:predict"), json={"instances": [[5.1, 3.5, 1.4, 0.2]]}, timeout=30)
    assert [0] == [prediction["label"] for prediction in answer.json()["predictions"]]
    until_now(lambda: states(server) == {"first": "ASLEEP", "second": "READY"})
    assert 200 == httpx.get(server.url("/v2/models/first/ready"), timeout=60).status_code
    shutil.rmtree(folder / "second")
    until_now(lambda: {"first"} == set(states(server)))
    assert 200 == predict(server, "first")
    until_now(lambda: server.counted('pillion_model_evictions_total{model="first",version="1"}') >= 1)


def test_models_are_listed_deployed_and_undeployed_from_the_command_line(
    watched: tuple[ServerProcess, Path], iris: IrisModels, tmp_path: Path
) -> None:
    server, _ = watched
    done = models(server, "deploy", "rose", str(iris.onnx), "--metadata", "run=7", "--json")
    assert 0 == done.returncode, done.stderr
    assert ("rose", "1", {"run": "7"}) == tuple(json.loads(done.stdout)[key] for key in ("name", "version", "metadata"))
    assert 200 == predict(server, "rose")
    assert "rose" in models(server, "list").stdout
    assert "onnx" == json.loads(models(server, "info", "rose").stdout)[0]["module_id"]
    assert "version 1 serves" in models(server, "deploy", "rose", "--version", "1").stdout
    refused = models(server, "deploy", "rose", str(tmp_path / "nothing"))
    assert (2, True) == (refused.returncode, "no such file" in refused.stderr)
    assert "undeployed" in models(server, "undeploy", "rose", "--purge").stdout
    gone = models(server, "undeploy", "rose")
    assert (1, True) == (gone.returncode, "rose" in gone.stderr)
