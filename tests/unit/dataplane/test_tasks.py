"""Which task a request means, and what is said where there is none."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path  # noqa: TC003 - hints are read at run time
from typing import TYPE_CHECKING, Self

import pytest
from prometheus_client import CollectorRegistry

from pillion import Batch, Model, Stream, task, train
from pillion.dataplane.call import Call, WireProtocol
from pillion.dataplane.plane import DataPlane
from pillion.dataplane.settings import PlaneSettings
from pillion.errors import ErrorCode, PillionError
from pillion.metrics import RuntimeMetrics
from pillion.model import ModelState
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
        GATE.wait(100)
        return 2


class Slow(Model):
    def load(self) -> None:
        GATE.wait(100)

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


class SlowMood(Model):
    def load(self) -> None:
        GATE.wait(100)

    @task
    def classify_text(self, text: str) -> str:
        return f"slow mood of {text}"


class Numbers(Model):
    @task("classify-text")
    def classify(self, text: int) -> str:
        return f"number {text}"


class Tagger(Model):
    @task
    def tag(self, text: str) -> str:
        return text

    def save(self, path: Path) -> None:
        raise NotImplementedError

    @train
    @classmethod
    def fit(cls, data: Stream[str], epochs: int = 1) -> Self:
        raise NotImplementedError


class Namesake(Model):
    """Goes by the name of the one before."""

    @task
    def tag(self, text: str) -> str:
        return text

    def save(self, path: Path) -> None:
        raise NotImplementedError

    @train
    @classmethod
    def learn(cls, data: Stream[str], rounds: int = 1, epochs: float = 1) -> Self:
        raise NotImplementedError


Namesake.__name__ = "Tagger"

CLASSES: dict[str, type[Model]] = {
    "mood": Mood,
    "other": Other,
    "slow": Slow,
    "many": Many,
    "patient": Patient,
    "slow-mood": SlowMood,
    "numbers": Numbers,
    "tagger": Tagger,
    "again": Tagger,
    "namesake": Namesake,
}


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


DIFFERS = (
    "its task 'classify-text' differs from that of model 'mood', which is its contract:"
    " parameter text: string there, integer here"
    """ (give it the same signature, or another name: @task("classify-text_of_numbers"))"""
)


async def test_another_signature_of_a_task_is_refused_and_shown_whichever_way_it_comes(plane: DataPlane) -> None:
    await plane.apply([desired("mood"), desired("numbers")])
    assert DIFFERS == plane.status("numbers").reason
    assert "mood of a" == (await plane.perform(plane.find("classify-text"), {"text": "a"}, call())).value

    await plane.load("mood")
    with pytest.raises(PillionError, match="parameter text: string there, integer here"):
        await plane.load("numbers")
    await plane.apply([desired("mood")])
    with pytest.raises(PillionError, match="parameter text: string there, integer here"):
        await plane.add(desired("numbers"))
    assert ["classify_text", "only_mood"] == [one.signature.name for one in plane.tasks()]


async def test_two_trainings_of_one_name_are_both_named_and_one_class_may_serve_as_several_models(
    plane: DataPlane,
) -> None:
    await plane.apply([desired("tagger"), desired("again"), desired("namesake")])
    assert ModelState.READY is plane.status("again").state
    assert (
        "its training TagTaggerTrain (Tagger.learn) differs from that of model 'tagger' (Tagger.fit), which is asked"
        " for by that name: parameter epochs: integer there, number here; parameter rounds: not there, integer here"
        ' (rename one of the classes, or its task for trainings: @train(task="..."))'
    ) == plane.status("namesake").reason


async def test_the_order_of_declaration_says_which_is_the_contract_and_not_that_of_loading(plane: DataPlane) -> None:
    applying = asyncio.create_task(plane.apply([desired("slow-mood"), desired("numbers")]))
    try:
        await asyncio.sleep(0.2)  # time in which the quick one would have been taken
        assert not plane.tasks()
    finally:
        GATE.set()
        await applying
    assert [("slow-mood", "classify_text")] == [(one.model, one.signature.name) for one in plane.tasks()]
    assert DIFFERS.replace("'mood'", "'slow-mood'") == plane.status("numbers").reason


@pytest.mark.parametrize("slow", ["slow", "slow-mood"])
async def test_a_load_that_does_not_end_holds_no_model_that_cannot_differ_from_it(plane: DataPlane, slow: str) -> None:
    # One has no task of such a name, the other has it alike.
    applying = asyncio.create_task(plane.apply([desired(slow), desired("mood"), desired("other")]))
    try:
        await until(lambda: {one.model for one in plane.tasks()} == {"mood", "other"})
        assert plane.status(slow).state is ModelState.LOADING
    finally:
        GATE.set()
        await applying


async def test_a_load_that_nobody_waits_for_any_more_ends_and_keeps_nobody_from_loading(plane: DataPlane) -> None:
    GATE.set()
    await plane.apply([desired("slow-mood"), desired("other")])
    GATE.clear()
    loading = asyncio.create_task(plane.load("slow-mood"))
    try:
        await asyncio.sleep(0)
        loading.cancel()
        await asyncio.gather(loading, return_exceptions=True)
    finally:
        GATE.set()
    async with asyncio.timeout(60):
        await plane.load("other")
        await until(lambda: plane.status("slow-mood").state is ModelState.READY)


async def test_the_contract_is_the_next_models_when_the_first_has_left(plane: DataPlane) -> None:
    await plane.apply([desired("mood"), desired("other")])
    await plane.apply([desired("other")])
    assert "other of a" == (await plane.perform(plane.find("classify_text"), {"text": "a"}, call())).value
    await plane.apply([])
    await plane.add(desired("numbers"))
    assert "number 3" == (await plane.perform(plane.find("classify_text"), {"text": 3}, call())).value


async def test_models_that_change_together_agree_with_each_other() -> None:
    classes: dict[str, type[Model]] = {"one": Mood, "two": Mood}
    plane = DataPlane(
        repository=ModelRepository(RepositorySettings(classes=classes)),
        metrics=RuntimeMetrics(CollectorRegistry()),
        settings=PlaneSettings(),
    )
    await plane.apply([desired("one"), desired("two")])
    classes.update(one=Numbers, two=Numbers)
    with pytest.raises(PillionError, match="parameter text: string there, integer here"):
        await plane.load("one")
    await asyncio.gather(plane.load("one"), plane.load("two"))
    assert ["", ""] == [one.reason for one in plane.statuses()]
    assert "number 3" == (await plane.perform(plane.find("classify_text", "two"), {"text": 3}, call())).value
    await plane.stop(1)


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
    async with asyncio.timeout(60):
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
