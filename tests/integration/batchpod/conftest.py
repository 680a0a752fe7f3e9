"""The pods' program as processes of this machine, with a bucket of a real S3 server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import obstore
import pytest
from obstore.store import S3Store

from pillion.batchpod.order import VARIABLE
from tests.integration.storage.conftest import clean_environment, s3, s3_process
from tests.pod_program import PodProgram

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.storage.conftest import S3Server

__all__ = ["Pod", "Pods", "clean_environment", "s3", "s3_process"]


class Pod(PodProgram):
    """One run of the program."""

    module = "pillion.batchpod"
    variable = VARIABLE
    kind = "batch"

    def wait_for(self, *, done: int, read: int = 0) -> dict[str, Any]:
        """Wait until `/status` says at least so much."""
        return self.wait_until(
            lambda found: bool(found) and found["shards"]["done"] >= done and found["rows"]["read"] >= read
        )


class Pods:
    """Makes runs, each as a pod of its own: nothing of the one before is on its disk."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder = folder
        self._environment = environment
        self._made: list[Pod] = []

    def start(self, *, index: int = 0, environment: dict[str, str] | None = None, **order: Any) -> Pod:
        order = {"name": "flowers", "uid": "6f1c", **order}
        own = {**self._environment, "JOB_COMPLETION_INDEX": str(index), **(environment or {})}
        pod = Pod(order, self._folder / f"pod-{len(self._made)}", own)
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


class Bucket:
    """A folder of the bucket, of this test alone."""

    def __init__(self, s3: S3Server, folder: str) -> None:
        values = s3.environment
        self._store = S3Store(
            "models",
            endpoint=s3.endpoint,
            access_key_id=values["AWS_ACCESS_KEY_ID"],
            secret_access_key=values["AWS_SECRET_ACCESS_KEY"],
            client_options={"allow_http": True},
        )
        self._folder = folder
        self.uri = f"s3://models/{folder}"

    def put(self, name: str, content: str | bytes) -> None:
        obstore.put(self._store, f"{self._folder}/{name}", content.encode() if isinstance(content, str) else content)

    def read(self, name: str) -> bytes:
        return bytes(obstore.get(self._store, f"{self._folder}/{name}").bytes())

    def names(self, below: str = "") -> list[str]:
        prefix = f"{self._folder}/{below}".rstrip("/")
        found = [meta["path"] for page in obstore.list(self._store, prefix) for meta in page]
        return sorted(path.removeprefix(f"{self._folder}/") for path in found)

    def lines(self, below: str) -> list[dict[str, Any]]:
        """Every line of the JSONL files of a folder, not of the folders in it."""
        names = [name for name in self.names(below) if "/" not in name.removeprefix(f"{below}/")]
        texts = [self.read(name) for name in names if name.endswith(".jsonl")]
        return [msgspec.json.decode(line) for text in texts for line in text.splitlines()]


@pytest.fixture
def bucket(s3: S3Server, request: pytest.FixtureRequest) -> Bucket:
    return Bucket(s3, f"batch/{request.node.name.partition('[')[0]}-{abs(hash(request.node.name))}")
