"""The runtime as a pod's patch starts it: its environment and its runtime.yaml, with the paths of this machine."""

from __future__ import annotations

import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx

import pillion
from tests.integration.server.process import environment
from tests.ports import free_port
from tests.unit.operator.test_sidecar import ADMIN_PORT, RUNTIME, injected, named, pod

if TYPE_CHECKING:
    from pathlib import Path

    from tests.models import IrisModels


def test_it_answers_on_its_socket_is_ready_on_its_admin_port_and_ends_on_sigterm(
    tmp_path: Path, iris: IrisModels
) -> None:
    port = str(free_port())
    made = injected(pod({ADMIN_PORT: port}))
    container = named(made["spec"]["initContainers"], "pillion-runtime")
    config = tmp_path / "runtime.yaml"
    config.write_text(made["metadata"]["annotations"][RUNTIME].replace("/mnt/models", str(iris.skops)))
    variables = {
        variable["name"]: variable["value"].replace("/run/pillion-sidecar", str(tmp_path))
        for variable in container["env"]
    }
    assert container["command"] == ["python", "-m", "pillion.server"]
    process = subprocess.Popen(
        [sys.executable, *container["command"][1:], "--config", config, "--control-socket", tmp_path / "control.sock"],
        env=environment(**variables, PILLION_ADMIN__HOST="127.0.0.1"),
    )
    try:
        with pillion.Client(f"unix://{tmp_path / 'http.sock'}") as client:
            client.wait_ready(60)
            assert [0] == client.predict([[5.1, 3.5, 1.4, 0.2]])
        probe = container["startupProbe"]["httpGet"]
        assert 200 == httpx.get(f"http://127.0.0.1:{probe['port']}{probe['path']}", timeout=60).status_code
        for name in ("http.sock", "grpc.sock"):
            assert 0o666 == stat.S_IMODE((tmp_path / name).stat().st_mode)
        process.terminate()
        assert 0 == process.wait(30)
    finally:
        process.kill()
        process.wait()
