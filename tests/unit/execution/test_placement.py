from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pillion.execution.adaptive import AdaptiveExecutor
from pillion.execution.inline import InlineExecutor
from pillion.execution.placement import InlineLimits, Measured, Placement, Watch, place
from pillion.execution.thread import ThreadExecutor
from pillion.tensors import Datatype, Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pillion.execution.api import Interrupt

LIMITS = InlineLimits(median_seconds=100e-6, tail_seconds=1e-3, demote_seconds=10e-3, proof_calls=4)

QUICK = Measured(5e-6, 5e-6)


@pytest.mark.parametrize(
    ("durations", "expected"),
    [
        ([], Placement.THREAD),
        ([5e-6] * 100, Placement.INLINE),
        ([200e-6] * 100, Placement.THREAD),
        ([5e-6] * 90 + [5e-3] * 10, Placement.THREAD),
        ([5e-6] * 199 + [5e-3], Placement.INLINE),
    ],
)
def test_only_calls_that_are_short_and_stay_short_run_on_the_loop(durations: list[float], expected: Placement) -> None:
    assert expected == place([Measured(seconds, seconds) for seconds in durations], LIMITS)


class Processor:
    """A processor clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def warm(processor: Processor) -> Watch:
    """A watch that has seen enough quick calls to have read the processor clock."""
    watch = Watch(Placement.INLINE, LIMITS, processor)
    assert not any(watch.slow(5e-6) for _ in range(16))
    return watch


def test_one_call_that_computes_over_the_limit_moves_a_model_to_threads() -> None:
    processor = Processor()
    watch = warm(processor)
    assert not watch.slow(9e-3)
    processor.seconds += 11e-3
    assert watch.slow(11e-3)
    assert watch.placement is Placement.THREAD


def test_a_call_that_lost_the_processor_once_moves_nothing() -> None:
    watch = warm(Processor())
    assert not watch.slow(80e-3)
    assert not any(watch.slow(5e-6) for _ in range(100))
    assert not watch.slow(80e-3)
    assert watch.placement is Placement.INLINE


def test_a_model_that_keeps_waiting_moves_to_threads_at_the_third_call() -> None:
    watch = warm(Processor())
    assert [False, False, True] == [watch.slow(20e-3) for _ in range(3)]


def test_a_run_of_quick_calls_brings_it_back_and_each_relapse_asks_for_twice_as_many() -> None:
    watch = Watch(Placement.INLINE, LIMITS)
    watch.slow(1)
    assert [False, False, False, True] == [watch.proven(QUICK) for _ in range(4)]
    assert watch.placement is Placement.INLINE
    watch.slow(1)
    assert [False] * 7 + [True] == [watch.proven(QUICK) for _ in range(8)]


def test_mild_relapses_never_ask_for_more_than_four_times_the_calls() -> None:
    watch = Watch(Placement.INLINE, LIMITS)
    for _ in range(10):
        watch.slow(11e-3)
        watch.placement = Placement.INLINE
    watch.slow(11e-3)
    assert [False] * 15 + [True] == [watch.proven(QUICK) for _ in range(16)]


def test_a_model_measured_on_a_busy_machine_is_judged_by_its_processor_time() -> None:
    assert place([Measured(5e-6, 5e-3)] * 50, LIMITS) is Placement.INLINE


def test_a_model_that_began_in_threads_moves_to_the_loop_when_its_calls_are_quick() -> None:
    watch = Watch(Placement.THREAD, LIMITS)
    assert [False, False, False, True] == [watch.proven(QUICK) for _ in range(4)]
    assert watch.placement is Placement.INLINE


def test_calls_that_wait_rather_than_compute_stay_in_threads() -> None:
    watch = Watch(Placement.INLINE, LIMITS)
    watch.slow(1)
    assert not any(watch.proven(Measured(5e-6, 20e-3)) for _ in range(4))


class Sleeper:
    """A model that takes as long as its input says."""

    def predict(
        self, inputs: Sequence[Tensor | None], outputs: tuple[str, ...], interrupt: Interrupt | None
    ) -> list[Tensor]:
        given = inputs[0]
        assert given is not None
        time.sleep(float(given.data[0]))
        return [given]


def seconds(number: float) -> Tensor:
    return Tensor("x", Datatype.FP64, np.array([number]))


async def test_an_adaptive_executor_moves_to_threads_after_a_slow_call_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    executor = AdaptiveExecutor("m/1", ThreadExecutor("m", 1), limits=LIMITS)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            await executor.run(Sleeper(), [seconds(0.02)], ("x",), None)
    assert executor.placement is Placement.THREAD
    assert "m/1: a call took" in caplog.text
    given = seconds(0)
    assert [given] == await executor.run(Sleeper(), [given], ("x",), None)
    executor.close()


async def test_an_adaptive_executor_is_immediate_only_while_nothing_of_its_model_is_in_a_thread() -> None:
    threads = ThreadExecutor("m", 1)
    executor = AdaptiveExecutor("m/1", threads, limits=LIMITS)
    seen = [executor.immediate]
    elsewhere = asyncio.ensure_future(threads.run(Sleeper(), [seconds(0.05)], ("x",), None))
    await asyncio.sleep(0)
    seen.append(executor.immediate)
    await elsewhere
    seen.append(executor.immediate)
    assert [True, False, True] == seen
    executor.close()


async def test_an_inline_executor_answers_without_suspending() -> None:
    given = seconds(0)
    coroutine = InlineExecutor().run(Sleeper(), [given], ("x",), None)
    with pytest.raises(StopIteration) as ended:
        coroutine.send(None)
    assert [given] == ended.value.value
