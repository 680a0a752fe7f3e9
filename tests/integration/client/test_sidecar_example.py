"""The application of ``examples/sidecar`` beside a server on a unix socket, as in its pod."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from pillion.resources import InferenceService
from tests.integration.server.process import environment, served, write_config
from tests.waiting import until_now

if TYPE_CHECKING:
    from tests.models import IrisModels

EXAMPLE = Path(__file__).parents[3] / "examples" / "sidecar"


def application(folder: Path, rounds: int) -> subprocess.Popen[str]:
    """The application, with the address that a pod with a sidecar has."""
    with (folder / "said").open("w") as said:
        return subprocess.Popen(
            [sys.executable, EXAMPLE / "flowers.py", str(rounds)],
            env=environment(PILLION_URL=f"unix://{folder / 'http.sock'}"),
            stdout=said,
            stderr=subprocess.STDOUT,
            text=True,
        )


def test_it_waits_for_its_runtime_and_outlives_one_that_is_killed(tmp_path: Path, iris: IrisModels) -> None:
    config = tmp_path / "runtime.yaml"
    write_config(config, {"iris": iris.skops}, {"http": {"socket": str(tmp_path / "http.sock"), "socket_mode": "666"}})

    def lines() -> list[str]:
        return (tmp_path / "said").read_text().splitlines()

    with application(tmp_path, 30) as process:
        try:
            with served(tmp_path, config) as server:
                until_now(lambda: len(lines()) > 3, 60)
                server.signal(signal.SIGKILL)
                server.wait()
            # As the kubelet does, in the place of the killed one, whose socket's file is still there.
            with served(tmp_path, config):
                assert 0 == process.wait(60), lines()
        finally:
            process.kill()
    assert [f"{number} [0, 2]" for number in range(1, 31)] == lines()


def test_its_manifest_is_one_service_without_pods_of_its_own_and_a_job_that_names_it() -> None:
    service, job = yaml.safe_load_all((EXAMPLE / "flowers.yaml").read_text())
    made = InferenceService.from_manifest(service)
    template: dict[str, Any] = job["spec"]["template"]
    assert made.metadata.name == template["metadata"]["labels"]["serving.pillion.dev/sidecar"]
    assert (made.metadata.annotations or {})["serving.pillion.dev/stop"] == "true"
