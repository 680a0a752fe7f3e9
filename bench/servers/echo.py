"""A model that gives back what it gets, called through an executor of ours; prints what was measured as JSON.

``python -m bench.servers.echo calls EXECUTOR CALLS CONCURRENCY`` or ``python -m bench.servers.echo crossing ROUNDS``.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from bench.accounts import cpu, family
from pillion.repository.repository import ModelRepository
from pillion.repository.served import RepositorySettings
from pillion.runtimefile import Code, DesiredModel, ExecutionSettings
from pillion.tensors import Datatype, Tensor

if TYPE_CHECKING:
    from pillion.backends.api import TaskModel
    from pillion.repository.served import Served

ROW = [5.1, 3.5, 1.4, 0.2]
BYTES = 16 << 20
SOURCE = """
import numpy as np
from pillion import Model, task


class Echo(Model):
    def predict(self, x: np.ndarray) -> np.ndarray:
        return x

    @task
    def echo(self, x: list[float]) -> list[float]:
        return x


class Head(Model):
    def predict(self, x: np.ndarray) -> np.ndarray:
        return x[:4]
"""


async def served(folder: str, cls: str, executor: str, repository: ModelRepository) -> Served:
    """The class, loaded."""
    file = Path(folder) / "echo_model.py"
    file.write_text(SOURCE)
    execution = ExecutionSettings(executor="process", processes=1)
    if executor == "thread":
        execution = ExecutionSettings(executor="thread", threads=1)
    code = Code(module=str(file), class_name=cls, folder=folder)
    await repository.apply([DesiredModel(name=cls.lower(), path="", format="python", code=code, execution=execution)])
    found = repository.serving().get((cls.lower(), None))
    if found is None:
        raise SystemExit(repository.status(cls.lower()).reason)
    return found


def floats(count: int) -> Tensor:
    """One tensor of numbers that differ."""
    return Tensor("x", Datatype.FP32, np.arange(count, dtype=np.float32))


async def calls(model: Served, way: str, count: int, concurrency: int) -> None:
    """``count`` calls, so many at a time; every answer is looked at."""
    left = iter(range(count))
    outputs = model.model.default_outputs
    row = Tensor("x", Datatype.FP32, np.asarray(ROW, dtype=np.float32))

    async def caller() -> None:
        for _ in left:
            if way == "task":
                tasks = cast("TaskModel", model.model)
                run = tasks.begin(tasks.tasks["echo"], {"x": ROW})
                await model.executor.run(run, (), (), None)
                good = run.value == ROW
            else:
                [answer] = await model.executor.run(model.model, [row], outputs, None)
                good = answer.data[3] == row.data[3]
            if not good:
                raise SystemExit("a wrong answer")

    await asyncio.gather(*(caller() for _ in range(concurrency)))


async def measure_calls(folder: str, executor: str, way: str, count: int, concurrency: int) -> dict[str, Any]:
    """Calls a second, and processor time of all processes."""
    repository = ModelRepository(RepositorySettings(cpus=1))
    model = await served(folder, "Echo", executor, repository)
    await calls(model, way, count // 10, concurrency)
    pids = family(os.getpid())
    before, began = cpu(pids), time.perf_counter()
    await calls(model, way, count, concurrency)
    elapsed, after = time.perf_counter() - began, cpu(pids)
    await repository.close()
    return {"per_second": count / elapsed, "cpu_us": (after - before) / count * 1e6, "processes": len(pids)}


async def measure_crossing(folder: str, rounds: int) -> dict[str, Any]:
    """Medians in milliseconds: 16 MiB to the worker, there and back, a small tensor there and back, and memcpy."""
    repository = ModelRepository(RepositorySettings(cpus=1))
    head = await served(folder, "Head", "process", repository)
    other = ModelRepository(RepositorySettings(cpus=1))
    echo = await served(folder, "Echo", "process", other)
    large, small = floats(BYTES // 4), floats(4)
    copy = np.empty_like(large.data)
    times: dict[str, list[float]] = {"memcpy": [], "to_worker": [], "there_and_back": [], "small": []}

    async def timed(name: str, model: Served, tensor: Tensor) -> None:
        began = time.perf_counter()
        [answer] = await model.executor.run(model.model, [tensor], model.model.default_outputs, None)
        times[name].append((time.perf_counter() - began) * 1e3)
        if answer.data[-1] != tensor.data[answer.data.size - 1]:
            raise SystemExit("a wrong answer")

    for _ in range(rounds):
        began = time.perf_counter()
        np.copyto(copy, large.data)
        times["memcpy"].append((time.perf_counter() - began) * 1e3)
        await timed("to_worker", head, large)
        await timed("there_and_back", echo, large)
        await timed("small", echo, small)
    await repository.close()
    await other.close()
    return {name: median(values[len(values) // 5 :]) for name, values in times.items()}


def main(arguments: list[str]) -> None:
    """See the module's docstring."""
    with tempfile.TemporaryDirectory() as folder:
        if arguments[0] == "crossing":
            result = asyncio.run(measure_crossing(folder, int(arguments[1])))
        else:
            _, executor, way, count, concurrency = arguments
            result = asyncio.run(measure_calls(folder, executor, way, int(count), int(concurrency)))
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1:])
