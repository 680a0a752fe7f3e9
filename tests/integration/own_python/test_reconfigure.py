"""``reconfigure`` of models: another config, in each worker process too, without a load."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml
from typer.testing import CliRunner

import pillion
from pillion.cli.main import app
from pillion.client.errors import CallError, InvalidInput
from pillion.modelsfile import DeclaredModel, dump
from tests.integration.server.process import served
from tests.waiting import until_now

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.server.process import ServerProcess

CLASS = """
import os
import pathlib
from pillion import Model, task

HERE = pathlib.Path(__file__).parent

class Scaled(Model):
    def load(self):
        with (HERE / "loads").open("a") as loads:
            loads.write(f"{os.getpid()}\\n")

    RECONFIGURE
        if config["scale"] < 0:
            raise ValueError("a scale is positive")
        self.scale = config["scale"]

    @task
    def scaled(self, number: int) -> list[int]:
        return [self.scale * number, os.getpid()]
"""
PLAIN, ASYNC = "def reconfigure(self, config):", "async def reconfigure(self, config):"
WITHIN = 60.0


def write(file: Path, text: str) -> None:
    fresh = file.with_suffix(".new")
    fresh.write_text(text)
    fresh.rename(file)


class Configured:
    """A folder with the class, and the file that says with which config it is served."""

    def __init__(self, folder: Path, executor: str, method: str = PLAIN, processes: int = 2) -> None:
        self.file = folder / "runtime.yaml"
        self._loads = folder / "loads"
        (folder / "service.py").write_text(CLASS.replace("RECONFIGURE", method))
        code = {"module": str(folder / "service.py"), "className": "Scaled", "folder": str(folder)}
        execution = {"executor": executor} | ({"processes": processes} if executor == "process" else {})
        self._model: dict[str, Any] = {"name": "scaled", "path": "", "code": code, "execution": execution}
        self.give({"scale": 2})

    def give(self, config: dict[str, Any]) -> None:
        models = [self._model | {"config": config}]
        write(self.file, yaml.safe_dump({"apiVersion": "runtime.pillion.dev/v1", "models": models}))

    def loads(self) -> list[int]:
        return [int(pid) for pid in self._loads.read_text().split()]


def scaled(server: ServerProcess) -> tuple[int, int]:
    """Ten by the model, and the process that computed it."""
    body = {"inputs": 10, "model_id": "scaled"}
    answer = httpx.post(server.url("/api/v1/task/scaled"), json=body, timeout=30)
    assert 200 == answer.status_code, answer.text
    number, pid = answer.json()
    return number, pid


def by_another(server: ServerProcess, gone: int) -> int:
    """What a process gives that is not that one; no answer counts while one is lost with it."""

    def answered() -> bool:
        try:
            found.append(scaled(server))
        except AssertionError:
            return False
        return found[-1][1] != gone

    found: list[tuple[int, int]] = []
    until_now(answered, WITHIN)
    return found[-1][0]


@pytest.mark.parametrize(
    ("executor", "method"), [("thread", PLAIN), ("thread", ASYNC), ("process", PLAIN), ("process", ASYNC)]
)
def test_a_model_takes_its_config_when_it_is_loaded_and_when_it_changes_without_a_load(
    tmp_path: Path, executor: str, method: str
) -> None:
    given = Configured(tmp_path, executor, method)
    with served(tmp_path, given.file, env={}) as server:
        assert 20 == scaled(server)[0]
        loads = given.loads()

        given.give({"scale": 3})
        until_now(lambda: scaled(server)[0] == 30, WITHIN)

        assert loads == given.loads()
        assert 200 == server.admin("/readyz").status_code
        if executor == "process":  # and the one that answers only where the first does not
            pid = scaled(server)[1]
            os.kill(pid, signal.SIGKILL)
            until_now(lambda: by_another(server, pid) == 30)  # which may be told of it a moment after the first


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_a_config_that_is_not_taken_leaves_the_former_and_is_told(tmp_path: Path, executor: str) -> None:
    given = Configured(tmp_path, executor)
    with served(tmp_path, given.file, env={}) as server:
        loads = given.loads()

        given.give({"scale": -1})
        until_now(
            lambda: "a scale is positive" in server.admin("/status").json()["models"][0].get("reason", ""), WITHIN
        )

        told = server.admin("/status").json()["models"][0]
        assert told["reason"].startswith("kept its config: ")
        assert ("READY", 20) == (told["state"], scaled(server)[0])
        given.give({"scale": 4})
        until_now(lambda: scaled(server)[0] == 40, WITHIN)
        until_now(lambda: server.admin("/status").json()["models"][0].get("reason", "") == "")
        assert loads == given.loads()


@pytest.mark.parametrize(("executor", "processes"), [("thread", 0), ("process", 2)])
def test_a_model_takes_another_config_by_a_request_over_either_protocol(
    tmp_path: Path, executor: str, processes: int
) -> None:
    given = Configured(tmp_path, executor)
    with served(tmp_path, given.file, env={"PILLION_MANAGEMENT__ENABLED": "true"}) as server:
        loads = given.loads()
        done = {"model_id": "scaled", "version": "1", "processes": processes}

        with pillion.Client(server.url("")) as client:
            assert done == client.reconfigure("scaled", {"scale": 3})
            assert 30 == scaled(server)[0]
            with pytest.raises(InvalidInput, match="does not take its config: ValueError: a scale is positive"):
                client.reconfigure("scaled", {"scale": -1})
            assert 30 == scaled(server)[0]
            with pytest.raises(CallError, match="'scale' is not here"):
                client.reconfigure("scale", {"scale": 1})
            with pytest.raises(CallError, match="has no version '2'"):
                client.reconfigure("scaled", {"scale": 1}, version="2")
        with pillion.Client(f"grpc://127.0.0.1:{server.ports['grpc']}") as client:
            assert done == client.reconfigure("scaled", {"scale": 4}, version="1")
            with pytest.raises(InvalidInput, match="config: it has more than"):
                client.reconfigure("scaled", {"scale": 4, "more": "x" * 300_000})
        assert 40 == scaled(server)[0]
        command = ["models", "reconfigure", "scaled", "--set", "scale=5", "--url", server.url("")]
        told = CliRunner().invoke(app, command)
        assert (0, "scaled version 1 has taken the config") == (told.exit_code, told.output.strip().partition(" (")[0])
        assert 50 == scaled(server)[0]

        assert loads == given.loads()
        outcomes = [line["message"].rpartition(" ")[2] for line in server.logged("reconfigure of model scaled:")]
        assert ["ok", "invalid_argument", "unknown_model", "ok", "ok"] == outcomes


def test_a_model_that_does_not_serve_takes_no_config_by_a_request_then_or_later(tmp_path: Path) -> None:
    given = Configured(tmp_path, "thread")
    with served(tmp_path, given.file, env={"PILLION_MANAGEMENT__ENABLED": "true"}) as server:
        models = server.url("/v2/repository/models/scaled")
        assert 200 == httpx.post(f"{models}/unload", timeout=60).status_code
        body = {"model_id": "scaled", "config": {"scale": 3}}
        answer = httpx.post(server.url("/management/config"), json=body, timeout=60)
        assert (503, True) == (answer.status_code, "does not serve" in answer.text)

        assert 200 == httpx.post(f"{models}/load", timeout=60).status_code
        assert 20 == scaled(server)[0]


def test_no_config_is_taken_by_a_request_where_management_is_off(tmp_path: Path) -> None:
    given = Configured(tmp_path, "thread")
    with served(tmp_path, given.file, env={"PILLION_MANAGEMENT__ENABLED": "false"}) as server:
        body = {"model_id": "scaled", "config": {"scale": 3}}
        answer = httpx.post(server.url("/management/config"), json=body, timeout=30)

        assert (403, True) == (answer.status_code, "management.enabled" in answer.text)
        assert 20 == scaled(server)[0]


def test_a_worker_process_that_follows_another_has_the_newest_config(tmp_path: Path) -> None:
    given = Configured(tmp_path, "process", processes=1)
    with served(tmp_path, given.file, env={}) as server:
        given.give({"scale": 5})
        until_now(lambda: scaled(server)[0] == 50, WITHIN)
        (gone,) = given.loads()

        os.kill(gone, signal.SIGKILL)

        assert 50 == by_another(server, gone)


def test_a_class_without_the_method_is_not_served_with_a_config(tmp_path: Path) -> None:
    given = Configured(tmp_path, "thread", "def other(self, config):")
    with served(tmp_path, given.file, ready=False, env={}) as server:
        said = "has a config and no method reconfigure(config)"
        until_now(lambda: said in server.admin("/readyz").text, WITHIN)


def test_a_declared_model_takes_another_config_as_the_same_version(tmp_path: Path) -> None:
    volume = tmp_path / "sources" / "pvc" / "disk" / "scaled"
    volume.mkdir(parents=True)
    (volume / "service.py").write_text(
        CLASS.replace("RECONFIGURE", PLAIN).replace("pathlib.Path(__file__).parent", f"pathlib.Path({str(tmp_path)!r})")
    )
    file = tmp_path / "declared" / "models.json"
    file.parent.mkdir()

    def declare(scale: int) -> None:
        model = DeclaredModel(
            id=f"scaled/{scale}",
            name="scaled",
            version="1",
            uri=f"file://{volume}",
            format="python",
            trust_code=True,
            config={"scale": scale},
        )
        write(file, dump((model,)))

    declare(2)
    config = tmp_path / "runtime.yaml"
    config.write_text("apiVersion: runtime.pillion.dev/v1\n")
    env = {
        "PILLION_MODELS__DECLARED": str(file),
        "PILLION_MODELS__DECLARED_FOLDER": str(tmp_path / "files"),
        "PILLION_MODELS__DECLARED_SOURCES": str(tmp_path / "sources"),
    }
    with served(tmp_path, config, env=env) as server:
        assert 20 == scaled(server)[0]

        declare(3)
        until_now(lambda: server.admin("/status").json()["declared"][0].get("id") == "scaled/3", WITHIN)
        until_now(lambda: server.admin("/status").json()["declared"][0]["state"] == "Ready", WITHIN)
        until_now(lambda: scaled(server)[0] == 30, WITHIN)
        declare(-1)
        until_now(lambda: server.admin("/status").json()["declared"][0]["state"] == "Failed", WITHIN)

        assert (
            "it kept its config: ValueError: a scale is positive"
            in server.admin("/status").json()["declared"][0]["reason"]
        )
        assert 30 == scaled(server)[0]
        assert 1 == len((tmp_path / "loads").read_text().split())
