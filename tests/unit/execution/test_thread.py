from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pillion.execution.api import DeadlinePassedError, Interrupt
from pillion.execution.thread import ThreadExecutor
from pillion.tensors import Datatype, Tensor
from tests.gated import Gate
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence


class Held:
    """A model whose calls wait at a gate."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.interrupted = threading.Event()
        self.error: BaseException | None = None

    def predict(
        self, inputs: Sequence[Tensor | None], outputs: tuple[str, ...], interrupt: Interrupt | None
    ) -> list[Tensor]:
        if self.error is not None:
            raise self.error
        if interrupt is not None:
            interrupt.action = self.interrupted.set
        self.gate.pass_through()
        return [tensor for tensor in inputs if tensor is not None]


def tensor() -> Tensor:
    return Tensor("x", Datatype.FP32, np.zeros(1, np.float32))


@pytest.fixture
async def pool() -> AsyncIterator[ThreadExecutor]:
    executor = ThreadExecutor("test", threads=2, spare=1)
    yield executor
    executor.close()


def begin(pool: ThreadExecutor, model: Held, seconds: float | None = None) -> asyncio.Task[list[Tensor]]:
    return asyncio.ensure_future(pool.run(model, [tensor()], ("y",), seconds))


async def give_up(task: asyncio.Task[list[Tensor]]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_a_call_returns_what_the_model_returned(pool: ThreadExecutor) -> None:
    model = Held()
    model.gate.open()
    given = tensor()
    assert [given] == await pool.run(model, [given], ("y",), 10)


async def test_a_models_exception_reaches_the_caller(pool: ThreadExecutor) -> None:
    model = Held()
    model.error = KeyError("boom")
    with pytest.raises(KeyError, match="boom"):
        await pool.run(model, [tensor()], ("y",), None)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), StopIteration("end")])
async def test_exceptions_that_would_end_a_loop_or_a_process_become_the_calls_own(
    pool: ThreadExecutor, error: BaseException
) -> None:
    model = Held()
    model.error = error
    with pytest.raises(RuntimeError, match=type(error).__name__):
        await pool.run(model, [tensor()], ("y",), None)


async def test_no_more_than_the_given_threads_run_at_once(pool: ThreadExecutor) -> None:
    model = Held()
    calls = [begin(pool, model) for _ in range(5)]
    await until(lambda: model.gate.entered == 2)
    assert model.gate.inside == 2
    model.gate.open()
    await asyncio.gather(*calls)
    assert model.gate.entered == 5


async def test_a_call_that_has_not_begun_is_never_begun_after_it_was_cancelled(pool: ThreadExecutor) -> None:
    model = Held()
    running = [begin(pool, model), begin(pool, model)]
    await until(lambda: model.gate.entered == 2)
    await give_up(waiting := begin(pool, model))
    assert waiting.cancelled()
    model.gate.open()
    await asyncio.gather(*running)
    await until(lambda: pool.busy == 0)
    assert model.gate.entered == 2


async def test_a_running_call_that_is_cancelled_counts_as_abandoned_until_it_ends(pool: ThreadExecutor) -> None:
    model = Held()
    call = begin(pool, model)
    await until(lambda: model.gate.entered == 1)
    await give_up(call)
    assert pool.abandoned == 1
    model.gate.open()
    await until(lambda: pool.abandoned == 0)
    assert pool.busy == 0


async def test_a_cancelled_call_is_interrupted_where_the_model_can_be(pool: ThreadExecutor) -> None:
    model = Held()
    call = begin(pool, model)
    await until(lambda: model.gate.entered == 1)
    await give_up(call)
    assert model.interrupted.is_set()
    model.gate.open()


async def test_a_deadline_gives_the_call_up_while_it_runs(pool: ThreadExecutor) -> None:
    model = Held()
    with pytest.raises(DeadlinePassedError):
        await pool.run(model, [tensor()], ("y",), 0.01)
    await until(lambda: model.gate.entered == 1 or pool.busy == 0)
    model.gate.open()
    await until(lambda: pool.busy == 0 and pool.abandoned == 0)


async def test_abandoned_calls_do_not_starve_others_up_to_the_spare_threads(pool: ThreadExecutor) -> None:
    stuck, quick = Held(), Held()
    quick.gate.open()
    calls = [begin(pool, stuck) for _ in range(2)]
    await until(lambda: stuck.gate.entered == 2)
    for call in calls:
        await give_up(call)
    assert pool.abandoned == 2
    await asyncio.wait_for(pool.run(quick, [tensor()], ("y",), None), 60)
    stuck.gate.open()


def entered(model: Held, times: int) -> bool:
    return model.gate.entered == times


async def test_threads_are_bounded_however_many_calls_are_abandoned(pool: ThreadExecutor) -> None:
    stuck = Held()
    for number in range(6):
        call = begin(pool, stuck)
        await asyncio.sleep(0)
        await until(partial(entered, stuck, min(3, number + 1)))
        await give_up(call)
    assert stuck.gate.entered == 3
    assert pool.abandoned == 3
    stuck.gate.open()
    await until(lambda: pool.busy == 0)


async def test_an_idle_thread_keeps_no_tensor_alive(pool: ThreadExecutor) -> None:
    model = Held()
    model.gate.open()
    given = tensor()
    watched = weakref.ref(given.data)
    await pool.run(model, [given], ("y",), None)
    del given

    def gone() -> bool:
        gc.collect()
        return watched() is None

    await until(gone)


async def test_closing_lets_queued_calls_finish_and_then_ends_the_threads() -> None:
    pool = ThreadExecutor("closing", threads=1)
    model = Held()
    calls = [begin(pool, model) for _ in range(3)]
    await until(lambda: model.gate.entered == 1)
    pool.close()
    model.gate.open()
    await asyncio.gather(*calls)
    await until(lambda: not any(thread.name.startswith("closing-") for thread in threading.enumerate()))
    with pytest.raises(RuntimeError, match="closed"):
        await pool.run(model, [tensor()], ("y",), None)


async def test_a_thousand_cancelled_calls_leave_nothing_behind(pool: ThreadExecutor) -> None:
    model = Held()
    before = threading.active_count()
    for _ in range(1000):
        call = begin(pool, model)
        await asyncio.sleep(0)
        await give_up(call)
    model.gate.open()
    await until(lambda: pool.busy == 0)
    assert pool.abandoned == 0
    assert threading.active_count() - before <= 3


async def test_a_limit_of_threads_is_told_or_lived_with(pool: ThreadExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:  # as Python does at a limit of the pod, which a test's machine has not
        raise RuntimeError("can't start new thread")

    model = Held()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="new thread"):
            await begin(pool, model)
    assert pool.idle
    first = begin(pool, model)
    await until(lambda: model.gate.inside == 1)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        second = begin(pool, model)
        await asyncio.sleep(0)
    model.gate.open()
    assert 2 == len(await asyncio.gather(first, second))
    await until(lambda: pool.idle)


async def test_a_call_that_ends_in_the_turn_in_which_it_is_given_up_is_not_counted_for_ever(
    pool: ThreadExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, told = asyncio.get_running_loop(), threading.Event()
    tell = loop.call_soon_threadsafe

    def telling(*arguments: Any) -> asyncio.Handle:
        handle = tell(*arguments)
        told.set()
        return handle

    model = Held()
    call = begin(pool, model)
    await until(lambda: model.gate.entered == 1)
    monkeypatch.setattr(loop, "call_soon_threadsafe", telling)
    model.gate.open()
    assert told.wait(60)  # the loop stands still meanwhile, and hears of the end once the call has been cancelled
    await give_up(call)
    assert (0, 0) == (pool.busy, pool.abandoned)
