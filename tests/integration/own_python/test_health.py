"""``check_health`` of models: readiness, and what is done about those that stay unhealthy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
import yaml

from tests.integration.server.process import served
from tests.waiting import until_now

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.server.process import ServerProcess

CLASS = """
import os
import pathlib
import time
from pillion import Model, task

HERE = pathlib.Path(__file__).parent

class Mood(Model):
    def load(self):
        with (HERE / "loads").open("a") as loads:
            loads.write(f"{os.getpid()}\\n")

    CHECK
        said = (HERE / "health").read_text()
        if said == "hangs":
            time.sleep(600)
        if said == "false":
            return False
        if said != "ok":
            raise RuntimeError(said)

    @task
    def classify(self, text: str) -> int:
        return os.getpid()
"""
PLAIN, ASYNC = "def check_health(self):", "async def check_health(self):"
ENV = {
    "PILLION_MODELS__HEALTH_PERIOD_SECONDS": "0.1",
    "PILLION_MODELS__HEALTH_TIMEOUT_SECONDS": "1",
    "PILLION_MODELS__HEALTH_FAILURES": "2",
}
WITHIN = 60.0


def config(folder: Path, executor: str, check: str = PLAIN, processes: int = 1) -> Path:
    (folder / "service.py").write_text(CLASS.replace("CHECK", check))
    code = {"module": str(folder / "service.py"), "className": "Mood", "folder": str(folder)}
    execution = {"executor": executor} | ({"processes": processes} if executor == "process" else {})
    model = {"name": "mood", "path": "", "code": code, "execution": execution}
    file = folder / "runtime.yaml"
    file.write_text(yaml.safe_dump({"apiVersion": "runtime.pillion.dev/v1", "models": [model]}))
    say(folder, "ok")
    return file


def say(folder: Path, health: str) -> None:
    fresh = folder / "health.new"
    fresh.write_text(health)
    fresh.rename(folder / "health")


def loads(folder: Path) -> list[str]:
    return (folder / "loads").read_text().split()


def unready(server: ServerProcess, said: str) -> None:
    """Wait until the server is not ready for that reason."""
    until_now(lambda: (answer := server.admin("/readyz")).status_code == 503 and said in answer.text, WITHIN)


def _is_told_unhealthy(server: ServerProcess) -> bool:
    (told,) = server.admin("/status").json()["models"]
    state = (told["state"], told.get("cause"))
    return state == ("UNAVAILABLE", "Unhealthy") and bool(told["reason"].startswith("unhealthy: "))


def classify(server: ServerProcess) -> httpx.Response:
    body = {"inputs": "x", "model_id": "mood"}
    return httpx.post(server.url("/api/v1/task/classify"), json=body, timeout=30)


@pytest.mark.parametrize(
    ("executor", "check"), [("thread", PLAIN), ("thread", ASYNC), ("process", PLAIN), ("process", ASYNC)]
)
def test_an_unhealthy_model_is_not_ready_answers_on_and_is_loaded_anew(
    tmp_path: Path, executor: str, check: str
) -> None:
    with served(tmp_path, config(tmp_path, executor, check), env=ENV) as server:
        before = loads(tmp_path)
        say(tmp_path, "the disk is full")

        unready(server, "the disk is full")

        # Again and again: it is loaded anew meanwhile, and found to be unhealthy.
        until_now(lambda: httpx.get(server.url("/v2/models/mood/ready"), timeout=60).status_code != 200)
        until_now(lambda: _is_told_unhealthy(server))
        assert 200 == classify(server).status_code
        until_now(lambda: len(loads(tmp_path)) > len(before), WITHIN)

        say(tmp_path, "ok")
        until_now(lambda: server.admin("/readyz").status_code == 200, WITHIN)
        assert "READY" == server.admin("/status").json()["models"][0]["state"]
        assert 200 == classify(server).status_code


def test_false_is_unhealthy(tmp_path: Path) -> None:
    with served(tmp_path, config(tmp_path, "thread"), env=ENV) as server:
        say(tmp_path, "false")

        unready(server, "check_health returned False")


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_one_that_hangs_is_unhealthy_and_is_mended(tmp_path: Path, executor: str) -> None:
    with served(tmp_path, config(tmp_path, executor), env=ENV) as server:
        say(tmp_path, "hangs")

        unready(server, "it did not answer within 1 s")
        until_now(lambda: len(loads(tmp_path)) > 1, WITHIN)
        say(tmp_path, "ok")
        until_now(lambda: server.admin("/readyz").status_code == 200, WITHIN)
        assert 200 == classify(server).status_code


def test_a_model_that_is_unhealthy_from_the_start_is_ready_once_it_is_not(tmp_path: Path) -> None:
    file = config(tmp_path, "thread")
    say(tmp_path, "no database")
    with served(tmp_path, file, ready=False, env=ENV) as server:
        unready(server, "no database")

        say(tmp_path, "ok")
        server.wait_ready()


def test_a_worker_that_computes_a_request_is_not_unhealthy_for_not_answering(tmp_path: Path) -> None:
    file = config(tmp_path, "process")
    source = tmp_path / "service.py"
    source.write_text(source.read_text().replace("return os.getpid()", "time.sleep(4); return os.getpid()"))
    with served(tmp_path, file, env=ENV) as server:
        pid = loads(tmp_path)

        answer = classify(server)

        assert (200, int(pid[0])) == (answer.status_code, answer.json())
        assert pid == loads(tmp_path)
        assert not server.logged("is unhealthy")
