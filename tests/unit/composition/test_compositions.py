"""Compositions in a program, without a port: what they answer, in which order, and what ends with them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncIterator, Iterator  # noqa: TC003 - hints of steps are read at run time
from pathlib import Path  # noqa: TC003 - as above
from typing import Any

import pytest

import pillion
from pillion import Model, task
from pillion.composition.ensemble import Answers  # noqa: TC001 - a step's hints are read at run time
from pillion.composition.errors import EnsembleError, MapError, UnknownBranchError
from pillion.composition.session import Session
from tests.processes import alive
from tests.unit.composition import placed_steps
from tests.waiting import until, until_now


def add(number: int) -> int:
    """One more."""
    return number + 1


async def double(number: int) -> int:
    """Twice as much."""
    await asyncio.sleep(0)
    return number * 2


def fail(number: int) -> int:
    """Raise."""
    raise ValueError(f"no {number}")


def count(number: int) -> Iterator[int]:
    """Yield."""
    yield from range(number)


class Gate:
    """A step that waits for ever, and says that it has begun and how it ended."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.cancelled = threading.Event()

    async def on_loop(self, _: object) -> str:
        """Wait on the event loop."""
        self.begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return "never"

    def in_thread(self, _: object) -> str:
        """Wait in a thread, as plain code does that can be cancelled."""
        self.begun.set()
        until_now(pillion.cancelled)
        self.cancelled.set()
        return "late"


class Mood(Model):
    """Loaded when its composition opens."""

    def load(self) -> None:
        """Learn."""
        self.words = {"good": 1, "bad": -1}

    @task
    def classify(self, text: str) -> int:
        """How good."""
        return sum(self.words.get(word, 0) for word in text.split())


# --- sequential


def test_steps_follow_one_another_plain_async_and_models() -> None:
    with pillion.Sequential(str.lower, Mood, add, double) as flow:
        assert 6 == flow.call("GOOD good bad good")


async def test_a_composition_is_an_async_context_manager() -> None:
    async with pillion.Sequential(add, double) as flow:
        assert (4, 6) == tuple(await asyncio.gather(flow.acall(1), flow.acall(2)))


def test_what_a_step_raises_is_raised_and_says_where() -> None:
    with pillion.Sequential(add, fail, double) as flow, pytest.raises(ValueError, match="no 2") as caught:
        flow.call(1)
    assert ["in step 'fail'", "in step 'sequential'"] == caught.value.__notes__


def test_a_step_that_yields_flows_through_the_steps_after_it() -> None:
    seen: list[int] = []

    def note(number: int) -> int:
        seen.append(number)
        return number

    with pillion.Sequential(count, note, double) as flow:
        items = flow.items(1_000_000)
        assert [0, 2, 4] == [next(items) for _ in range(3)]
        items.close()
    assert len(seen) < 10  # nobody read on


async def test_async_generators_flow_and_are_closed_with_their_reader() -> None:
    closed = asyncio.Event()

    async def ticks(number: int) -> AsyncIterator[int]:
        try:
            while True:
                yield number
        finally:
            closed.set()

    async with pillion.Sequential(ticks, count) as flow:
        items = flow.aitems(2)
        assert [0, 1, 0] == [await anext(items) for _ in range(3)]
        await items.aclose()  # type: ignore[attr-defined]  # an async generator
        assert closed.is_set()


def test_the_wrong_call_of_a_stream_names_the_right_one() -> None:
    with pillion.Sequential(count) as flow, pytest.raises(TypeError, match=r"items\(\) or aitems\(\)"):
        flow.call(3)


# --- deadlines and leaving


@pytest.mark.parametrize("way", ["on_loop", "in_thread"])
def test_a_deadline_ends_the_step_that_runs(way: str) -> None:
    gate = Gate()
    with pillion.Sequential(add, getattr(gate, way), name="slow") as flow:
        with pytest.raises(TimeoutError, match=r"slow: no answer within 0\.5 s"):
            flow.call(1, timeout=0.5)  # time enough to come to it
        until_now(gate.cancelled.is_set)


def test_a_deadline_stops_a_worker_process(tmp_path: Any) -> None:
    marked = tmp_path / "stopped"
    with pillion.Sequential(pillion.Process(placed_steps.hang_and_mark)) as flow:
        with pytest.raises(TimeoutError):
            flow.call(str(marked), timeout=2.0)
        until_now(marked.exists)


async def test_cancelling_who_awaits_ends_the_step() -> None:
    gate = Gate()
    async with pillion.Sequential(gate.on_loop) as flow:
        waiting = asyncio.create_task(flow.acall(1))
        await until(gate.begun.is_set)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert gate.cancelled.is_set()


def test_leaving_cancels_what_runs_and_ends_its_workers() -> None:
    gate = Gate()
    before = threading.active_count()
    with pillion.Sequential(gate.on_loop) as flow:
        caller = threading.Thread(target=_swallow, args=(flow,))
        caller.start()
        until_now(gate.begun.is_set)
    caller.join(60)
    assert (True, False) == (gate.cancelled.is_set(), caller.is_alive())
    until_now(lambda: threading.active_count() <= before)
    with pytest.raises(RuntimeError, match="not open"):
        flow.call(1)


async def test_leaving_ends_what_others_await_and_says_so() -> None:
    gate = Gate()
    async with pillion.Sequential(gate.on_loop, name="left") as flow:
        waiting = asyncio.create_task(flow.acall(1))
        await until(gate.begun.is_set)
    assert gate.cancelled.is_set()
    with pytest.raises(RuntimeError, match="left was left while it was awaited"):
        await waiting


async def test_a_composition_that_nobody_waits_for_any_more_is_closed_once_it_is_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    began, goes_on = threading.Event(), threading.Event()

    class Slow(Model):
        def load(self) -> None:
            began.set()
            goes_on.wait(100)

        def predict(self, number: int) -> int:
            return number

    flow = pillion.Sequential(Slow)
    closed = threading.Event()
    close = Session.close

    def seen(session: Session) -> None:
        close(session)
        closed.set()

    monkeypatch.setattr(Session, "close", seen)
    entering = asyncio.create_task(flow.__aenter__())
    await until(began.is_set)
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    assert not closed.is_set()
    goes_on.set()
    await until(closed.is_set)


async def test_as_many_generators_as_are_read_leave_threads_for_the_steps_after_them() -> None:
    def many(number: int) -> Iterator[int]:
        yield from range(number)

    async def read(flow: pillion.Sequential) -> int:
        return sum([item async for item in flow.aitems(100)])

    async with pillion.Sequential(many, add) as flow:
        readers = 4 * max(8, 2 * (os.cpu_count() or 1))
        async with asyncio.timeout(30):
            assert {5050} == set(await asyncio.gather(*(read(flow) for _ in range(readers))))


def _swallow(flow: pillion.Sequential) -> None:
    with contextlib.suppress(BaseException):  # what it is told is asyncio's to choose
        flow.call(1)


# --- streams of values


def test_a_stream_is_ordered_lazy_and_bounded() -> None:
    read = 0

    def inputs() -> Iterator[int]:
        nonlocal read
        for number in range(100):
            read += 1
            yield number

    async def uneven(number: int) -> int:
        await asyncio.sleep(0.002 * (number % 3))
        return number

    with pillion.Sequential(uneven) as flow:
        answers = flow.stream(inputs(), concurrency=4)
        assert 0 == read
        assert 0 == next(answers)
        assert 4 == read
        assert list(range(1, 100)) == list(answers)


def test_a_stream_gives_failures_and_inputs_where_it_is_asked_to() -> None:
    def odd(number: int) -> int:
        if number % 2:
            raise ValueError("odd")
        return number

    with pillion.Sequential(odd) as flow:
        pairs = list(flow.stream(range(3), return_x=True, return_exceptions=True))
        assert [(0, 0), (2, 2)] == [pairs[0], pairs[2]]
        assert (1, "odd") == (pairs[1][0], str(pairs[1][1]))
        answers = flow.stream(range(3))
        assert 0 == next(answers)
        with pytest.raises(ValueError, match="odd"):
            next(answers)


def test_an_error_of_the_inputs_ends_a_stream_after_what_came_before() -> None:
    def inputs() -> Iterator[int]:
        yield 1
        raise OSError("the file is gone")

    with pillion.Sequential(add) as flow:
        answers = flow.stream(inputs(), return_exceptions=True)
        assert 2 == next(answers)
        with pytest.raises(OSError, match="the file is gone"):
            next(answers)


def test_a_stream_times_each_value() -> None:
    async def wait(seconds: float) -> float:
        await asyncio.sleep(seconds)
        return seconds

    with pillion.Sequential(wait) as flow:
        first, second = flow.stream([0.0, 30.0], timeout=1.0, return_exceptions=True)
        assert (0.0, TimeoutError) == (first, type(second))


# --- ensemble


def test_all_members_answer_by_their_names() -> None:
    with pillion.Ensemble(add, double, ("again", add)) as flow:
        assert {"add": 4, "double": 6, "again": 4} == flow.call(3)


def test_the_first_answer_cancels_the_others() -> None:
    slow, threaded = Gate(), Gate()
    with pillion.Ensemble(slow.on_loop, threaded.in_thread, _after(slow, threaded), require="first") as flow:
        assert "quick" == flow.call(1)
        until_now(slow.cancelled.is_set)
        until_now(threaded.cancelled.is_set)


def _after(*gates: Gate) -> Any:
    async def quick(_: object) -> str:
        await until(lambda: all(gate.begun.is_set() for gate in gates))
        return "quick"

    return quick


def test_the_first_success_counts_and_not_the_first_failure() -> None:
    with pillion.Ensemble(fail, double, require="first") as flow:
        assert 6 == flow.call(3)


def test_a_quorum_says_what_failed_and_what_was_not_needed() -> None:
    gate = Gate()

    def combine(answers: Answers) -> tuple[list[int], dict[str, str], tuple[str, ...]]:
        return list(answers.values()), {name: str(one) for name, one in answers.failures.items()}, answers.unfinished

    async def late(number: int) -> int:
        await until(gate.begun.is_set)
        await asyncio.sleep(0.5)  # the failure is there by then
        return number

    with pillion.Ensemble(fail, late, ("slow", gate.on_loop), require=1, combine=combine) as flow:
        assert ([3], {"fail": "no 3"}, ("slow",)) == flow.call(3)


def test_an_ensemble_that_fails_tells_each_answer_and_failure() -> None:
    gate = Gate()
    with pillion.Ensemble(fail, ("slow", gate.on_loop), name="vote") as flow:
        with pytest.raises(
            EnsembleError, match="vote: 2 of 2 members have to answer, 1 failed: fail: ValueError: no 3"
        ) as caught:
            flow.call(3)
        assert (("slow",), {}) == (caught.value.unfinished, caught.value.answers)
        assert "no 3" == str(caught.value.failures["fail"])
    assert not gate.begun.is_set() or gate.cancelled.is_set()


# --- switch and map


def test_a_switch_calls_the_branch_that_is_chosen() -> None:
    def parity(number: int) -> str:
        return "odd" if number % 2 else "even"

    with pillion.Switch(parity, {"odd": add}, default=double) as flow:
        assert [2, 4] == [flow.call(1), flow.call(2)]
    with pillion.Switch(parity, {"odd": add}) as flow, pytest.raises(UnknownBranchError, match="no branch 'even'"):
        flow.call(2)


def test_a_map_keeps_order_and_its_bound() -> None:
    running, most = 0, 0

    async def watched(number: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001 * (5 - number % 5))
        running -= 1
        return number

    with pillion.Map(watched, concurrency=3) as flow:
        assert list(range(20)) == flow.call(range(20))
    assert 3 == most


def test_a_map_that_fails_tells_which_items_did() -> None:
    def odd(number: int) -> int:
        if number == 2:
            raise ValueError("two")
        return number

    with (
        pillion.Map(odd, concurrency=1) as flow,
        pytest.raises(MapError, match="map: item 2: ValueError: two") as caught,
    ):
        flow.call([0, 1, 2, 3])
    assert {0: 0, 1: 1} == caught.value.answers


# --- processes


def test_steps_run_in_worker_processes_and_end_with_the_composition() -> None:
    with pillion.Sequential(pillion.Process(placed_steps.Doubler), add) as flow:
        assert 9 == flow.call(4)
    with pillion.Map(pillion.Process(placed_steps.where, workers=2), concurrency=2) as places:
        pids = set(places.call(range(8)))
        assert os.getpid() not in pids
    until_now(lambda: not any(map(alive, pids)))


def test_a_worker_that_dies_fails_its_call_and_is_replaced() -> None:
    step = pillion.Switch(
        lambda x: x, {"die": pillion.Process(placed_steps.die), "where": pillion.Process(placed_steps.where)}
    )
    with step as flow:
        with pytest.raises(Exception, match="the worker process that computed this request ended"):
            flow.call("die", timeout=60)
        assert isinstance(flow.call("where"), int)


def test_an_exception_of_a_worker_keeps_its_family_and_its_traceback() -> None:
    with pillion.Sequential(pillion.Process(placed_steps.refuse)) as flow:
        with pytest.raises(ValueError, match="3 is too odd") as caught:
            flow.call(3)
        assert "placed_steps.py" in str(caught.value.__cause__)


def test_values_that_cannot_go_to_another_process_fail_their_call_alone_and_say_which_way() -> None:
    with pillion.Sequential(pillion.Process(placed_steps.where)) as flow:
        process = flow.call(1)
        with pytest.raises(
            RuntimeError, match="the call cannot be sent to its worker process: TypeError: cannot pickle"
        ):
            flow.call(threading.Lock())
        with pytest.raises(RuntimeError, match="what the worker process was sent cannot be read: TypeError: made else"):
            flow.call(placed_steps.Unreadable())
        assert process == flow.call(1)
    with pillion.Sequential(pillion.Process(placed_steps.odd)) as flow:
        with pytest.raises(RuntimeError, match="the result cannot be sent from its worker process: TypeError"):
            flow.call("lock")
        with pytest.raises(RuntimeError, match="the result of a worker process cannot be read: TypeError: made else"):
            flow.call("unreadable")
        assert "fine" == flow.call("fine")
    with pillion.Sequential(pillion.Process(placed_steps.odd_items)) as flow:
        items = flow.items("lock")
        assert "first" == next(items)
        with pytest.raises(RuntimeError, match="the result cannot be sent from its worker process: TypeError"):
            next(items)


def test_a_generator_streams_from_its_worker() -> None:
    with pillion.Sequential(pillion.Process(placed_steps.count), double) as flow:
        assert [0, 2, 4] == list(flow.items(3))


def test_a_step_that_cannot_be_loaded_in_its_worker_is_told_at_the_start() -> None:
    class Broken(Model):
        pass

    with pytest.raises(TypeError, match="neither a task nor predict"):
        pillion.Process(Broken)
    with pytest.raises(TypeError, match="worker processes import it by name"):
        pillion.Process(lambda x: x)


# --- what does not fit


def odd(value: object) -> Any:
    """What no type checker would let through."""
    return value


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: pillion.Sequential(Mood, str.lower, Mood), None),
        (lambda: pillion.Sequential(add, Mood), "step 'add' gives int, and 'Mood' takes str"),
        (lambda: pillion.Sequential(lambda a, b: a), "step 'lambda' takes a, b: a step takes one value"),
        (lambda: pillion.Sequential(Mood.classify), "a method without its object"),
        (lambda: pillion.Sequential("add"), "a step is a callable, a Model or a composition, not str"),
        (pillion.Sequential, "name its steps"),
        (lambda: pillion.Ensemble(add, require=2), "'all', 'first', or a number from 1 to 1"),
        (lambda: pillion.Ensemble(add, Mood), "'add' takes int, and 'Mood' takes str"),
        (lambda: pillion.Ensemble(count), "member 'count' yields"),
        (lambda: pillion.Switch(add, {1: add, 2: count}), "one yields and the other does not"),
        (lambda: pillion.Switch(add, {1: Mood}), "choose takes int, and branch 'Mood' takes str"),
        (lambda: pillion.Map(add, concurrency=0), "map: concurrency=0: at least 1 is needed"),
        (
            lambda: pillion.Map(add, concurrency=odd("3")),
            "map: concurrency is a number of items in progress, and not a str",
        ),
        (lambda: pillion.Process(placed_steps.Together, workers=odd(1.5)), "Process: workers is a number of processes"),
        (
            lambda: pillion.Process(placed_steps.Together, retry=odd("no")),
            "Process: retry is True or False, and not a str",
        ),
        (
            lambda: pillion.Switch(add, odd([add])),
            "switch: branches are steps by their keys, in a dict, and not a list",
        ),
        (lambda: pillion.Switch(odd(3), {1: add}), "a step is a callable, a Model or a composition, not int: 3"),
        (lambda: pillion.Ensemble(add, combine=odd(3)), "a step is a callable, a Model or a composition, not int: 3"),
        (lambda: pillion.Sequential(add, name=odd(3)), "name is a text, such as 'sentiment', and not a int"),
        (lambda: pillion.Sequential(add, name=""), "name is empty"),
    ],
)
def test_what_does_not_fit_is_refused_where_it_is_written(make: Any, message: str | None) -> None:
    if message is None:
        make()
        return
    with pytest.raises(TypeError, match=message):
        make()


@pytest.mark.parametrize(
    ("inputs", "arguments", "message"),
    [
        ([1], {"timeout": "x"}, "timeout is a number of seconds, or None to wait, and not a str"),
        ([1], {"timeout": -1}, "timeout is -1: a number of seconds"),
        ([1], {"concurrency": "2"}, "concurrency is a number of values in progress, and not a str"),
        ([1], {"concurrency": 0}, "concurrency=0: at least 1 is needed"),
        (3, {}, "inputs are values to iterate over, and not a int"),
    ],
)
async def test_wrong_arguments_of_a_call_are_told_by_name_before_a_step_runs(
    inputs: Any, arguments: dict[str, Any], message: str
) -> None:
    called: list[Any] = []
    with pillion.Sequential(called.append) as flow:
        with pytest.raises((TypeError, ValueError), match=message):
            flow.stream(inputs, **arguments)
        with pytest.raises((TypeError, ValueError), match=message):
            await anext(flow.astream(inputs, **arguments))
        if "timeout" in arguments:
            with pytest.raises((TypeError, ValueError), match=message):
                flow.call(1, **arguments)
            with pytest.raises((TypeError, ValueError), match=message):
                await flow.acall(1, **arguments)
    assert not called


def test_async_inputs_of_a_plain_stream_are_told_with_what_reads_them() -> None:
    async def inputs() -> AsyncIterator[int]:
        yield 1

    with (
        pillion.Sequential(add) as flow,
        pytest.raises(TypeError, match=r"not a async_generator: read them by astream"),
    ):
        flow.stream(inputs())  # type: ignore[arg-type] # the mistake is the point


def test_a_deadline_of_a_flow_within_a_flow_is_the_sooner_one() -> None:
    gate = Gate()
    with pillion.Sequential(pillion.Ensemble(gate.on_loop, gate.in_thread)) as flow:
        with pytest.raises(TimeoutError):
            flow.call(1, timeout=0.5)
        until_now(gate.cancelled.is_set)


def test_worker_processes_of_a_step_are_started_at_the_same_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOGETHER", str(tmp_path))
    with pillion.Sequential(pillion.Process(placed_steps.Together, workers=2)) as flow:
        assert str(flow.call(None)) in {one.name for one in tmp_path.iterdir()}
