"""A config for several worker processes: all have the same, whichever of them refuses another.

The workers are stand-ins that answer at once: real ones do not refuse and come at a moment of one's choice.
"""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from pillion.backends.python_upkeep import PythonReconfigure
from pillion.execution.process import ProcessExecutor
from pillion.repository import upkeep
from pillion.repository.in_workers import NotTakenBackError
from pillion.repository.upkeep import configure
from tests.waiting import until

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
        self.takes = 1000
        """So many configs more."""

    def send(self, sent: Sent) -> None:
        config = dict(cast("RemoteTask", sent.model).arguments)
        self.asked()
        self.takes -= 1
        if config.get("not for") == self.name or self.takes < 0:
            sent.future.set_exception(ValueError(f"not for {self.name}"))
        else:
            self.config = config
            sent.future.set_result([])


class Executor(ProcessExecutor):
    """Only who its workers are."""

    def __init__(self, *workers: Worker) -> None:
        self.present = [*workers]
        self.replaced: list[Any] = []
        self.opening = None
        self._label = "mood"

    def replace(self, link: Any) -> None:
        self.replaced.append(link)

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


def test_a_worker_that_does_not_take_the_former_config_back_is_replaced_and_it_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def run() -> None:
        stuck, other = Worker("a"), Worker("b")
        executor = Executor(stuck, other)
        await configure(served(executor), {"n": 1}, 60)
        stuck.takes = 1  # the next one, and none after it
        with pytest.raises(NotTakenBackError, match="ValueError: not for b; 1 worker process did not take the former"):
            await configure(served(executor), {"n": 2, "not for": "b"}, 60)

        assert [stuck] == executor.replaced

    asyncio.run(run())
    assert "model mood: a config was refused; 1 worker process did not take the former config back" in caplog.text


def test_a_plain_method_that_hangs_is_asked_once_until_it_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "_LONGEST", 0.05)
    may_end, taken = threading.Event(), list[dict[str, Any]]()

    def reconfigure(config: dict[str, Any]) -> None:
        taken.append(config)
        may_end.wait(60)

    async def run() -> None:
        model = SimpleNamespace(reconfigure=lambda config: PythonReconfigure(reconfigure, config))
        one: Any = SimpleNamespace(executor=None, model=model, configuring=None)
        with pytest.raises(TimeoutError, match="did not end within"):
            await configure(one, {"n": 1}, 60)
        for _ in range(5):
            with pytest.raises(TimeoutError, match="still busy with the config before"):
                await configure(one, {"n": 2}, 60)
        assert [{"n": 1}] == taken

        may_end.set()
        await until(one.configuring.done)
        monkeypatch.setattr(upkeep, "_LONGEST", 60.0)
        await configure(one, {"n": 3}, 60)
        assert [{"n": 1}, {"n": 3}] == taken

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
