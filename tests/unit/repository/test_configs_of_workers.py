"""A config for several worker processes: all have the same, whichever of them refuses another.

The workers are stand-ins that answer at once: real ones do not refuse and come at a moment of one's choice.
"""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from pillion.execution.process import ProcessExecutor
from pillion.repository.upkeep import configure

if TYPE_CHECKING:
    from collections.abc import Callable

    from pillion.execution.remote import RemoteTask
    from pillion.execution.sent import Sent


class Worker:
    """Takes configs, but none that says its own name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.config: dict[str, Any] = {}
        self.outstanding: dict[int, Any] = {}
        self.asked: Callable[[], None] = lambda: None

    def send(self, sent: Sent) -> None:
        config = dict(cast("RemoteTask", sent.model).arguments)
        self.asked()
        if config.get("not for") == self.name:
            sent.future.set_exception(ValueError(f"not for {self.name}"))
        else:
            self.config = config
            sent.future.set_result([])


class Executor(ProcessExecutor):
    """Only who its workers are."""

    def __init__(self, *workers: Worker) -> None:
        self.present = [*workers]
        self.opening = None

    def links(self) -> list[Any]:
        return [*self.present]

    def attach(self, worker: Worker) -> None:
        """A worker comes, as the executor lets one come."""
        if self.opening is not None:
            worker.config = dict(cast("RemoteTask", self.opening()).arguments)
        self.present.append(worker)


def served(executor: Executor) -> Any:
    return SimpleNamespace(executor=executor, model=SimpleNamespace(tasks=()))


def test_a_config_that_one_worker_refuses_is_taken_back_from_the_others() -> None:
    async def run() -> None:
        executor = Executor(Worker("a"), Worker("b"))
        await configure(served(executor), {"n": 1}, 60)
        with pytest.raises(ValueError, match="not for b"):
            await configure(served(executor), {"n": 2, "not for": "b"}, 60)

        executor.attach(Worker("c"))

        assert [{"n": 1}] * 3 == [worker.config for worker in executor.present]

    asyncio.run(run())


def test_a_worker_that_comes_while_the_others_are_asked_has_it_too() -> None:
    async def run() -> None:
        worker = Worker("a")
        executor = Executor(worker)
        await configure(served(executor), {"n": 1}, 60)
        worker.asked = lambda: executor.attach(Worker("b"))
        await configure(served(executor), {"n": 2}, 60)

        assert [{"n": 2}] * 2 == [worker.config for worker in executor.present]

    asyncio.run(run())
