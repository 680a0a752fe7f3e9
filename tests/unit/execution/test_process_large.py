"""Large tensors on their way to a worker: a thread copies them, and what is behind them waits its turn."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest

from pillion.execution import worker_link
from pillion.repository.repository import ModelRepository
from pillion.repository.served import RepositorySettings
from tests.waiting import until
from tests.workers import Controls, tensor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from pillion.backends.api import TaskModel
    from pillion.execution.process import ProcessExecutor
    from pillion.repository.served import Served

LARGE = np.arange(worker_link.COPIED_ON_LOOP // 4 + 1000, dtype=np.float32)


class Copying:
    """Holds the threads that copy, and counts them."""

    def __init__(self) -> None:
        self.begun = 0
        self.go = threading.Event()
        self._copy: Any = worker_link._filled

    def __call__(self, *arguments: Any) -> Any:
        self.begun += 1
        self.go.wait(100)
        return self._copy(*arguments)


@pytest.fixture
def copying(monkeypatch: pytest.MonkeyPatch) -> Iterator[Copying]:
    made = Copying()
    monkeypatch.setattr(worker_link, "_filled", made)
    yield made
    made.go.set()


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    repository = ModelRepository(RepositorySettings(cpus=1, unload_grace_seconds=5))
    await repository.apply([Controls(tmp_path).model(idempotent=False)])
    found = repository.serving()["m", None]
    for _ in range(5):  # known as quick, so that the worker is given several calls at a time
        await echo(found, "quick")
    yield found
    await repository.close()


async def echo(served: Served, text: str) -> str:
    model = cast("TaskModel", served.model)
    run = model.begin(model.tasks["logs"], {"text": text})
    await served.executor.run(run, (), (), 20)
    return str(run.value)


async def predict(served: Served, values: Any) -> np.ndarray[Any, Any]:
    [answer] = await served.executor.run(served.model, [tensor(values)], served.model.default_outputs, 20)
    return answer.data


async def test_calls_behind_a_copy_are_begun_after_it(served: Served, copying: Copying) -> None:
    ended: list[str] = []
    first = asyncio.create_task(predict(served, LARGE))
    first.add_done_callback(lambda _: ended.append("large"))
    await until(lambda: copying.begun == 1)
    others = [asyncio.create_task(echo(served, str(number))) for number in range(3)]
    for number, other in enumerate(others):
        other.add_done_callback(lambda _, number=number: ended.append(str(number)))  # type: ignore[misc]  # bound now
    await asyncio.sleep(0.05)
    assert [] == ended
    copying.go.set()
    assert np.array_equal(LARGE, await first)
    await asyncio.gather(*others)
    assert ["large", "0", "1", "2"] == ended


async def test_a_call_given_up_while_it_is_copied_is_never_sent(served: Served, copying: Copying) -> None:
    first = asyncio.create_task(predict(served, LARGE))
    await until(lambda: copying.begun == 1)
    behind = asyncio.create_task(echo(served, "behind"))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait({first})
    assert 0 == served.executor.abandoned
    copying.go.set()
    assert "behind" == await behind
    assert np.array_equal(LARGE, await predict(served, LARGE))


async def test_a_worker_that_dies_meanwhile_costs_nothing(served: Served, copying: Copying) -> None:
    executor = cast("ProcessExecutor", served.executor)
    calls = [asyncio.create_task(predict(served, LARGE))]
    await until(lambda: copying.begun == 1)
    behind = asyncio.create_task(echo(served, "behind"))
    await asyncio.sleep(0)
    os.kill(executor.workers()[0].pid, signal.SIGKILL)
    await until(lambda: copying.begun == 2)  # by its successor
    copying.go.set()
    assert np.array_equal(LARGE, await calls[0])
    assert "behind" == await behind
    assert 2 == executor.workers()[0].starts


async def test_a_copy_that_fails_fails_its_call_alone(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("no more")

    with monkeypatch.context() as patched:
        patched.setattr(worker_link, "_filled", fail)
        failing = asyncio.create_task(predict(served, LARGE))
        behind = asyncio.create_task(echo(served, "behind"))
        with pytest.raises(RuntimeError, match="cannot be sent to its worker process: MemoryError: no more"):
            await failing
        assert "behind" == await behind
    assert np.array_equal(LARGE, await predict(served, LARGE))
