"""What the data plane adds to one call, beyond the model: ``python bench/microbench_plane.py``.

Interleaves the bare model call with the call through the data plane, in rounds, and prints the median of the
differences with the spread. The model is the iris classifier as ONNX, on the event loop, and again in a thread.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import onnxruntime
import prometheus_client

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pillion.dataplane.call import Call, InferRequest, WireProtocol
from pillion.dataplane.plane import DataPlane
from pillion.metrics import RuntimeMetrics
from pillion.repository.repository import ModelRepository
from pillion.runtimefile import DesiredModel, ExecutionSettings
from pillion.tensors import Datatype
from tests.models import iris_rows, train_iris

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 3000
CALLS = 20


async def _through(plane: DataPlane, request: InferRequest, calls: int) -> float:
    call = Call(WireProtocol.REST, "bench")
    started = time.perf_counter()
    for _ in range(calls):
        await plane.infer(request, call)
    return (time.perf_counter() - started) / calls * 1e6


def _bare(predict: Callable[[], object], calls: int) -> float:
    started = time.perf_counter()
    for _ in range(calls):
        predict()
    return (time.perf_counter() - started) / calls * 1e6


async def main() -> None:
    plane = DataPlane(repository=ModelRepository(), metrics=RuntimeMetrics(prometheus_client.CollectorRegistry()))
    await plane.start()
    with tempfile.TemporaryDirectory() as folder:
        models = train_iris(Path(folder))
        session = onnxruntime.InferenceSession(models.onnx)
        inline, thread = ExecutionSettings(executor="inline"), ExecutionSettings(executor="thread")
        await plane.apply(
            [
                DesiredModel(name="inline", path=str(models.onnx), execution=inline),
                DesiredModel(name="thread", path=str(models.onnx), execution=thread),
            ]
        )
    tensor = iris_rows("X", Datatype.FP32, 1)
    rounds = [
        (
            _bare(lambda: session.run(["label", "probabilities"], {"X": tensor.data}), CALLS),
            await _through(plane, InferRequest("inline", [tensor]), CALLS),
            await _through(plane, InferRequest("thread", [tensor]), CALLS // 4),
        )
        for _ in range(ROUNDS)
    ]
    await plane.stop(1)
    for name, column in (("inline", 1), ("thread", 2)):
        added = sorted(row[column] - row[0] for row in rounds)
        print(
            f"{name}: model {median(row[0] for row in rounds):.1f} us, through the plane"
            f" {median(row[column] for row in rounds):.1f} us; added {median(added):.1f} us"
            f" (quartiles {added[ROUNDS // 4]:.1f} and {added[ROUNDS * 3 // 4]:.1f} over {ROUNDS} rounds)"
        )


if __name__ == "__main__":
    asyncio.run(main())
