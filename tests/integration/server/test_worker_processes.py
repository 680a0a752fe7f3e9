"""Models in worker processes under a real server: what clients see, and what is left when it ends."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from pillion.runtimefile import RuntimeFile, dump
from tests.asking import asking
from tests.integration.server.process import served
from tests.processes import alive, children
from tests.waiting import until_now
from tests.workers import Controls

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.server.process import ServerProcess


@pytest.fixture
def controls(tmp_path: Path) -> Controls:
    return Controls(tmp_path)


@contextmanager
def serving(controls: Controls, settings: dict[str, Any] | None = None, **execution: Any) -> Iterator[ServerProcess]:
    config = controls.folder / "runtime.yaml"
    config.write_text(dump(RuntimeFile(settings=settings or {}, models=(controls.model(**execution),))))
    with served(controls.folder, config) as server:
        yield server


class Request(threading.Thread):
    """A call of a task that takes its time."""

    def __init__(self, server: ServerProcess, task: str, **arguments: Any) -> None:
        super().__init__(daemon=True)
        self._url = server.url(f"/m/{task}")
        self._arguments = arguments
        self.answer: httpx.Response | None = None
        self.error: Exception | None = None
        self.start()

    def run(self) -> None:
        """See :class:`threading.Thread`."""
        try:
            self.answer = httpx.post(self._url, json=self._arguments, timeout=60)
        except httpx.HTTPError as error:
            self.error = error


def test_a_killed_server_leaves_no_worker_even_one_whose_code_never_lets_go(controls: Controls) -> None:
    with serving(controls, processes=2) as server:
        workers = children(server.process.pid)
        assert 2 == len(workers)
        Request(server, "stuck", name="s")
        until_now(lambda: controls.begun("s"))
        server.signal(signal.SIGKILL)
        server.wait()
        until_now(lambda: not any(map(alive, workers)))


def test_a_stopping_server_lets_calls_in_workers_finish_and_leaves_no_worker(controls: Controls) -> None:
    with serving(controls, processes=1) as server:
        [worker] = children(server.process.pid)
        request = Request(server, "held", name="h")
        until_now(lambda: controls.begun("h"))
        server.signal(signal.SIGTERM)
        until_now(lambda: server.admin("/readyz").status_code != 200)
        controls.touch("h")
        assert 0 == server.wait()
        request.join(60)
        assert request.answer is not None
        assert (200, str(worker)) == (request.answer.status_code, request.answer.json())
        until_now(lambda: not alive(worker))


def test_the_grace_of_a_stopping_server_holds_for_stuck_workers_too(controls: Controls) -> None:
    with serving(controls, {"drain": {"grace_seconds": 1}}, processes=1) as server:
        [worker] = children(server.process.pid)
        Request(server, "stuck", name="s")
        until_now(lambda: controls.begun("s"))
        server.signal(signal.SIGTERM)
        began = time.monotonic()
        server.wait()
        assert time.monotonic() - began < 25
        until_now(lambda: not alive(worker))


def test_a_server_that_stops_while_a_model_loads_does_not_wait_for_it(controls: Controls) -> None:
    controls.touch("slow-loading")
    config = controls.folder / "runtime.yaml"
    config.write_text(dump(RuntimeFile(models=(controls.model(processes=2),))))
    with served(controls.folder, config, ready=False) as server:
        until_now(lambda: controls.begun("loaded"))
        workers = children(server.process.pid)
        server.signal(signal.SIGTERM)
        assert 0 == server.wait(60)
        until_now(lambda: not any(map(alive, workers)))


def test_ctrl_c_is_for_the_server_and_not_for_its_workers(controls: Controls) -> None:
    with serving(controls, processes=1) as server:
        [worker] = children(server.process.pid)
        assert os.getpgid(worker) == worker != os.getpgid(server.process.pid)
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(worker, number)
        assert str(worker) == httpx.post(server.url("/m/facts"), json={}, timeout=60).json()["pid"]


def test_a_request_whose_worker_dies_is_told_at_once_in_one_line_and_the_next_is_answered(controls: Controls) -> None:
    with serving(controls, processes=1) as server:
        assert 200 == httpx.post(server.url("/m/logs"), json={"text": "so that it has served"}).status_code
        died = httpx.post(server.url("/m/dies"), json={"name": "d"}, timeout=60)
        assert 500 == died.status_code
        assert "the worker process that computed this request ended" in died.text
        assert 200 == httpx.post(server.url("/m/logs"), json={"text": "again"}, timeout=60).status_code
        until_now(lambda: bool(server.logged("was ended by SIGKILL")))
        labels = '{model="m",version="1"}'
        until_now(lambda: server.counted(f"pillion_worker_restarts_total{labels}") == 1)
        assert 1 == server.metric(f"pillion_workers{labels}")
        until_now(lambda: server.counted('pillion_worker_resident_bytes{model="m",version="1",worker="0"}') > 1_000_000)


def test_a_traceback_of_a_worker_is_in_the_log_and_a_line_of_it_in_the_answer(controls: Controls) -> None:
    with serving(controls, processes=1) as server:
        failed = httpx.post(server.url("/m/fails"), json={"text": "no such key"}, timeout=60)
        assert 500 == failed.status_code
        assert "KeyError" in failed.text
        assert "Traceback" not in failed.text
        until_now(lambda: "raise KeyError(text)" in server.log_file.read_text())


def test_a_client_that_leaves_has_its_call_stopped(controls: Controls) -> None:
    with serving(controls, processes=1) as server:
        with asking(server.url("/m/catches"), {"name": "c"}):
            until_now(lambda: controls.begun("c"))
        until_now(lambda: controls.stopped("c"))
        until_now(lambda: server.metric('pillion_in_flight{model="m",version="1"}') == 0)
        until_now(lambda: server.metric('pillion_abandoned_calls{model="m",version="1"}') == 0)
