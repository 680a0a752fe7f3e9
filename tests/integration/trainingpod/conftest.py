"""The pod's program as a process of this machine, with a bucket of a real S3 server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from pillion.trainingpod.order import VARIABLE
from tests.integration.storage.conftest import clean_environment, s3, s3_process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.storage.conftest import S3Server

__all__ = ["clean_environment", "s3", "s3_process"]

_WITHIN = 60.0


class Pod:
    """One run of the program."""

    def __init__(self, order: dict[str, Any], folder: Path, environment: dict[str, str]) -> None:
        folder.mkdir()
        self.word_file = folder / "termination-log"
        self.word_file.touch()
        self.log_file = folder / "log"
        order = {**order, "work": str(folder / "work"), "port": 0, "termination_log": str(self.word_file)}
        with self.log_file.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pillion.trainingpod"],
                env={**os.environ, **environment, VARIABLE: json.dumps(order)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    @property
    def word(self) -> dict[str, Any]:
        """What it left for the operator."""
        told: dict[str, Any] = json.loads(self.word_file.read_text())
        return told

    def status(self) -> dict[str, Any]:
        port = next(line for line in self.log.splitlines() if "answers on port" in line).rsplit(" ", 1)[1].split('"')[0]
        answer = httpx.get(f"http://127.0.0.1:{port}/status", timeout=60, trust_env=False).json()
        found: dict[str, Any] = answer["training"]
        return found

    def wait_for(self, **known: Any) -> dict[str, Any]:
        """Wait until `/status` says at least so much."""
        deadline = time.monotonic() + _WITHIN
        while True:
            assert self._process.poll() is None, self.log
            found = self.status() if "answers on port" in self.log else {}
            if all(found.get(name, -1) >= value for name, value in known.items()):
                return found
            assert time.monotonic() < deadline, f"{found}\n{self.log}"
            time.sleep(0.02)

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        return self._process.wait(_WITHIN)

    def end(self) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


class Pods:
    """Makes runs, each as a pod of its own: nothing of the one before is on its disk."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder = folder
        self._environment = environment
        self._made: list[Pod] = []

    def start(self, **order: Any) -> Pod:
        order = {"name": "words", "namespace": "shop", "uid": "6f1c", "grace_seconds": 10.0, **order}
        pod = Pod(order, self._folder / f"pod-{len(self._made)}", self._environment)
        self._made.append(pod)
        return pod

    def end(self) -> None:
        for pod in self._made:
            pod.end()


@pytest.fixture
def pods(tmp_path: Path, s3: S3Server) -> Iterator[Pods]:
    made = Pods(tmp_path, s3.environment)
    yield made
    made.end()
