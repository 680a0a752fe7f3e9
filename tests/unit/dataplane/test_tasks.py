"""Which task a request means, and what is said where there is none."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry

from pillion import Batch, Model, task
from pillion.dataplane.call import Call, WireProtocol
from pillion.dataplane.plane import DataPlane
from pillion.dataplane.settings import PlaneSettings
from pillion.errors import ErrorCode, PillionError
from pillion.metrics import RuntimeMetrics
from pillion.repository.repository import ModelRepository
from pillion.repository.served import RepositorySettings
from pillion.runtimefile import DesiredModel, ExecutionSettings
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

GATE = threading.Event()


class Mood(Model):
    @task
    def classify_text(self, text: str) -> str:
        return f"mood of {text}"

    @task
    def only_mood(self) -> int:
        return 1


class Other(Model):
    @task
    def classify_text(self, text: str) -> str:
        return f"other of {text}"

    @task
    def only_other(self) -> int:
        GATE.wait(20)
        return 2


class Slow(Model):
    def load(self) -> None:
        GATE.wait(20)

    @task
    def slow(self) -> int:
        return 3


class Many(Model):
    @task(batch=Batch(max_size=4))
    def lengths(self, text: list[str]) -> list[int]:
        return [len(one) for one in text]


class Patient(Model):
    @task(batch=Batch(max_delay_seconds=60))
    def lengths(self, text: list[str]) -> list[int]:
        return [len(one) for one in text]


CLASSES: dict[str, type[Model]] = {"mood": Mood, "other": Other, "slow": Slow, "many": Many, "patient": Patient}


def desired(name: str, threads: int | None = None) -> DesiredModel:
    return DesiredModel(name=name, path="", format="python", execution=ExecutionSettings(threads=threads))


@pytest.fixture
def plane() -> DataPlane:
    GATE.clear()
    return DataPlane(
        repository=ModelRepository(RepositorySettings(classes=CLASSES)),
        metrics=RuntimeMetrics(CollectorRegistry()),
        settings=PlaneSettings(max_queue=0),
    )


def call(deadline: float | None = None) -> Call:
    return Call(WireProtocol.TASK, "a", deadline)


def refusal(ask: Callable[[], object]) -> tuple[ErrorCode, str]:
    with pytest.raises(PillionError) as failure:
        ask()
    return failure.value.code, str(failure.value)


async def test_a_task_is_found_by_its_name_alone_in_either_spelling(plane: DataPlane) -> None:
    await plane.apply([desired("mood")])
    for name in ("classify_text", "classify-text", "Classify_Text"):
        result = await plane.perform(plane.find(name), {"text": "a"}, call())
        assert ("mood", "1", "mood of a") == (result.model, result.version, result.value)


async def test_a_limit_is_not_found_out_where_tasks_share_calls() -> None:
    registry = CollectorRegistry()
    plane = DataPlane(
        repository=ModelRepository(RepositorySettings(classes=CLASSES)),
        metrics=RuntimeMetrics(registry),
        settings=PlaneSettings(adaptive=True),
    )
    await plane.apply([desired("mood", 3), desired("many", 3)])
    limits = [
        registry.get_sample_value("pillion_concurrency_limit", {"model": model, "version": "1"})
        for model in ("mood", "many")
    ]
    assert [1, 3] == limits
    await plane.stop(1)


async def test_a_task_that_several_models_have_needs_the_models_name(plane: DataPlane) -> None:
    await plane.apply([desired("mood"), desired("other")])
    code, sentence = refusal(lambda: plane.find("classify_text"))
    assert ErrorCode.INVALID_ARGUMENT is code
    assert "several models have the task 'classify_text': mood, other (name one: POST /mood/classify_text)" == sentence
    assert "other of a" == (await plane.perform(plane.find("classify_text", "other"), {"text": "a"}, call())).value


async def test_what_there_is_is_listed_where_something_else_is_asked_for(plane: DataPlane) -> None:
    await plane.apply([desired("mood"), desired("other")])
    assert (
        ErrorCode.NOT_FOUND,
        "there is no task 'x'; tasks: classify_text, only_mood, only_other",
    ) == refusal(lambda: plane.find("x"))
    assert (
        ErrorCode.INVALID_ARGUMENT,
        "model 'mood' has no task 'only_other'; it has: classify_text, only_mood",
    ) == refusal(lambda: plane.find("only_other", "mood"))
    assert ErrorCode.UNKNOWN_MODEL is refusal(lambda: plane.find("x", "nobody"))[0]


async def test_a_task_of_a_model_that_is_loading_is_not_ready_rather_than_unknown(plane: DataPlane) -> None:
    loading = asyncio.create_task(plane.apply([desired("slow")]))
    await until(lambda: bool(plane.statuses()))
    assert plane.expects_tasks()
    assert ErrorCode.NOT_READY is refusal(lambda: plane.find("slow"))[0]
    assert ErrorCode.NOT_READY is refusal(lambda: plane.find("slow", "slow"))[0]
    GATE.set()
    await loading
    assert 3 == (await plane.perform(plane.find("slow"), {}, call())).value


async def test_a_server_of_other_models_expects_no_tasks(plane: DataPlane) -> None:
    assert not plane.expects_tasks()


async def test_tasks_share_the_queue_and_the_deadline_of_their_model(plane: DataPlane) -> None:
    await plane.apply([desired("other", threads=1)])
    first = asyncio.create_task(plane.perform(plane.find("only_other"), {}, call()))
    await until(lambda: plane.in_flight() == 1)
    with pytest.raises(PillionError) as full:
        await plane.perform(plane.find("classify_text"), {"text": "a"}, call())
    assert ErrorCode.QUEUE_FULL is full.value.code
    GATE.set()
    assert 2 == (await first).value
    with pytest.raises(PillionError) as late:
        await plane.perform(plane.find("classify_text"), {"text": "a"}, call(deadline=0.0))
    assert ErrorCode.DEADLINE_EXCEEDED is late.value.code


async def test_tasks_go_when_their_model_goes(plane: DataPlane) -> None:
    await plane.apply([desired("mood"), desired("other")])
    before = plane.tasks()
    assert before is plane.tasks()
    await plane.apply([desired("other")])
    assert ["classify_text", "only_other"] == [one.signature.name for one in plane.tasks()]


async def test_a_draining_server_takes_no_tasks(plane: DataPlane) -> None:
    await plane.apply([desired("mood")])
    found = plane.find("only_mood")
    plane.drain()
    with pytest.raises(PillionError) as failure:
        await plane.perform(found, {}, call())
    assert ErrorCode.DRAINING is failure.value.code


async def test_a_call_that_would_be_late_after_the_delay_does_not_wait_for_others(plane: DataPlane) -> None:
    await plane.apply([desired("patient")])
    async with asyncio.timeout(20):
        result = await plane.perform(plane.find("lengths"), {"text": "abc"}, call(time.monotonic() + 30))
    assert 3 == result.value


@pytest.mark.parametrize("name", ["mood", "many"], ids=["alone", "shared"])
async def test_the_arguments_of_a_task_count_among_the_bytes_of_its_model(plane: DataPlane, name: str) -> None:
    bounded = DesiredModel(
        name=name, path="", format="python", execution=ExecutionSettings(threads=1, max_bytes_in_flight=10)
    )
    await plane.apply([bounded])
    named = "classify_text" if name == "mood" else "lengths"
    small, large = ("x" * 10, "x" * 11)
    await plane.perform(plane.find(named), {"text": small if name == "mood" else [small]}, call())
    with pytest.raises(PillionError, match="the inputs are 11 bytes, more than the model may have") as failure:
        await plane.perform(plane.find(named), {"text": large if name == "mood" else [large]}, call())
    assert ErrorCode.PAYLOAD_TOO_LARGE is failure.value.code
