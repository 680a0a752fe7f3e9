from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from pillion.dataplane.call import Call, InferencePlane, InferRequest, InferResponse, ModelState, WireProtocol
from pillion.dataplane.plane import DataPlane
from pillion.dataplane.settings import PlaneSettings
from pillion.errors import ErrorCode, PillionError
from pillion.execution.adaptive import AdaptiveExecutor
from pillion.execution.placement import InlineLimits
from pillion.metrics import RuntimeMetrics
from pillion.repository.repository import ModelRepository
from pillion.repository.served import RepositorySettings
from pillion.runtimefile import DesiredModel, ExecutionSettings
from pillion.tensors import Datatype, Tensor
from tests import gated
from tests.models import iris_rows
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.models import IrisModels

THREAD = ExecutionSettings(executor="thread", threads=2)


@dataclass
class Bench:
    """A data plane over real models, and what a test looks at."""

    plane: DataPlane
    registry: CollectorRegistry
    settings: PlaneSettings
    opened: list[gated.Gate] = field(default_factory=list)

    async def infer(self, model: str, tensor: Tensor, **fields: Any) -> InferResponse:
        deadline = fields.pop("deadline", None)
        call = Call(WireProtocol.REST, "request-1", deadline)
        return await self.plane.infer(InferRequest(model, [tensor], **fields), call)

    def begin(self, model: str, number: float = 1, **fields: Any) -> asyncio.Task[InferResponse]:
        return asyncio.ensure_future(self.infer(model, gated.value(number), **fields))

    async def refused(self, model: str, tensor: Tensor, **fields: Any) -> PillionError:
        with pytest.raises(PillionError) as refusal:
            await self.infer(model, tensor, **fields)
        return refusal.value

    def sample(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)

    def gate(self, name: str) -> gated.Gate:
        made = gated.gate(name)
        self.opened.append(made)
        return made


@pytest.fixture
async def make() -> AsyncIterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def build(**settings: Any) -> Bench:
        registry = CollectorRegistry()
        chosen = PlaneSettings(**settings)
        plane = DataPlane(
            repository=ModelRepository(RepositorySettings(cpus=2, unload_grace_seconds=20)),
            settings=chosen,
            metrics=RuntimeMetrics(registry),
        )
        made.append(Bench(plane, registry, chosen))
        return made[-1]

    yield build
    for bench in made:
        for opened in bench.opened:
            opened.open()
        await bench.plane.stop(10)


async def with_gated(bench: Bench, folder: Path, name: str, **execution: Any) -> gated.Gate:
    """Serve one gated model of that name."""
    path = gated.save(folder, name)
    model = DesiredModel(
        name=name,
        path=str(path),
        allow_pickle=True,
        execution=msgspec.structs.replace(THREAD, **{"batching": "off", **execution}),
    )
    await bench.plane.apply([model])
    assert bench.plane.status(name).state is ModelState.READY, bench.plane.status(name).reason
    return bench.gate(name)


async def cancel(tasks: list[asyncio.Task[InferResponse]]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with contextlib.suppress(asyncio.CancelledError, PillionError):
            await task


# Answers


def test_the_data_plane_is_what_transports_ask_for(make: Callable[..., Bench]) -> None:
    plane: InferencePlane = make().plane
    assert not plane.ready()


@pytest.mark.parametrize("executor", ["auto", "inline", "thread", "process"])
async def test_real_models_answer_on_every_executor(
    make: Callable[..., Bench], iris: IrisModels, executor: str
) -> None:
    bench = make()
    execution = ExecutionSettings(executor=executor)  # type: ignore[arg-type]  # parametrized with its choices
    await bench.plane.apply(
        [
            DesiredModel(name="sk", path=str(iris.skops), execution=execution),
            DesiredModel(name="onnx", path=str(iris.onnx), execution=execution),
        ]
    )
    assert bench.plane.ready()
    answer = await bench.infer("sk", iris_rows("input-0"), id="a")
    assert ("sk", "1", "a", [0, 1, 2]) == (answer.model, answer.version, answer.id, answer.outputs[0].data.tolist())
    answer = await bench.infer("onnx", iris_rows("X", Datatype.FP32), outputs=("probabilities",))
    assert ["probabilities"] == [tensor.name for tensor in answer.outputs]
    assert bench.plane.in_flight() == 0


async def test_requests_share_calls_in_worker_processes_too(make: Callable[..., Bench], iris: IrisModels) -> None:
    bench = make()
    execution = ExecutionSettings(executor="process", processes=1, batching="on")
    await bench.plane.apply([DesiredModel(name="sk", path=str(iris.skops), execution=execution)])
    answers = await asyncio.gather(*(bench.infer("sk", iris_rows("input-0")) for _ in range(40)))
    assert [[0, 1, 2]] * 40 == [answer.outputs[0].data.tolist() for answer in answers]
    shared = bench.sample("pillion_batch_requests_count", model="sk", version="1")
    assert shared is not None
    assert 0 < shared < 40


async def test_a_quick_model_with_a_free_slot_answers_without_suspending(
    make: Callable[..., Bench], iris: IrisModels
) -> None:
    bench = make()
    await bench.plane.apply(
        [DesiredModel(name="m", path=str(iris.onnx), execution=ExecutionSettings(executor="inline"))]
    )
    request = InferRequest("m", [iris_rows("X", Datatype.FP32)])
    bench.plane.gather(1)
    coroutine = bench.plane.infer(request, Call(WireProtocol.GRPC, "r"))
    with pytest.raises(StopIteration):
        coroutine.send(None)


# Refusals


async def test_wrong_input_names_the_field_before_anything_is_computed(
    make: Callable[..., Bench], iris: IrisModels
) -> None:
    bench = make()
    await bench.plane.apply([DesiredModel(name="m", path=str(iris.onnx))])
    error = await bench.refused("m", iris_rows("X"))
    assert (ErrorCode.INVALID_ARGUMENT, "inputs[0].datatype") == (error.code, error.field)
    assert 1.0 == bench.sample(
        "pillion_requests_total", model="m", version="1", protocol="rest", code="invalid_argument"
    )


async def test_an_unknown_model_is_named_and_counted_without_its_name(make: Callable[..., Bench]) -> None:
    bench = make()
    error = await bench.refused("rose", iris_rows())
    assert error.code is ErrorCode.UNKNOWN_MODEL
    assert error.message.startswith("Request for unknown model")
    assert 1.0 == bench.sample("pillion_requests_total", model="", version="", protocol="rest", code="unknown_model")


async def test_a_model_that_failed_to_load_says_why(make: Callable[..., Bench], iris: IrisModels) -> None:
    bench = make()
    await bench.plane.apply([DesiredModel(name="m", path=str(iris.joblib))])
    error = await bench.refused("m", iris_rows())
    assert error.code is ErrorCode.NOT_READY
    assert "allowPickle: true" in error.message
    assert not bench.plane.ready()


async def test_a_model_that_is_loading_asks_to_come_back(make: Callable[..., Bench], iris: IrisModels) -> None:
    bench = make()
    rows = iris_rows("X", Datatype.FP32)
    loading = asyncio.ensure_future(bench.plane.apply([DesiredModel(name="m", path=str(iris.onnx))]))
    await asyncio.sleep(0)
    error = await bench.refused("m", rows)
    assert (ErrorCode.NOT_READY, True) == (error.code, error.retry_after is not None)
    await loading


async def test_an_exception_of_the_model_is_one_line_to_the_caller_and_a_traceback_in_the_log(
    make: Callable[..., Bench], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bench = make()
    gate = await with_gated(bench, tmp_path, "raises")
    gate.error = RuntimeError("weights are gone\nTraceback: secret internals " + "x" * 2000)
    with caplog.at_level(logging.ERROR):
        error = await bench.refused("raises", gated.value(-1))
    assert error.code is ErrorCode.MODEL_FAILED
    assert error.message.startswith("model raises/1 failed: RuntimeError: weights are gone Traceback: secret")
    assert "\n" not in error.message
    assert len(error.message) < 600
    (record,) = [record for record in caplog.records if record.name == "pillion.dataplane.lane"]
    assert record.exc_info is not None
    assert record.__dict__["request_id"] == "request-1"


@pytest.mark.parametrize("raised", [ValueError("no such category"), TypeError("not a number")])
async def test_a_model_that_blames_its_input_makes_it_the_callers_fault(
    make: Callable[..., Bench], tmp_path: Path, raised: Exception
) -> None:
    bench = make()
    gate = await with_gated(bench, tmp_path, f"blames-{type(raised).__name__}")
    gate.error = raised
    error = await bench.refused(f"blames-{type(raised).__name__}", gated.value(-1))
    assert error.code is ErrorCode.INVALID_ARGUMENT
    assert str(raised) in error.message


@pytest.mark.parametrize("executor", ["inline", "thread"])
async def test_a_model_that_exits_ends_only_its_own_request(
    make: Callable[..., Bench], tmp_path: Path, executor: str
) -> None:
    bench = make()
    gate = await with_gated(bench, tmp_path, f"exits-{executor}", executor=executor)
    gate.error = SystemExit(1)
    assert (await bench.refused(f"exits-{executor}", gated.value(-1))).code is ErrorCode.MODEL_FAILED
    assert bench.plane.in_flight() == 0


async def test_numbers_that_the_model_cannot_take_are_the_callers_fault(
    make: Callable[..., Bench], iris: IrisModels
) -> None:
    bench = make()
    await bench.plane.apply([DesiredModel(name="m", path=str(iris.skops))])
    nan = Tensor("input", Datatype.FP64, np.full((1, 4), np.nan))
    error = await bench.refused("m", nan)
    assert error.code is ErrorCode.INVALID_ARGUMENT
    assert "row 0: the value is missing" in error.message


# Limits


async def test_overload_is_answered_queue_full_at_once_and_the_accepted_are_served(
    make: Callable[..., Bench], tmp_path: Path
) -> None:
    bench = make()
    gate = await with_gated(bench, tmp_path, "overload", max_queue=3)
    calls = [bench.begin("overload", number + 1) for number in range(20)]
    await until(lambda: sum(call.done() for call in calls) == 15)
    refusals = [call.exception() for call in calls if call.done()]
    assert {ErrorCode.QUEUE_FULL} == {error.code for error in refusals if isinstance(error, PillionError)}
    assert bench.sample("pillion_in_flight", model="overload", version="1") == 2.0
    assert bench.sample("pillion_queue_length", model="overload", version="1") == 3.0
    gate.open()
    accepted = [call for call in calls if not call.done() or call.exception() is None]
    answers = await asyncio.gather(*accepted)
    assert [1.0, 2.0, 3.0, 4.0, 5.0] == [answer.outputs[0].data[0] for answer in answers]
    assert 15.0 == bench.sample(
        "pillion_requests_total", model="overload", version="1", protocol="rest", code="queue_full"
    )


async def test_the_queue_of_slow_times_dissolves_once_calls_run_on_the_loop_again(
    make: Callable[..., Bench], iris: IrisModels
) -> None:
    bench = make()
    await bench.plane.apply([DesiredModel(name="m", path=str(iris.onnx), execution=ExecutionSettings(batching="off"))])
    (served,) = bench.plane._by_served
    executor = served.executor
    assert isinstance(executor, AdaptiveExecutor)
    executor._watch.slow(1.0)
    executor._watch._limits = InlineLimits(60, 60, 60)  # however busy this machine is, it does not happen again

    async def client(calls: int) -> None:
        for _ in range(calls):
            await bench.infer("m", iris_rows("X", Datatype.FP32))
            await asyncio.sleep(0)  # a request by network comes in a later turn of the loop

    def waited() -> float:
        return bench.sample("pillion_queue_wait_seconds_count", model="m", version="1") or 0.0

    clients = [asyncio.ensure_future(client(200)) for _ in range(16)]
    await until(lambda: executor.immediate)
    before = waited()
    assert before > 0
    await asyncio.gather(*clients)
    assert waited() - before < 16
    assert bench.plane.in_flight() == 0


async def test_the_limit_of_the_whole_server_names_its_setting(make: Callable[..., Bench], tmp_path: Path) -> None:
    bench = make(max_in_flight=1)
    gate = await with_gated(bench, tmp_path, "shared")
    held = bench.begin("shared")
    await until(lambda: gate.entered == 1)
    error = await bench.refused("shared", gated.value(1))
    assert error.code is ErrorCode.QUEUE_FULL
    assert "limits.max_in_flight 1" in error.message
    assert bench.sample("pillion_limit_hits_total", limit="limits.max_in_flight") == 1.0
    gate.open()
    await held


# Deadlines


async def test_a_request_that_comes_too_late_is_not_computed(make: Callable[..., Bench], tmp_path: Path) -> None:
    bench = make()
    gate = await with_gated(bench, tmp_path, "late-arrival")
    error = await bench.refused("late-arrival", gated.value(1), deadline=time.monotonic() - 1)
    assert error.code is ErrorCode.DEADLINE_EXCEEDED
    assert gate.entered == 0


async def test_a_deadline_that_passes_in_the_queue_takes_the_request_out_before_compute(
    make: Callable[..., Bench], tmp_path: Path
) -> None:
    bench = make()
    gate = await with_gated(bench, tmp_path, "late-queue", threads=1)
    held = bench.begin("late-queue")
    await until(lambda: gate.entered == 1)
    error = await bench.refused("late-queue", gated.value(2), deadline=time.monotonic() + 0.02)
    assert (ErrorCode.DEADLINE_EXCEEDED, True) == (error.code, "queue" in error.message)
    gate.open()
    await held
    assert gate.entered == 1


async def test_a_deadline_that_passes_in_the_model_answers_at_once_and_counts_the_call_as_abandoned(
    make: Callable[..., Bench], tmp_path: Path
) -> None:
    bench = make()
    gate = await with_gated(bench, tmp_path, "late-model")
    call = bench.begin("late-model", deadline=time.monotonic() + 1)
    await until(lambda: gate.inside == 1)
    with pytest.raises(PillionError) as late:
        await call
    assert late.value.code is ErrorCode.DEADLINE_EXCEEDED
    assert bench.sample("pillion_abandoned_calls", model="late-model", version="1") == 1.0
    assert bench.sample("pillion_in_flight", model="late-model", version="1") == 0.0
    gate.open()
    await until(lambda: bench.sample("pillion_abandoned_calls", model="late-model", version="1") == 0.0)


async def test_a_models_own_timeout_is_the_default_and_a_request_can_only_shorten_it(
    make: Callable[..., Bench], tmp_path: Path
) -> None:
    bench = make()
    gate = await with_gated(bench, tmp_path, "own-timeout", timeout_seconds=0.05)
    for deadline in (None, time.monotonic() + 1000):
        error = await bench.refused("own-timeout", gated.value(1), deadline=deadline)
        assert error.code is ErrorCode.DEADLINE_EXCEEDED
    gate.open()


async def test_a_call_on_the_loop_that_ends_too_late_is_not_answered(
    make: Callable[..., Bench], tmp_path: Path
) -> None:
    bench = make(timeout_seconds=1e-9)
    gate = await with_gated(bench, tmp_path, "late-inline", executor="inline")
    gate.open()
    error = await bench.refused("late-inline", gated.value(1))
    assert (ErrorCode.DEADLINE_EXCEEDED, 1) == (error.code, gate.entered)


# Cancellation


async def test_a_thousand_callers_that_leave_leak_no_slot_and_the_model_serves_on(
    make: Callable[..., Bench], tmp_path: Path
) -> None:
    bench = make(max_in_flight=5000)
    gate = await with_gated(bench, tmp_path, "leavers", max_queue=2000)
    calls = [bench.begin("leavers") for _ in range(1000)]
    await until(lambda: bench.plane.in_flight() == 1000 and gate.inside == 2)
    await cancel(calls)
    assert bench.plane.in_flight() == 0
    assert bench.sample("pillion_in_flight", model="leavers", version="1") == 0.0
    assert bench.sample("pillion_queue_length", model="leavers", version="1") == 0.0
    assert 1000.0 == bench.sample(
        "pillion_requests_total", model="leavers", version="1", protocol="rest", code="cancelled"
    )
    gate.open()
    answer = await bench.infer("leavers", gated.value(7))
    assert answer.outputs[0].data.tolist() == [7.0]
    await until(lambda: bench.sample("pillion_abandoned_calls", model="leavers", version="1") == 0.0)
    # Two calls ran when everybody left; slots passed on while the crowd left may have begun a few more, never all.
    assert gate.entered <= 5


async def test_a_caller_that_leaves_a_running_call_gives_its_slot_to_the_next_at_once(
    make: Callable[..., Bench], tmp_path: Path
) -> None:
    bench = make()
    gate = await with_gated(bench, tmp_path, "slot", threads=1)
    first = bench.begin("slot", 1)
    await until(lambda: gate.inside == 1)
    second = bench.begin("slot", 2)
    await cancel([first])
    await until(lambda: gate.inside == 2)
    assert bench.sample("pillion_abandoned_calls", model="slot", version="1") == 1.0
    gate.open()
    assert (await second).outputs[0].data.tolist() == [2.0]


# Models that come and go


def has_more(answers: list[float], than: int) -> bool:
    return len(answers) > than


async def test_a_model_replaced_under_load_fails_no_request(make: Callable[..., Bench], tmp_path: Path) -> None:
    bench = make()
    gate = bench.gate("swap")
    gate.open()
    versions = [
        DesiredModel(name="swap", path=str(gated.save(tmp_path, "swap", factor)), allow_pickle=True, execution=THREAD)
        for factor in (2.0, 3.0)
    ]
    await bench.plane.apply(versions[:1])
    answers: list[float] = []
    stop = False

    async def client() -> None:
        while not stop:
            answers.append(float((await bench.infer("swap", gated.value(1))).outputs[0].data[0]))

    clients = [asyncio.ensure_future(client()) for _ in range(8)]
    for round_ in range(10):
        await bench.plane.apply([versions[(round_ + 1) % 2]])
        await until(partial(has_more, answers, len(answers) + 20))
    stop = True
    await asyncio.gather(*clients)
    assert {2.0, 3.0} == set(answers)
    assert bench.plane.in_flight() == 0
    key = {"model": "swap", "version": "1", "protocol": "rest"}
    assert float(len(answers)) == bench.sample("pillion_requests_total", **key, code="ok")


async def test_a_new_request_goes_to_the_new_model_while_the_old_one_finishes_its_own(
    make: Callable[..., Bench], iris: IrisModels, tmp_path: Path
) -> None:
    bench = make()
    gate = await with_gated(bench, tmp_path, "m")
    old = bench.begin("m", 5)
    await until(lambda: gate.inside == 1)
    await bench.plane.apply([DesiredModel(name="m", path=str(iris.skops))])
    assert [0, 1, 2] == (await bench.infer("m", iris_rows())).outputs[0].data.tolist()
    gate.open()
    assert (await old).outputs[0].data.tolist() == [5.0]


async def test_an_unloaded_model_refuses_new_requests_and_finishes_those_it_has(
    make: Callable[..., Bench], tmp_path: Path
) -> None:
    bench = make()
    gate = await with_gated(bench, tmp_path, "leaving", threads=1)
    running, waiting = bench.begin("leaving", 1), bench.begin("leaving", 2)
    await until(lambda: gate.inside == 1)
    unloading = asyncio.ensure_future(bench.plane.unload("leaving"))
    await until(lambda: bench.plane.status("leaving").state is ModelState.UNLOADING)
    assert (await bench.refused("leaving", gated.value(1))).code is ErrorCode.NOT_READY
    gate.open()
    assert [[1.0], [2.0]] == [(await call).outputs[0].data.tolist() for call in (running, waiting)]
    await unloading
    assert bench.plane.status("leaving").state is ModelState.UNAVAILABLE


async def test_series_of_a_removed_model_are_dropped(make: Callable[..., Bench], iris: IrisModels) -> None:
    bench = make()
    await bench.plane.apply([DesiredModel(name=name, path=str(iris.onnx)) for name in ("a", "b")])
    assert bench.sample("pillion_model_load_seconds", model="a", version="1") is not None
    await bench.plane.apply([DesiredModel(name="b", path=str(iris.onnx))])
    await until(lambda: bench.sample("pillion_model_load_seconds", model="a", version="1") is None)
    assert bench.sample("pillion_model_state", model="a", version="1", state="READY") is None


async def test_the_time_of_the_last_request_is_kept(make: Callable[..., Bench], iris: IrisModels) -> None:
    bench = make()
    await bench.plane.apply([DesiredModel(name="m", path=str(iris.onnx))])
    assert bench.plane.status("m").last_used is None
    before = time.time()
    await bench.infer("m", iris_rows("X", Datatype.FP32))
    last_used = bench.plane.status("m").last_used
    assert last_used == pytest.approx(before, abs=5)


async def test_statistics_tell_answers_failures_and_times_apart(make: Callable[..., Bench], tmp_path: Path) -> None:
    bench = make()
    gate = await with_gated(bench, tmp_path, "counted", threads=1)
    running = [bench.begin("counted") for _ in range(2)]
    await until(lambda: bench.sample("pillion_queue_length", model="counted", version="1") == 1)
    gate.open()
    await asyncio.gather(*running)
    await bench.refused("counted", iris_rows("nothing"))

    (told,) = bench.plane.statistics("counted")

    assert (2, 2, 2, 1) == (told.inferences, told.executions, told.success.count, told.fail.count)
    assert (2, 2) == (told.queue.count, told.compute.count)
    assert told.success.seconds >= told.compute.seconds > 0
    assert told.queue.seconds > 0
    assert told.last_inference == pytest.approx(time.time(), abs=20)
    for same in (bench.plane.statistics(), bench.plane.statistics("counted", "1")):
        assert [(told.name, told.version, told.success)] == [(one.name, one.version, one.success) for one in same]
    with pytest.raises(PillionError, match="Request for unknown model"):
        bench.plane.statistics("counted", "9")


# The end


async def test_draining_refuses_new_work_and_finishes_the_old(make: Callable[..., Bench], tmp_path: Path) -> None:
    bench = make()
    gate = await with_gated(bench, tmp_path, "draining")
    held = bench.begin("draining", 3)
    await until(lambda: gate.inside == 1)
    bench.plane.drain()
    assert not bench.plane.ready()
    error = await bench.refused("draining", gated.value(1))
    assert (ErrorCode.DRAINING, True) == (error.code, error.retry_after is not None)
    gate.open()
    await bench.plane.stop(10)
    assert (await held).outputs[0].data.tolist() == [3.0]


async def test_calls_of_a_request_that_was_admitted_are_made_while_draining_and_those_of_jobs_are_not(
    make: Callable[..., Bench], tmp_path: Path
) -> None:
    bench = make()
    gate = await with_gated(bench, tmp_path, "nested")
    gate.open()
    bench.plane.drain()
    request = InferRequest("nested", [gated.value(3)])
    nested = await bench.plane.infer(request, Call(WireProtocol.INTERNAL, "request-1", callers=("outer",)))
    assert nested.outputs[0].data.tolist() == [3.0]
    with pytest.raises(PillionError) as refusal:
        await bench.plane.infer(request, Call(WireProtocol.INTERNAL, "job-1", background=True))
    assert ErrorCode.DRAINING is refusal.value.code


async def test_stop_ends_queued_requests_after_the_grace_and_does_not_hang(
    make: Callable[..., Bench], tmp_path: Path
) -> None:
    bench = make()
    gate = await with_gated(bench, tmp_path, "stopping", threads=1)
    running, waiting = bench.begin("stopping", 1), bench.begin("stopping", 2)
    await until(lambda: gate.inside == 1)
    await asyncio.wait_for(bench.plane.stop(0.05), 60)
    with pytest.raises(PillionError) as ended:
        await waiting
    assert ended.value.code is ErrorCode.DRAINING
    gate.open()
    await cancel([running])
