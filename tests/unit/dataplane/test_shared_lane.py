"""Models that compute batches and also calls of their own, and batches whose calls misbehave."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pillion.backends.api import InputRule
from pillion.dataplane.call import Call, InferRequest, WireProtocol
from pillion.dataplane.gathering import Gathering
from pillion.dataplane.lane import Lane
from pillion.dataplane.settings import PlaneSettings
from pillion.errors import ErrorCode, PillionError
from pillion.execution.adaptive import AdaptiveExecutor
from pillion.execution.api import WorkerDiedError
from pillion.execution.inline import InlineExecutor
from pillion.execution.placement import InlineLimits
from pillion.execution.thread import ThreadExecutor
from pillion.metrics import ModelMetrics
from pillion.model import ModelMetadata
from pillion.repository.served import Served
from pillion.runtimefile import DesiredModel
from pillion.tensors import Datatype, Tensor, TensorSpec
from tests.waiting import until

if TYPE_CHECKING:
    from pillion.execution.api import Executor

SPEC = TensorSpec("x", Datatype.FP32, (-1, 2))


class Panic(BaseException):
    """What extensions written in Rust raise where they would abort."""


class Run:
    """A task's call."""

    def __init__(self, model: Doubling) -> None:
        self.model = model
        self.value = "task"

    def predict(self, *_: object) -> list[Tensor]:
        self.model.wait()
        return []


class Doubling:
    """Twice its input, and a task. Rows below 0 fail after some work, rows above 1000 panic."""

    rules = (InputRule(SPEC, frozenset({Datatype.FP32})),)
    any_input_name = True
    default_outputs = ("y",)
    metadata = ModelMetadata("test", (SPEC,), (TensorSpec("y", Datatype.FP32, (-1, 2)),))
    libraries = None

    def __init__(self) -> None:
        self.calls = 0
        self.held = False

    def wait(self) -> None:
        self.calls += 1
        until_then = time.monotonic() + 20
        while self.held and time.monotonic() < until_then:
            time.sleep(0.001)

    def predict(self, inputs: Any, outputs: Any, interrupt: Any) -> list[Tensor]:
        data = inputs[0].data
        self.wait()
        if (data > 1000).any():
            raise Panic
        if (data < 0).any():
            began = time.thread_time()
            while time.thread_time() - began < 0.02:
                pass
            raise ValueError("below zero")
        return [Tensor("y", Datatype.FP32, data * 2)]

    def begin(self, *_: object) -> Run:
        return Run(self)

    def close(self) -> None:
        pass


def lane_of(model: Doubling, executor: Executor) -> Lane:
    served = Served(DesiredModel(name="m", path="m"), model, executor, 1, shares_calls=True)
    return Lane(served, PlaneSettings(), ModelMetrics("m", "1"), time.monotonic, Gathering())


async def infer(lane: Lane, value: float) -> float:
    tensor = Tensor("x", Datatype.FP32, np.full((1, 2), value, np.float32))
    call = Call(WireProtocol.REST, "r")
    (result,) = await lane.serve(InferRequest("m", [tensor]), call, time.monotonic())
    return float(result.data[0, 0])


async def perform(lane: Lane) -> Any:
    return await lane.perform(None, {}, Call(WireProtocol.REST, "r"), time.monotonic())  # type: ignore[arg-type] # the task is not looked at


@pytest.mark.parametrize("first_is_task", [True, False])
async def test_tasks_and_batches_hand_their_slot_to_each_other(first_is_task: bool) -> None:  # noqa: FBT001 - parametrized
    model = Doubling()
    model.held = True
    lane = lane_of(model, ThreadExecutor("m", 1))
    order = [perform(lane), infer(lane, 3)] if first_is_task else [infer(lane, 3), perform(lane)]
    first = asyncio.ensure_future(order[0])
    await until(lambda: model.calls == 1)
    second = asyncio.ensure_future(order[1])
    await until(lambda: lane.admission.queued == 1)
    model.held = False
    assert {"task", 6.0} == set(await asyncio.wait_for(asyncio.gather(first, second), 60))
    assert (0, 0) == (lane.admission.running, lane.admission.queued)


async def test_a_steady_stream_of_tasks_does_not_keep_batches_waiting() -> None:
    model = Doubling()
    model.held = True
    lane = lane_of(model, ThreadExecutor("m", 1))
    order: list[str] = []

    def begun(what: str) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.ensure_future(perform(lane) if what == "task" else infer(lane, 3))
        task.add_done_callback(lambda _: order.append(what))
        return task

    def another(_: object) -> None:
        if len(tasks) < 12:
            tasks.append(begun("task"))
            tasks[-1].add_done_callback(another)

    tasks = [begun("task")]
    await until(lambda: model.calls == 1)
    tasks.append(begun("task"))
    await until(lambda: lane.admission.queued == 1)
    tasks.append(begun("batch"))
    await until(lambda: lane.admission.queued == 2)
    tasks[0].add_done_callback(another)
    tasks[1].add_done_callback(another)
    model.held = False
    await asyncio.wait_for(tasks[2], 60)
    assert ["task", "task", "batch"] == order[:3]
    while not all(task.done() for task in tasks):
        await asyncio.wait(tasks)
    assert (0, 0) == (lane.admission.running, lane.admission.queued)


async def test_a_failing_call_that_moves_the_model_to_threads_fails_its_own_request_alone() -> None:
    executor = AdaptiveExecutor("m", ThreadExecutor("m", 1), limits=InlineLimits(demote_seconds=0.01))
    lane = lane_of(Doubling(), executor)
    results = await asyncio.gather(*(infer(lane, value) for value in (1, 2, -1, 3)), return_exceptions=True)
    failure = results.pop(2)
    assert [2, 4, 6] == results
    assert isinstance(failure, PillionError)
    assert (ErrorCode.INVALID_ARGUMENT, True) == (failure.code, "below zero" in failure.message)
    await until(lambda: lane.admission.running == 0)


@pytest.mark.parametrize("executor", [InlineExecutor(), ThreadExecutor("m", 1)], ids=["on the loop", "in a thread"])
async def test_a_panic_is_the_failure_of_its_request_and_of_nothing_else(executor: Executor) -> None:
    lane = lane_of(Doubling(), executor)
    results = await asyncio.gather(*(infer(lane, value) for value in (1, 5000, 2)), return_exceptions=True)
    failure = results.pop(1)
    assert [2, 4] == results
    assert isinstance(failure, PillionError)
    assert ErrorCode.MODEL_FAILED is failure.code
    assert 8 == await infer(lane, 4)


class Elsewhere:
    """An executor whose calls end in one way while several requests share them."""

    immediate = False
    abandoned = 0

    def __init__(self, code: ErrorCode, *, again: bool = True) -> None:
        self.code = code
        self.again = again
        self.sizes: list[int] = []

    async def run(self, model: Any, inputs: Any, outputs: Any, seconds: Any) -> list[Tensor]:
        del outputs, seconds
        data = inputs[0].data
        self.sizes.append(len(data))
        await asyncio.sleep(0)
        if self.code is ErrorCode.NOT_READY:
            raise PillionError(self.code, "elsewhere")
        if (data > 1000).any():
            raise WorkerDiedError("m/1", 1, again=self.again)
        return [Tensor("y", Datatype.FP32, data * 2)]

    def close(self) -> None:
        pass


async def test_a_request_that_ends_its_worker_is_tried_alone_once_more_and_not_in_ever_smaller_company() -> None:
    executor = Elsewhere(ErrorCode.MODEL_FAILED)
    lane = lane_of(Doubling(), executor)
    results = await asyncio.gather(*(infer(lane, value) for value in (1, 2, 5000, 3)), return_exceptions=True)
    failure = results.pop(2)
    assert isinstance(failure, WorkerDiedError)
    assert "model m/1: 2 worker processes ended over this request" == failure.message
    assert [2, 4, 6] == results
    assert [4, 1, 1, 1, 1] == executor.sizes


async def test_requests_whose_worker_died_are_not_tried_again_where_they_may_not_be() -> None:
    executor = Elsewhere(ErrorCode.MODEL_FAILED, again=False)
    lane = lane_of(Doubling(), executor)
    results = await asyncio.gather(*(infer(lane, value) for value in (1, 5000)), return_exceptions=True)
    assert [1, 1] == [error.deaths for error in results if isinstance(error, WorkerDiedError)]
    assert [2] == executor.sizes


async def test_workers_that_are_not_there_are_asked_once() -> None:
    executor = Elsewhere(ErrorCode.NOT_READY)
    lane = lane_of(Doubling(), executor)
    results = await asyncio.gather(*(infer(lane, value) for value in (1, 2, 3)), return_exceptions=True)
    assert [ErrorCode.NOT_READY] * 3 == [error.code for error in results if isinstance(error, PillionError)]
    assert [3] == executor.sizes
