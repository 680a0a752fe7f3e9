"""Coroutines on the loop, the rest in threads."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from pillion.execution.api import DeadlinePassedError, Interrupt
from pillion.execution.mixed import MixedExecutor
from pillion.execution.thread import ThreadExecutor
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from pillion.tensors import Tensor


@pytest.fixture
async def executor() -> AsyncIterator[MixedExecutor]:
    made = MixedExecutor(ThreadExecutor("test", 1))
    yield made
    made.close()


class Call:
    """One call that records where it ran and waits to be let go."""

    def __init__(self, *, asynchronous: bool, cleans_up: bool = False) -> None:
        self.asynchronous = asynchronous
        self.thread: threading.Thread | None = None
        self.begun = asyncio.Event()
        self.go = asyncio.Event()
        self.cancelled = False
        self._cleans_up = cleans_up
        self.cleaned = asyncio.Event()

    def predict(
        self, inputs: Sequence[Tensor | None], outputs: tuple[str, ...], interrupt: Interrupt | None
    ) -> list[Tensor]:
        self.thread = threading.current_thread()
        return []

    async def predict_async(self, inputs: Sequence[Tensor | None], outputs: tuple[str, ...]) -> list[Tensor]:
        self.thread = threading.current_thread()
        self.begun.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            if self._cleans_up:
                await self.cleaned.wait()
            raise
        return []


async def test_a_plain_call_runs_in_a_thread(executor: MixedExecutor) -> None:
    call = Call(asynchronous=False)
    assert [] == await executor.run(call, (), (), 20)
    assert call.thread is not threading.current_thread()


async def test_a_coroutine_runs_on_the_loop(executor: MixedExecutor) -> None:
    call = Call(asynchronous=True)
    call.go.set()
    assert [] == await executor.run(call, (), (), None)
    assert call.thread is threading.current_thread()


async def test_a_coroutine_beyond_its_time_is_cancelled(executor: MixedExecutor) -> None:
    call = Call(asynchronous=True)
    with pytest.raises(DeadlinePassedError):
        await executor.run(call, (), (), 0.01)
    await until(lambda: call.cancelled and executor.abandoned == 0)


async def test_a_coroutine_whose_caller_leaves_is_cancelled_and_counted_until_it_has_cleaned_up(
    executor: MixedExecutor,
) -> None:
    call = Call(asynchronous=True, cleans_up=True)
    waiting = asyncio.create_task(executor.run(call, (), (), None))
    await call.begun.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await until(lambda: call.cancelled)
    assert 1 == executor.abandoned
    call.cleaned.set()
    await until(lambda: executor.abandoned == 0)


async def test_an_error_reaches_the_caller(executor: MixedExecutor) -> None:
    class Failing(Call):
        async def predict_async(self, inputs: Sequence[Tensor | None], outputs: tuple[str, ...]) -> list[Tensor]:
            raise KeyError("x")

    with pytest.raises(KeyError):
        await executor.run(Failing(asynchronous=True), (), (), None)


async def test_code_that_cancels_itself_is_an_error_and_not_a_client_that_left(executor: MixedExecutor) -> None:
    class Cancelling(Call):
        async def predict_async(self, inputs: Sequence[Tensor | None], outputs: tuple[str, ...]) -> list[Tensor]:
            raise asyncio.CancelledError

    with pytest.raises(RuntimeError, match="cancelled itself"):
        await executor.run(Cancelling(asynchronous=True), (), (), None)


async def test_a_call_may_be_begun_outside_of_any_task(executor: MixedExecutor) -> None:
    loop = asyncio.get_running_loop()
    call = Call(asynchronous=True)
    running = executor.run(call, (), (), None)
    done: asyncio.Future[int] = loop.create_future()

    def begin() -> None:
        assert asyncio.current_task() is None
        waited: asyncio.Future[object] = running.send(None)
        waited.add_done_callback(lambda _: done.set_result(1))
        waited._asyncio_future_blocking = False
        call.go.set()

    loop.call_soon(begin)
    assert 1 == await done
    with pytest.raises(StopIteration):
        running.send(None)
