"""The real server as a process of its own, for clients that know nothing of it but its ports."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from e2e.cluster.node.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["RunningServer", "serve"]

_START_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class RunningServer:
    """Where the server answers."""

    http_port: int
    grpc_port: int
    admin_port: int

    @property
    def http(self) -> str:
        """``host:port`` of the inference routes."""
        return f"127.0.0.1:{self.http_port}"

    @property
    def grpc(self) -> str:
        """``host:port`` of the gRPC services."""
        return f"127.0.0.1:{self.grpc_port}"


@contextlib.contextmanager
def serve(
    folder: Path, models: list[dict[str, str]], settings: dict[str, Any] | None = None
) -> Iterator[RunningServer]:
    """Run ``python -m pillion.server`` until the block ends; it has to be ready, and has to end with 0.

    Raises:
        AssertionError: it did not start, or ended with another code; its log is in the message.
    """
    http, grpc, admin = free_ports(3)
    config = folder / "runtime.yaml"
    document = {
        "apiVersion": "runtime.pillion.dev/v1",
        "settings": {
            "http": {"host": "127.0.0.1", "port": http},
            **(settings or {}),
            "grpc": {"host": "127.0.0.1", "port": grpc, **(settings or {}).get("grpc", {})},
            "admin": {"host": "127.0.0.1", "port": admin},
            "control": {"socket": str(folder / "control.sock")},
        },
        "models": models,
    }
    config.write_text(yaml.safe_dump(document))
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "pillion.server", "--config", config], stdout=output, stderr=subprocess.STDOUT
        )
    try:
        _wait_until_ready(process, admin, log)
        yield RunningServer(http, grpc, admin)
    finally:
        process.terminate()
        code = process.wait(_START_SECONDS)
    assert 0 == code, log.read_text()


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=60):
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/status", timeout=60) as answer:
        raise AssertionError(f"not ready: {json.dumps(json.load(answer), indent=1)}\n{log.read_text()}")
    raise AssertionError(log.read_text())
