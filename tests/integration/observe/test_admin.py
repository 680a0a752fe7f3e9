"""What runs now, and metrics under other names and on another port, of a real server."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING

import httpx
import pytest

from pillion.runtimefile import RuntimeFile, dump
from tests.integration.observe.slow import slow_model
from tests.integration.server.process import iris_request, served, write_config
from tests.waiting import until_now

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.server.process import ServerProcess
    from tests.models import IrisModels

TASK = "/slow/wait"


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[ServerProcess]:
    """A model whose calls last, one at a time."""
    config = tmp_path / "runtime.yaml"
    config.write_text(dump(RuntimeFile(models=(slow_model(),))))
    with served(tmp_path, config) as server:
        yield server


def test_requests_are_shown_while_they_wait_and_run(slow: ServerProcess, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    headers = {"x-request-timeout-seconds": "30", "traceparent": f"00-{'a' * 32}-{'b' * 16}-00"}

    def ask(identity: str) -> None:
        httpx.post(slow.url(TASK), json={"text": str(gate)}, headers=headers | {"x-request-id": identity}, timeout=40)

    first, second = (threading.Thread(target=ask, args=(identity,)) for identity in ("first", "second"))
    first.start()
    until_now(lambda: slow.admin("/debug/requests").json()["running"] == 1)
    second.start()
    until_now(lambda: slow.admin("/debug/requests").json()["queued"] == 1)
    shown = slow.admin("/debug/requests").json()
    table = slow.admin("/debug/requests?format=text").text
    gate.touch()
    first.join()
    second.join()
    running, queued = shown["requests"]
    assert ("first", "running", "second", "queued") == (
        running["id"], running["phase"], queued["id"], queued["phase"],
    )  # fmt: skip
    assert ("slow", "1", "task") == (running["model"], running["version"], running["protocol"])
    assert 0 < running["phaseSeconds"] <= running["ageSeconds"] < 30
    assert 0 < running["deadlineLeftSeconds"] < 30
    assert running["client"].startswith("127.0.0.1:")
    assert "1 running, 1 queued" == table.splitlines()[0]
    assert ["AGE", "running", "queued"] == [
        re.split(r"\s{2,}", line)[1 if place else 0] for place, line in enumerate(table.splitlines()[1:])
    ]
    assert str(gate) not in str(shown) + table
    nothing = {"running": 0, "queued": 0, "truncated": False, "requests": []}
    until_now(lambda: slow.admin("/debug/requests").json() == nothing)


@pytest.fixture
def known_elsewhere(tmp_path: Path, iris: IrisModels) -> Iterator[ServerProcess]:
    config = tmp_path / "runtime.yaml"
    write_config(
        config,
        {"iris": iris.onnx},
        settings={"metrics": {"compatibility": ["triton", "mlserver", "kserve"], "on_data_port": True}},
    )
    with served(tmp_path, config) as server:
        yield server


def test_metrics_have_the_names_of_other_servers_too(known_elsewhere: ServerProcess) -> None:
    server = known_elsewhere
    for _ in range(3):
        assert 200 == httpx.post(server.url("/v2/models/iris/infer"), json=iris_request()).status_code
    assert 400 == httpx.post(server.url("/v2/models/iris/infer"), json={"inputs": []}).status_code
    labels = '{model="iris",version="1"}'
    until_now(lambda: server.counted(f"nv_inference_request_success{labels}") == 3)
    until_now(lambda: server.counted('nv_inference_request_failure{model="iris",reason="OTHER",version="1"}') == 1)
    assert 3 == server.metric(f"nv_inference_exec_count{labels}")
    assert 0 < server.metric(f"nv_inference_compute_infer_duration_us{labels}")
    assert (
        server.metric(f"nv_inference_compute_infer_duration_us{labels}")
        < server.metric(f"nv_inference_request_duration_us{labels}")
        < 60e6
    )
    assert 3 == server.metric(f"model_infer_request_success_total{labels}")
    assert 1 == server.metric(f"model_infer_request_failure_total{labels}")
    assert 0 < server.metric(f"model_infer_request_duration_sum{labels}") < 60
    assert 3 == server.metric('request_predict_seconds_count{model_name="iris"}')
    assert 3 == server.metric('request_preprocess_seconds_count{model_name="iris"}')
    assert 0 < server.metric('request_predict_seconds_sum{model_name="iris"}') < 60


def test_the_data_port_shows_metrics_where_it_is_set(known_elsewhere: ServerProcess) -> None:
    here, there = httpx.get(known_elsewhere.url("/metrics")), known_elsewhere.admin("/metrics")
    assert (200, there.headers["content-type"]) == (here.status_code, here.headers["content-type"])
    assert "pillion_model_state" in here.text
    assert 405 == httpx.post(known_elsewhere.url("/metrics")).status_code


def test_the_data_port_names_the_admin_port_otherwise(tmp_path: Path, iris: IrisModels) -> None:
    config = tmp_path / "runtime.yaml"
    write_config(config, {"iris": iris.onnx})
    with served(tmp_path, config) as server:
        answer = httpx.get(server.url("/metrics"))
    assert 404 == answer.status_code
    assert "admin port" in answer.json()["error"]


def test_a_share_of_requests_is_logged(tmp_path: Path, iris: IrisModels) -> None:
    config = tmp_path / "runtime.yaml"
    write_config(config, {"iris": iris.onnx}, settings={"log": {"access": 0.5}})
    with served(tmp_path, config) as server:
        with httpx.Client() as client:
            for _ in range(200):
                client.post(server.url("/v2/models/iris/infer"), json=iris_request())
        server.process.terminate()
        server.wait()
        lines = [line for line in server.log if line["logger"] == "pillion.access"]
    assert 60 < len(lines) < 140  # 100 +- 5.6 standard deviations
