"""Requests that share calls of a model: which do, when, and what becomes of those that fail, leave or come too late."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import joblib
import msgspec
import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from pillion.dataplane.call import Call, InferRequest, InferResponse, WireProtocol
from pillion.dataplane.plane import DataPlane
from pillion.errors import ErrorCode, PillionError
from pillion.execution.batch import apart, in_turns, signature, together
from pillion.metrics import RuntimeMetrics
from pillion.repository.repository import ModelRepository
from pillion.repository.rows import independent
from pillion.repository.served import RepositorySettings
from pillion.runtimefile import DesiredModel, ExecutionSettings
from pillion.tensors import Datatype, Tensor
from tests import gated
from tests.models import iris_rows
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.models import IrisModels

INLINE = ExecutionSettings(executor="inline", batching="on")
THREAD = ExecutionSettings(executor="thread", threads=1, batching="on")


class Centred:
    """Takes its rows' mean away from them: what it says of one row depends on the others."""

    n_features_in_ = 1

    def fit(self, *_: Any) -> Centred:
        return self

    def predict(self, rows: np.ndarray[Any, np.dtype[Any]]) -> np.ndarray[Any, np.dtype[Any]]:
        return np.asarray(rows[:, 0] - rows[:, 0].mean())


@dataclass
class Bench:
    """A data plane with a gated model, and what a test looks at."""

    folder: Path
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    gates: list[gated.Gate] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.plane = DataPlane(
            repository=ModelRepository(RepositorySettings(cpus=2, unload_grace_seconds=20)),
            metrics=RuntimeMetrics(self.registry),
        )

    async def serve(self, path: Path, execution: ExecutionSettings, **more: Any) -> None:
        changed = msgspec.structs.replace(execution, **more)
        await self.plane.apply([DesiredModel(name="m", path=str(path), allow_pickle=True, execution=changed)])
        assert self.plane.ready(), self.plane.status("m").reason

    async def serve_gated(self, name: str, **more: Any) -> gated.Gate:
        await self.serve(gated.save(self.folder, name, 10), THREAD, **more)
        self.gates.append(gated.gate(name))
        return self.gates[-1]

    def begin(
        self, tensor: Tensor, deadline: float | None = None, client: str = "", priority: int = 0, **fields: Any
    ) -> asyncio.Task[InferResponse]:
        call = Call(WireProtocol.REST, "r", deadline, client=lambda: client, priority=priority)
        return asyncio.ensure_future(self.plane.infer(InferRequest("m", [tensor], **fields), call))

    def values(self, *numbers: float) -> list[asyncio.Task[InferResponse]]:
        return [self.begin(gated.value(number)) for number in numbers]

    def calls(self) -> float:
        """Calls of the model so far."""
        return self.registry.get_sample_value("pillion_batch_requests_count", {"model": "m", "version": "1"}) or 0.0

    def requests(self) -> float:
        """Requests they computed."""
        return self.registry.get_sample_value("pillion_batch_requests_sum", {"model": "m", "version": "1"}) or 0.0

    def gauge(self, name: str) -> float | None:
        return self.registry.get_sample_value(name, {"model": "m", "version": "1"})


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path)
    yield made
    for opened in made.gates:
        opened.open()
    await made.plane.stop(10)


async def answers(tasks: list[asyncio.Task[InferResponse]]) -> list[Any]:
    return [
        response if isinstance(response, BaseException) else response.outputs[0].data.tolist()
        for response in await asyncio.gather(*tasks, return_exceptions=True)
    ]


# On the event loop


async def test_requests_of_one_turn_share_a_call_and_each_gets_its_own_rows(bench: Bench, iris: IrisModels) -> None:
    await bench.serve(iris.onnx, INLINE)
    rows = iris_rows("X", Datatype.FP32).data
    tasks = [bench.begin(Tensor("X", Datatype.FP32, part), outputs=("label",)) for part in (rows[:1], rows[1:], rows)]
    assert [[0], [1, 2], [0, 1, 2]] == await answers(tasks)
    assert (1, 3) == (bench.calls(), bench.requests())


async def test_requests_for_other_outputs_make_a_call_of_their_own(bench: Bench, iris: IrisModels) -> None:
    await bench.serve(iris.onnx, INLINE)
    tensor = iris_rows("X", Datatype.FP32)
    tasks = [bench.begin(tensor, outputs=(name,)) for name in ("label", "probabilities", "label")]
    assert [(3,), (3, 3), (3,)] == [(await task).outputs[0].shape for task in tasks]
    assert (2, 3) == (bench.calls(), bench.requests())


async def test_requests_of_later_turns_do_not_wait_for_each_other(bench: Bench, iris: IrisModels) -> None:
    await bench.serve(iris.onnx, INLINE)
    for _ in range(3):
        await bench.begin(iris_rows("X", Datatype.FP32))
    assert (3, 3) == (bench.calls(), bench.requests())


async def test_requests_that_never_find_others_are_no_longer_made_to_look_for_them(
    bench: Bench, iris: IrisModels
) -> None:
    await bench.serve(iris.onnx, INLINE)
    tensor = iris_rows("X", Datatype.FP32)
    for _ in range(64):
        await bench.begin(tensor)
    together = [bench.begin(tensor) for _ in range(8)]
    await answers(together)
    assert (72, 72) == (bench.calls(), bench.requests())  # each at once, alone


async def test_statistics_tell_runs_by_the_requests_that_they_computed(bench: Bench) -> None:
    gate = await bench.serve_gated("statistics")
    tasks = bench.values(1)
    await until(lambda: gate.inside == 1)
    tasks += bench.values(2, 3, 4)
    gate.open()
    await asyncio.gather(*tasks)
    (told,) = bench.plane.statistics("m")
    assert {1: 1, 3: 1} == {size: runs.count for size, runs in told.batches.items()}
    assert (2, 4, 4) == (told.executions, told.prepare.count, told.divide.count)
    three = told.batches[3]
    assert min(three.prepared, three.computed, three.divided) > 0
    assert told.compute.seconds == pytest.approx(told.batches[1].computed + 3 * three.computed)


async def test_a_transport_that_counts_its_requests_has_them_share_calls_whoever_else_comes_alone(
    bench: Bench, iris: IrisModels
) -> None:
    await bench.serve(iris.onnx, INLINE)
    tensor = iris_rows("X", Datatype.FP32)
    for _ in range(64):
        await bench.begin(tensor)
    bench.plane.gather(8)
    together = [bench.begin(tensor) for _ in range(8)]
    await asyncio.sleep(0)
    bench.plane.flush()
    await answers(together)
    assert (65, 72) == (bench.calls(), bench.requests())


async def test_a_call_takes_no_more_rows_than_its_limit(bench: Bench, iris: IrisModels) -> None:
    await bench.serve(iris.onnx, INLINE, max_batch_size=4)
    tasks = [bench.begin(iris_rows("X", Datatype.FP32, 1), outputs=("label",)) for _ in range(10)]
    large = bench.begin(iris_rows("X", Datatype.FP32, 9), outputs=("label",))
    assert [[0]] * 10 == await answers(tasks)
    assert (9,) == (await large).outputs[0].shape
    assert (4, 11) == (bench.calls(), bench.requests())


async def test_a_call_takes_no_more_bytes_than_its_limit(bench: Bench, iris: IrisModels) -> None:
    await bench.serve(iris.onnx, INLINE, max_batch_bytes=40)
    tasks = [bench.begin(iris_rows("X", Datatype.FP32, 1), outputs=("label",)) for _ in range(4)]
    assert [[0]] * 4 == await answers(tasks)
    assert 2 == bench.calls()


async def test_a_request_waits_for_others_where_a_delay_is_set(bench: Bench, iris: IrisModels) -> None:
    await bench.serve(iris.onnx, INLINE, max_batch_size=2, max_batch_delay_seconds=30)
    first = bench.begin(iris_rows("X", Datatype.FP32, 1), outputs=("label",))
    await asyncio.sleep(0.05)  # many turns of the loop; the delay is far
    assert not first.done()
    second = bench.begin(iris_rows("X", Datatype.FP32, 1), outputs=("label",))
    assert [[0], [0]] == await answers([first, second])
    assert (1, 2) == (bench.calls(), bench.requests())


async def test_a_delay_ends_though_nobody_else_comes(bench: Bench, iris: IrisModels) -> None:
    await bench.serve(iris.onnx, INLINE, max_batch_delay_seconds=0.02)
    began = asyncio.get_running_loop().time()
    assert [[0]] == await answers([bench.begin(iris_rows("X", Datatype.FP32, 1), outputs=("label",))])
    assert asyncio.get_running_loop().time() - began >= 0.02


async def test_a_request_that_would_be_late_after_the_delay_does_not_wait_for_others(
    bench: Bench, iris: IrisModels
) -> None:
    await bench.serve(iris.onnx, INLINE, max_batch_delay_seconds=60)
    task = bench.begin(iris_rows("X", Datatype.FP32, 1), time.monotonic() + 30, outputs=("label",))
    async with asyncio.timeout(60):
        assert [[0]] == await answers([task])


async def test_a_delay_gathers_no_more_than_the_queue_holds(bench: Bench, iris: IrisModels) -> None:
    await bench.serve(iris.onnx, INLINE, max_batch_size=4, max_queue=6, max_batch_delay_seconds=30)
    outputs = [("label",), ("probabilities",), ("label", "probabilities")]
    tasks = [bench.begin(iris_rows("X", Datatype.FP32, 1), outputs=outputs[n % 3]) for n in range(7)]
    await until(tasks[6].done)
    assert ErrorCode.QUEUE_FULL is _code(tasks[6])
    assert 6 == bench.gauge("pillion_queue_length")
    for task in tasks:  # which the end of the server would wait for
        task.cancel()
    await answers(tasks)


# Who goes first, and who makes room


def _code(task: asyncio.Task[InferResponse]) -> ErrorCode:
    error = task.exception()
    assert isinstance(error, PillionError)
    return error.code


async def test_a_higher_priority_goes_first_and_kinds_and_hosts_come_after_it(bench: Bench) -> None:
    gate = await bench.serve_gated("rank-first", max_batch_size=1, priority_levels=3)
    first = bench.values(1)
    await until(lambda: gate.inside == 1)
    order: list[int] = []

    def begun(priority: int) -> asyncio.Task[InferResponse]:
        task = bench.begin(gated.value(2), priority=priority)
        task.add_done_callback(lambda _: order.append(priority))
        return task

    tasks = [begun(priority) for priority in (3, 2, 0, 1, 2, 1)]
    await until(lambda: bench.gauge("pillion_queue_length") == 6)
    gate.open()
    await answers(first + tasks)
    assert [1, 1, 2, 2, 3, 0] == order


async def test_the_lowest_priority_waits_for_eight_calls_at_most_where_all_share_calls(bench: Bench) -> None:
    gate = await bench.serve_gated("rank-age", max_batch_size=1, priority_levels=2)
    first = bench.values(1)
    await until(lambda: gate.inside == 1)
    order: list[int] = []

    def begun(priority: int) -> asyncio.Task[InferResponse]:
        task = bench.begin(gated.value(2), priority=priority)
        task.add_done_callback(lambda _: order.append(priority))
        return task

    tasks = [begun(priority) for priority in (2, *[1] * 20)]
    await until(lambda: bench.gauge("pillion_queue_length") == 21)
    gate.open()
    await answers(first + tasks)
    assert order.index(2) < 8


async def test_priorities_mean_nothing_where_there_are_no_levels(bench: Bench) -> None:
    gate = await bench.serve_gated("rank-none", max_batch_size=1, max_queue=2)
    first = bench.values(1)
    await until(lambda: gate.inside == 1)
    tasks = [bench.begin(gated.value(2), priority=priority) for priority in (5, 0, 1)]
    await until(tasks[2].done)
    assert ErrorCode.QUEUE_FULL is _code(tasks[2])
    gate.open()
    await answers(first + tasks)


async def test_in_a_full_queue_the_last_of_the_lowest_priority_makes_room(bench: Bench) -> None:
    gate = await bench.serve_gated("rank-full", max_queue=3, priority_levels=2)
    first = bench.values(1)
    await until(lambda: gate.inside == 1)
    lows = [bench.begin(gated.value(2), priority=2) for _ in range(3)]
    await until(lambda: bench.gauge("pillion_queue_length") == 3)
    high = bench.begin(gated.value(3), priority=1)
    await until(lows[2].done)
    assert ErrorCode.QUEUE_FULL is _code(lows[2])
    assert [False] * 3 == [task.done() for task in (high, *lows[:2])]
    gate.open()
    assert [[10], [30], [20], [20]] == await answers([*first, high, *lows[:2]])


async def test_a_host_that_fills_the_queue_makes_room_for_another_one(bench: Bench) -> None:
    gate = await bench.serve_gated("share-queue", max_queue=4)
    first = bench.values(1)
    await until(lambda: gate.inside == 1)
    many = [bench.begin(gated.value(2), client="10.0.0.1:5000") for _ in range(4)]
    await until(lambda: bench.gauge("pillion_queue_length") == 4)
    few = [bench.begin(gated.value(3), client=f"10.0.0.2:{port}") for port in range(3)]
    await until(few[2].done)
    assert [True, True] == [task.done() for task in many[2:]], "its last two made room"
    assert ErrorCode.QUEUE_FULL is _code(few[2]), "each has half of the queue by now"
    gate.open()
    assert [[10], [20], [20], [30], [30]] == await answers([*first, *many[:2], *few[:2]])


async def test_bytes_of_inputs_are_bounded_for_each_model(bench: Bench) -> None:
    gate = await bench.serve_gated("bytes", max_bytes_in_flight=20)
    first = bench.values(1)
    await until(lambda: gate.inside == 1)
    second, third = bench.begin(gated.value(2)), bench.begin(gated.value(3))
    await until(third.done)
    assert ErrorCode.QUEUE_FULL is _code(third)
    gate.open()
    assert [[10], [20]] == await answers([*first, second])
    assert [[40]] == await answers(bench.values(4))
    large = bench.begin(Tensor("input", Datatype.FP64, np.ones((3, 1))))
    await until(large.done)
    assert ErrorCode.PAYLOAD_TOO_LARGE is _code(large)


# In threads


async def test_what_waits_for_a_call_to_end_is_the_next_call(bench: Bench) -> None:
    gate = await bench.serve_gated("share-next")
    first = bench.values(1)
    await until(lambda: gate.inside == 1)
    others = bench.values(2, 3, 4)
    await until(lambda: bench.gauge("pillion_queue_length") == 3)
    assert 1 == bench.gauge("pillion_in_flight")
    gate.open()
    assert [[10], [20], [30], [40]] == await answers(first + others)
    assert (2, 4) == (bench.calls(), bench.requests())
    assert (0, 0) == (bench.gauge("pillion_in_flight"), bench.gauge("pillion_queue_length"))
    assert 3 == bench.gauge("pillion_queue_wait_seconds_count")


async def test_who_sends_few_does_not_wait_for_all_of_who_sends_many(bench: Bench) -> None:
    gate = await bench.serve_gated("share-fair", max_batch_size=4)
    first = bench.values(1)
    await until(lambda: gate.inside == 1)
    order: list[str] = []

    def begun(number: float, client: str) -> asyncio.Task[InferResponse]:
        task = bench.begin(gated.value(number), client=f"{client}:5000")
        task.add_done_callback(lambda _: order.append(client))
        return task

    tasks = [begun(2, "10.0.0.1") for _ in range(12)]
    tasks += [begun(3, "10.0.0.2") for _ in range(2)]
    await until(lambda: bench.gauge("pillion_queue_length") == 14)
    gate.open()
    await answers(first + tasks)
    assert ["10.0.0.1", "10.0.0.2"] * 2 == order[:4]


async def test_only_the_request_at_fault_fails(bench: Bench) -> None:
    gate = await bench.serve_gated("share-fault")
    gate.open()
    gate.error = ValueError("minus one")
    found = await answers(bench.values(1, 2, -1, 3, 4))
    failure = found.pop(2)
    assert [[10], [20], [30], [40]] == found
    assert isinstance(failure, PillionError)
    assert (ErrorCode.INVALID_ARGUMENT, True) == (failure.code, "minus one" in failure.message)


async def test_a_request_given_up_while_it_waits_is_never_computed(bench: Bench) -> None:
    gate = await bench.serve_gated("share-left")
    first = bench.values(1)
    await until(lambda: gate.inside == 1)
    second, third = bench.values(2, 3)
    await until(lambda: bench.gauge("pillion_queue_length") == 2)
    second.cancel()
    await until(lambda: bench.gauge("pillion_queue_length") == 1)
    gate.open()
    assert [[10], [30]] == await answers([*first, third])
    assert (2, 2) == (bench.calls(), bench.requests())


async def test_a_deadline_ends_the_wait_and_the_call_of_one_request_alone(bench: Bench) -> None:
    gate = await bench.serve_gated("share-late")
    first = bench.values(1)
    await until(lambda: gate.inside == 1)
    soon = bench.plane._clock() + 0.05
    late, patient = bench.begin(gated.value(2), soon), bench.begin(gated.value(3))
    (refusal,) = await answers([late])
    assert isinstance(refusal, PillionError)
    assert ErrorCode.DEADLINE_EXCEEDED is refusal.code
    gate.open()
    assert [[10], [30]] == await answers([*first, patient])


async def test_a_call_that_nobody_waits_for_gives_its_slot_back_at_once(bench: Bench) -> None:
    gate = await bench.serve_gated("share-abandoned")
    tasks = bench.values(1, 2)
    await until(lambda: gate.inside == 1)
    for task in tasks:
        task.cancel()
    await until(lambda: bench.gauge("pillion_in_flight") == 0)
    assert 1 == bench.gauge("pillion_abandoned_calls")
    third = bench.values(3)
    await until(lambda: gate.inside == 2)
    gate.open()
    assert [[30]] == await answers(third)


async def test_a_call_is_not_given_up_while_one_of_its_requests_is_waited_for(bench: Bench) -> None:
    gate = await bench.serve_gated("share-one-left")
    first, second = bench.values(1, 2)
    await until(lambda: gate.inside == 1)
    first.cancel()
    await asyncio.sleep(0)
    gate.open()
    assert [[20]] == await answers([second])
    assert 0 == bench.gauge("pillion_abandoned_calls")


async def test_cancelling_before_the_call_has_begun_leaks_no_slot(bench: Bench) -> None:
    gate = await bench.serve_gated("share-early")
    gate.open()
    for _ in range(5):
        (task,) = bench.values(1)
        await asyncio.sleep(0)  # the request is there, its call is not
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await until(lambda: bench.gauge("pillion_in_flight") == 0)
    assert [[10]] == await answers(bench.values(1))


async def test_a_full_queue_refuses_at_once(bench: Bench) -> None:
    gate = await bench.serve_gated("share-full", max_queue=2)
    first = bench.values(1)
    await until(lambda: gate.inside == 1)
    waiting = bench.values(2, 3)
    await until(lambda: bench.gauge("pillion_queue_length") == 2)
    (refusal,) = await answers(bench.values(4))
    assert isinstance(refusal, PillionError)
    assert ErrorCode.QUEUE_FULL is refusal.code
    gate.open()
    assert [[10], [20], [30]] == await answers(first + waiting)


async def test_requests_that_wait_are_told_when_the_server_stops(bench: Bench) -> None:
    gate = await bench.serve_gated("share-stop")
    first = bench.values(1)
    await until(lambda: gate.inside == 1)
    waiting = bench.values(2)
    await until(lambda: bench.gauge("pillion_queue_length") == 1)
    stopping = asyncio.ensure_future(bench.plane.stop(0))
    (refusal,) = await answers(waiting)
    assert isinstance(refusal, PillionError)
    assert ErrorCode.DRAINING is refusal.code
    gate.open()
    await stopping
    await answers(first)


# Which models


async def test_rows_that_depend_on_each_other_are_never_put_together(bench: Bench, tmp_path: Path) -> None:
    joblib.dump(Centred(), tmp_path / "centred.joblib")
    await bench.serve(tmp_path / "centred.joblib", INLINE)
    assert [[0.0], [0.0]] == await answers([bench.begin(gated.value(1)), bench.begin(gated.value(5))])
    assert 0 == bench.calls()


async def test_requests_share_calls_by_default_where_it_pays(bench: Bench, iris: IrisModels) -> None:
    await bench.serve(iris.skops, ExecutionSettings(executor="inline"))
    assert [[0, 1, 2]] * 4 == await answers([bench.begin(iris_rows("input-0")) for _ in range(4)])
    assert (1, 4) == (bench.calls(), bench.requests())


async def test_off_means_a_call_for_each_request(bench: Bench, iris: IrisModels) -> None:
    await bench.serve(iris.skops, ExecutionSettings(executor="inline", batching="off"))
    await answers([bench.begin(iris_rows("input-0")) for _ in range(4)])
    assert 0 == bench.calls()


class Slow:
    """Takes its time."""

    n_features_in_ = 1

    def fit(self, *_: Any) -> Slow:
        return self

    def predict(self, rows: np.ndarray[Any, np.dtype[Any]]) -> np.ndarray[Any, np.dtype[Any]]:
        time.sleep(0.3)
        return np.asarray(rows[:, 0])


@pytest.mark.parametrize(("batching", "shared"), [("auto", 0), ("on", 1)])
async def test_slow_models_share_calls_where_their_owner_says_so(
    bench: Bench, tmp_path: Path, batching: Any, shared: float
) -> None:
    joblib.dump(Slow(), tmp_path / "slow.joblib")
    await bench.serve(tmp_path / "slow.joblib", ExecutionSettings(executor="thread", batching=batching))
    assert [[1.0], [5.0]] == await answers([bench.begin(gated.value(1)), bench.begin(gated.value(5))])
    assert shared == bench.calls()


def test_results_that_differ_together_are_dependent() -> None:
    def row(*values: float) -> list[Tensor]:
        return [Tensor("y", Datatype.FP32, np.array(values, np.float32))]

    assert independent(row(1), row(2), row(1, 2.00001))
    assert not independent(row(1), row(2), row(1, 2.1))
    assert not independent(row(1), row(2), row(1))


def test_what_is_infinite_or_large_hides_no_difference() -> None:
    def rows(*values: tuple[float, float]) -> list[Tensor]:
        return [Tensor("y", Datatype.FP32, np.array(values, np.float32))]

    assert not independent(rows((1, np.inf)), rows((2, np.inf)), rows((77, np.inf), (-500, np.inf)))
    assert not independent(rows((1e6, 0.1)), rows((2e6, 0.2)), rows((1e6, 0.9), (2e6, 0.2)))
    assert independent(rows((1e6, 0.1)), rows((2e6, 0.2)), rows((1e6, 0.1), (2e6, 0.2)))


# Putting together and taking apart


def test_owners_take_turns_and_keep_their_order() -> None:
    assert ["a1", "b1", "c1", "a2", "c2", "a3"] == in_turns(["a1", "a2", "a3", "b1", "c1", "c2"], lambda item: item[0])


def test_texts_numbers_and_gaps_survive_the_way_there_and_back() -> None:
    def request(number: float, text: bytes, *, gap: bool) -> list[Tensor | None]:
        missing = np.array([[gap]]) if gap else None
        return [
            Tensor("n", Datatype.FP64, np.array([[number]]), missing=missing),
            None,
            Tensor("t", Datatype.BYTES, np.array([[text]], np.object_)),
        ]

    requests = [request(1, b"a", gap=False), request(2, b"b", gap=True)]
    assert signature(requests[0], ("y",)) == signature(requests[1], ("y",))
    joined = together(requests)
    present = [tensor for tensor in joined if tensor is not None]
    assert ["n", "t"] == [tensor.name for tensor in present]
    assert joined[1] is None
    shares = apart(present, [1, 1])
    assert shares is not None
    assert [([[1.0]], [[b"a"]]), ([[2.0]], [[b"b"]])] == [(n.data.tolist(), t.data.tolist()) for n, t in shares]
    assert [[[False]], [[True]]] == [n.missing.tolist() for n, _ in shares if n.missing is not None]


def test_a_small_share_of_a_large_result_does_not_keep_all_of_it_in_memory() -> None:
    large = Tensor("y", Datatype.FP32, np.zeros((32, 1024), np.float32))
    small = Tensor("z", Datatype.FP32, np.zeros((32, 4), np.float32))
    shares = apart([large, small], [1, 30, 1])
    assert shares is not None
    assert [[True, False], [False, False], [True, False]] == [
        [part.data.base is None for part in share] for share in shares
    ]


@pytest.mark.parametrize(
    "shapes", [[()], [(0, 4)], [(2, 4), (3, 4)], []], ids=["a scalar", "no rows", "rows that disagree", "no tensors"]
)
def test_what_has_no_rows_to_share_stays_alone(shapes: list[tuple[int, ...]]) -> None:
    tensors = [Tensor(f"x{n}", Datatype.FP32, np.zeros(shape, np.float32)) for n, shape in enumerate(shapes)]
    assert signature(tensors, ("y",)) is None
