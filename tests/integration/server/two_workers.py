"""A class whose answers say which process gave them, and servers of several front workers that serve it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import httpx
import numpy as np

from pillion.protocol.protos import open_inference_pb2 as pb
from pillion.runtimefile import Code, DesiredModel, RuntimeFile, dump
from tests.integration.server.process import served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.server.process import ServerProcess

__all__ = ["WHO", "asked_over_grpc", "asked_over_rest", "two_workers", "who", "workers"]

WHO = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1.0]}]}
_SOURCE = """
import os
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pillion import Model, task

FOLDER = Path(__file__).parent


def wait_for(name):
    (FOLDER / f"{name}.begun").touch()
    while not (FOLDER / name).exists():
        time.sleep(0.002)


class Who(Model):
    def load(self):
        if (FOLDER / "slow").exists():
            wait_for("loaded")
        if (FOLDER / "unloadable").exists():
            raise OSError("the disk is on fire")
        if (FOLDER / "dies").exists():
            os._exit(3)

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.int64]:
        return np.full(len(x), os.getpid())

    @task
    def held(self, name: str) -> int:
        wait_for(name)
        return os.getpid()

    @task
    def threads(self) -> str:
        return os.environ["OMP_NUM_THREADS"]
"""


def who(folder: Path) -> Path:
    """A runtime.yaml with the class, in a folder that its instances look for files in."""
    (folder / "who.py").write_text(_SOURCE)
    model = DesiredModel(name="who", path="", code=Code(module=str(folder / "who.py"), folder=str(folder)))
    config = folder / "runtime.yaml"
    config.write_text(dump(RuntimeFile(models=(model,))))
    return config


@contextlib.contextmanager
def two_workers(folder: Path, *flags: str, ready: bool = True, **env: str) -> Iterator[ServerProcess]:
    """A server with two, ended whatever the test did."""
    with served(folder, who(folder), "--workers", "2", *flags, ready=ready, env=env) as server:
        yield server


def workers(server: ServerProcess) -> list[dict[str, Any]]:
    """What /status says of each."""
    found: list[dict[str, Any]] = server.admin("/status").json()["workers"]
    return found


async def asked_over_rest(server: ServerProcess, count: int) -> set[int]:
    """Which processes answer ``count`` connections that are opened together."""
    limits = httpx.Limits(max_connections=count, max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=server.url(), limits=limits, timeout=60) as client:
        answers = await asyncio.gather(*(client.post("/v2/models/who/infer", json=WHO) for _ in range(count)))
    return {answer.raise_for_status().json()["outputs"][0]["data"][0] for answer in answers}


async def asked_over_grpc(server: ServerProcess, count: int) -> set[int]:
    """The same over gRPC."""
    return set(await asyncio.gather(*(_call(f"127.0.0.1:{server.ports['grpc']}") for _ in range(count))))


async def _call(address: str) -> int:
    # A private subchannel pool, or channels of equal arguments would share one connection.
    async with grpc.aio.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        infer = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=pb.ModelInferRequest.SerializeToString,
            response_deserializer=pb.ModelInferResponse.FromString,
        )
        request = pb.ModelInferRequest(model_name="who")
        request.inputs.add(name="x", datatype="FP32", shape=[1])
        request.raw_input_contents.append(np.ones(1, dtype=np.float32).tobytes())
        answer: pb.ModelInferResponse = await infer(request, timeout=60)
    return int(np.frombuffer(answer.raw_output_contents[0], dtype=np.int64)[0])
