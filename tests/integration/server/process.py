"""The server as a real process with real sockets."""

from __future__ import annotations

import contextlib
import json
import os
import signal  # noqa: TC003 - a dataclass is annotated with it
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003 - as above
from typing import TYPE_CHECKING, Any

import httpx

from pillion.runtimefile import DesiredModel, RuntimeFile, dump
from tests.waiting import until_now

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["ServerProcess", "iris_request", "served", "write_config"]

START_SECONDS = 60.0


def iris_request() -> dict[str, Any]:
    """One flower for the ONNX model."""
    return {"inputs": [{"name": "X", "shape": [1, 4], "datatype": "FP32", "data": [5.1, 3.5, 1.4, 0.2]}]}


def write_config(path: Path, models: Mapping[str, Path], settings: Mapping[str, Any] | None = None) -> None:
    """Write a runtime.yaml as the operator's ConfigMap changes one: a new file in place of the old."""
    file = RuntimeFile(
        settings=dict(settings or {}),
        models=tuple(DesiredModel(name=name, path=str(model)) for name, model in models.items()),
    )
    fresh = path.with_suffix(".new")
    fresh.write_text(dump(file))
    fresh.rename(path)


@dataclass
class ServerProcess:
    """A running ``python -m pillion.server``."""

    process: subprocess.Popen[bytes]
    log_file: Path
    control: Path
    ports: dict[str, int] = field(default_factory=dict)

    @property
    def log(self) -> list[dict[str, Any]]:
        """The JSON lines written so far."""
        whole = self.log_file.read_text(errors="replace").rpartition("\n")[0]  # and not one that is being written
        lines = whole.splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    def logged(self, text: str) -> list[dict[str, Any]]:
        """The lines whose message contains ``text``."""
        return [line for line in self.log if text in line["message"]]

    def wait_logged(self, text: str, count: int = 1) -> list[dict[str, Any]]:
        """The same, once there are so many: a line may come after the answer that it tells of."""
        until_now(lambda: len(self.logged(text)) >= count)
        return self.logged(text)

    def url(self, path: str = "", *, port: str = "http", scheme: str = "http") -> str:
        """A URL on one of the ports."""
        return f"{scheme}://127.0.0.1:{self.ports[port]}{path}"

    def admin(self, path: str) -> httpx.Response:
        """GET on the admin port."""
        return httpx.get(self.url(path, port="admin"), timeout=60)

    def wait_ready(self) -> None:
        """Wait until /readyz says 200."""
        until_now(lambda: self.admin("/readyz").status_code == 200 or self._gone(), START_SECONDS)

    def metric(self, name: str) -> float:
        """The value of one sample, named with its labels."""
        for line in self.admin("/metrics").text.splitlines():
            if line.startswith(f"{name} "):
                return float(line.rpartition(" ")[2])
        raise AssertionError(f"no metric {name}")

    def counted(self, name: str) -> float:
        """The value of one sample of a counter, 0 where nothing of these labels has been counted yet."""
        lines = self.admin("/metrics").text.splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} ")), 0.0)

    def _gone(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"the server ended with {self.process.returncode}: {self.log_file.read_text()}")
        return False

    def wait_bound(self) -> None:
        """Wait until the ports are known."""
        until_now(lambda: bool(self.logged("listening with")) or self._gone(), START_SECONDS)
        self.ports = self.logged("listening with")[0]["ports"]

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def wait(self, seconds: float = 60.0) -> int:
        """Wait for the end; the exit code."""
        return self.process.wait(seconds)


def command(config: Path | None = None, *flags: str) -> list[str]:
    """The command line, on free ports of loopback."""
    where = [] if config is None else ["--config", str(config)]
    ports = ["--http-port", "0", "--grpc-port", "0", "--admin-port", "0"]
    hosts = ["--http-host", "127.0.0.1", "--grpc-host", "127.0.0.1", "--admin-host", "127.0.0.1"]
    return [sys.executable, "-m", "pillion.server", *where, *ports, *hosts, *flags]


def environment(**extra: str) -> dict[str, str]:
    """The environment without settings of whoever runs the tests."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PILLION_")} | extra


@contextlib.contextmanager
def served(
    folder: Path, config: Path, *flags: str, ready: bool = True, env: Mapping[str, str] | None = None
) -> Iterator[ServerProcess]:
    """Start a server, and end it whatever the test did."""
    log_file = folder / f"server-{time.monotonic_ns()}.log"
    control = folder / "control.sock"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            command(config, "--control-socket", str(control), *flags),
            stdout=log,
            stderr=log,
            env=environment(**(env or {})),
        )
    server = ServerProcess(process, log_file, control)
    try:
        server.wait_bound()
        if ready:
            server.wait_ready()
        yield server
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
