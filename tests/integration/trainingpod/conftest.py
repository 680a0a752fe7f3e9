"""The pod's program as a process of this machine, with a bucket of a real S3 server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pillion.trainingpod.order import VARIABLE
from tests.integration.storage.conftest import clean_environment, s3, s3_process
from tests.pod_program import PodProgram

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.storage.conftest import S3Server

__all__ = ["clean_environment", "s3", "s3_process"]


class Pod(PodProgram):
    """One run of the program."""

    module = "pillion.trainingpod"
    variable = VARIABLE
    kind = "training"

    def wait_for(self, **known: Any) -> dict[str, Any]:
        """Wait until `/status` says at least so much."""
        return self.wait_until(lambda found: all(found.get(name, -1) >= value for name, value in known.items()))


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
