"""Results that come one by one from real worker processes, and what else a class can be asked beside its tasks."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest

from pillion.authoring.finish import Finish
from pillion.errors import ErrorCode, PillionError
from pillion.execution.api import WorkerDiedError
from pillion.execution.process import ProcessExecutor
from pillion.execution.stream import ItemBuffer, StreamRun
from pillion.repository.repository import ModelRepository
from pillion.repository.served import RepositorySettings
from pillion.runtimefile import Code, DesiredModel, ExecutionSettings
from tests.waiting import until
from tests.workers import tensor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from pillion.backends.api import ExplainedModel, StreamModel, TaskModel
    from pillion.repository.served import Served

SOURCE = """
import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
from pillion import Finish, Model, task

FOLDER = Path(__file__).parent


def note(name, text):
    (FOLDER / f"{name}.part").write_text(text)
    (FOLDER / f"{name}.part").rename(FOLDER / name)


def wait_for(name):
    while not (FOLDER / name).exists():
        time.sleep(0.002)


class Story(Model):
    def predict(self, x: np.ndarray) -> np.ndarray:
        return x

    def explain(self, x: np.ndarray) -> dict[str, float]:
        return {"sum": float(x.sum()), "pid": os.getpid()}

    def embed(self, texts: list[str]) -> np.ndarray:
        return np.array([[len(text), 1] for text in texts])

    def generate(self, prompt: str, max_tokens: int = 3) -> Iterator[str | Finish]:
        for place in range(max_tokens):
            yield f"{prompt}{place}"
        yield Finish("length", prompt_tokens=1, completion_tokens=max_tokens)

    @task
    def numbers(self, name: str, count: int = 1_000_000) -> Iterator[int]:
        made = 0
        try:
            for made in range(count):
                yield made
        except BaseException as error:
            note(name, f"{type(error).__name__} {made}")
            raise

    @task
    def tidies(self, name: str) -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            time.sleep(0.4)  # longer than it may take to come to a yield
            note(name, "tidy")

    @task
    def held(self, name: str) -> Iterator[int]:
        yield os.getpid()
        wait_for(name)
        yield 2

    @task
    def computes(self, name: str) -> Iterator[int]:
        yield 1
        try:
            while True:
                pass
        except BaseException as error:
            note(name, type(error).__name__)
            raise

    @task
    async def waits(self, name: str, count: int = 1) -> AsyncIterator[int]:
        try:
            for made in range(count):
                yield made
            await asyncio.sleep(60)
        except BaseException as error:
            note(name, type(error).__name__)
            raise

    @task
    def fails(self, after: int) -> Iterator[int]:
        yield from range(after)
        raise ValueError("no more")

    @task
    def dies(self, after: int) -> Iterator[int]:
        yield from range(after)
        (FOLDER / "dying").open("a").write("x")
        os.kill(os.getpid(), signal.SIGKILL)

    @task
    def pid(self) -> int:
        return os.getpid()
"""


@pytest.fixture
async def repository() -> AsyncIterator[ModelRepository]:
    made = ModelRepository(RepositorySettings(cpus=2, unload_grace_seconds=5))
    yield made
    await made.close()


async def serve(repository: ModelRepository, folder: Path, processes: int = 1, **execution: Any) -> Served:
    (folder / "story.py").write_text(SOURCE)
    model = DesiredModel(
        name="story",
        path="",
        format="python",
        code=Code(module=str(folder / "story.py"), folder=str(folder)),
        execution=ExecutionSettings(executor="process", processes=processes, **execution),
    )
    await repository.apply([model])
    assert "" == repository.status("story").reason
    return repository.serving()["story", None]


def executor_of(served: Served) -> ProcessExecutor:
    assert isinstance(served.executor, ProcessExecutor)
    return served.executor


class Reading:
    """One stream, read as a transport reads it."""

    def __init__(self, served: Served, task: str, **arguments: Any) -> None:
        model = cast("StreamModel", served.model)
        if task == "generate":
            assert model.text.generate is not None
            signature = model.text.generate.task
        else:
            signature = cast("TaskModel", served.model).tasks[task]
        self.buffer = ItemBuffer(asyncio.get_running_loop())
        run = StreamRun(model.stream(signature, arguments), self.buffer)
        self.running = asyncio.ensure_future(served.executor.run(run, (), (), 20))
        self.running.add_done_callback(self._done)

    def _done(self, running: asyncio.Future[Any]) -> None:
        failure = None if running.cancelled() else running.exception()
        self.buffer.end(failure if isinstance(failure, Exception) else None)

    async def some(self, count: int) -> list[Any]:
        items: list[Any] = []
        while len(items) < count:
            more = await self.buffer.take()
            assert more
            items += more
        return items

    async def all(self) -> list[Any]:
        items: list[Any] = []
        while more := await self.buffer.take():
            items += more
        return items

    def leave(self) -> None:
        self.running.cancel()
        self.buffer.close()


async def call(served: Served, task: str, **arguments: Any) -> Any:
    model = cast("TaskModel", served.model)
    run = model.begin(model.tasks[task], arguments)
    await served.executor.run(run, (), (), 20)
    return run.value


async def noted(folder: Path, name: str) -> str:
    await until((folder / name).exists)
    return (folder / name).read_text()


async def test_items_are_sent_when_they_are_made(repository: ModelRepository, tmp_path: Path) -> None:
    served = await serve(repository, tmp_path)
    reading = Reading(served, "held", name="go")
    [pid] = await reading.some(1)
    assert executor_of(served).workers()[0].pid == pid
    (tmp_path / "go").touch()
    assert [2] == await reading.all()


async def test_all_that_is_made_arrives_in_its_order_and_then_the_end(
    repository: ModelRepository, tmp_path: Path
) -> None:
    served = await serve(repository, tmp_path)
    assert list(range(1000)) == await Reading(served, "numbers", name="n", count=1000).all()
    assert [] == await Reading(served, "numbers", name="n", count=0).all()
    finish = Finish("length", prompt_tokens=1, completion_tokens=2)
    assert ["a0", "a1", finish] == await Reading(served, "generate", prompt="a", max_tokens=2).all()


async def test_a_reader_that_does_not_read_makes_the_worker_wait(repository: ModelRepository, tmp_path: Path) -> None:
    served = await serve(repository, tmp_path)
    reading = Reading(served, "numbers", name="n")
    await until(lambda: len(reading.buffer._items) == reading.buffer.most)
    reading.leave()
    how, made = (await noted(tmp_path, "n")).split()
    assert "GeneratorExit" == how
    # One more, which waits for room; or it has not come to it yet.
    assert int(made) in (reading.buffer.most, reading.buffer.most - 1)


@pytest.mark.parametrize("reads", [1, 40])
async def test_a_generator_is_closed_where_it_yields_when_its_reader_leaves(
    repository: ModelRepository, tmp_path: Path, reads: int
) -> None:
    served = await serve(repository, tmp_path)
    pid = await call(served, "pid")
    reading = Reading(served, "numbers", name="n")
    await reading.some(reads)
    reading.leave()
    assert (await noted(tmp_path, "n")).startswith("GeneratorExit ")
    await until(lambda: executor_of(served).abandoned == 0)
    assert pid == await call(served, "pid")


async def test_what_a_closed_generator_does_in_the_end_is_not_interrupted(
    repository: ModelRepository, tmp_path: Path
) -> None:
    served = await serve(repository, tmp_path, abandoned_grace_seconds=20.0)
    reading = Reading(served, "tidies", name="n")
    await reading.some(1)
    reading.leave()
    assert "tidy" == await noted(tmp_path, "n")


async def test_one_that_does_not_come_to_its_next_item_gets_an_exception(
    repository: ModelRepository, tmp_path: Path
) -> None:
    served = await serve(repository, tmp_path, abandoned_grace_seconds=20.0)
    pid = await call(served, "pid")
    reading = Reading(served, "computes", name="n")
    await reading.some(1)
    reading.leave()
    assert "Abandoned" == await noted(tmp_path, "n")
    assert pid == await call(served, "pid")


@pytest.mark.parametrize("count", [1, 40])
async def test_an_async_generator_is_cancelled(repository: ModelRepository, tmp_path: Path, count: int) -> None:
    served = await serve(repository, tmp_path)
    pid = await call(served, "pid")
    for name in ("first", "second"):  # what one leaves behind must not be in the way of the next
        reading = Reading(served, "waits", name=name, count=count)
        assert list(range(count)) == await reading.some(count)
        reading.leave()
        assert "CancelledError" == await noted(tmp_path, name)
    assert pid == await call(served, "pid")


async def test_an_async_generator_whose_reader_does_not_read_is_cancelled_too(
    repository: ModelRepository, tmp_path: Path
) -> None:
    served = await serve(repository, tmp_path)
    reading = Reading(served, "waits", name="n", count=1000)
    await until(lambda: len(reading.buffer._items) == reading.buffer.most)
    reading.leave()
    assert "CancelledError" == await noted(tmp_path, "n")
    assert isinstance(await call(served, "pid"), int)


async def test_a_failure_comes_after_the_items_before_it(repository: ModelRepository, tmp_path: Path) -> None:
    served = await serve(repository, tmp_path)
    reading = Reading(served, "fails", after=3)
    assert [0, 1, 2] == await reading.some(3)
    with pytest.raises(ValueError, match="no more"):
        await reading.all()


async def test_a_dead_worker_ends_its_stream_with_an_error_and_it_is_not_begun_again(
    repository: ModelRepository, tmp_path: Path
) -> None:
    served = await serve(repository, tmp_path, idempotent=True)
    reading = Reading(served, "dies", after=3)
    assert [0, 1, 2] == await reading.some(3)
    with pytest.raises(WorkerDiedError) as died:
        await reading.all()
    assert (ErrorCode.MODEL_FAILED, 1) == (died.value.code, died.value.deaths)
    assert "x" == (tmp_path / "dying").read_text()
    reading = Reading(served, "dies", after=0)
    with pytest.raises(WorkerDiedError, match="2 worker processes ended over this request"):
        await reading.all()
    assert "xxx" == (tmp_path / "dying").read_text()


async def test_a_worker_killed_from_outside_ends_an_idle_stream_at_once(
    repository: ModelRepository, tmp_path: Path
) -> None:
    served = await serve(repository, tmp_path)
    reading = Reading(served, "held", name="never")
    [pid] = await reading.some(1)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(PillionError, match="the worker process that computed this request ended"):
        await asyncio.wait_for(reading.all(), 60)


async def test_calls_do_not_wait_behind_a_stream_where_another_worker_is_free(
    repository: ModelRepository, tmp_path: Path
) -> None:
    served = await serve(repository, tmp_path, processes=2)
    for _ in range(20):  # known as quick, so that a worker would be given several
        await call(served, "pid")
    reading = Reading(served, "held", name="go")
    [streaming] = await reading.some(1)
    answers = await asyncio.gather(*(call(served, "pid") for _ in range(20)))
    assert streaming not in answers
    (tmp_path / "go").touch()
    assert [2] == await reading.all()


async def test_explanations_and_vectors_are_made_in_the_worker(repository: ModelRepository, tmp_path: Path) -> None:
    served = await serve(repository, tmp_path)
    assert served.metadata.explains
    explanation = cast("ExplainedModel", served.model).begin_explanation()
    large = np.ones(1_000_000)
    await served.executor.run(explanation, [tensor(large)], (), 20)
    assert {"sum": 1e6, "pid": executor_of(served).workers()[0].pid} == explanation.value
    model = cast("StreamModel", served.model)
    assert model.text.embed is not None
    run = cast("TaskModel", served.model).begin(model.text.embed.task, {"texts": ["a", "abc"]})
    await served.executor.run(run, (), (), 20)
    assert [[1, 1], [3, 1]] == np.asarray(run.value).tolist()
