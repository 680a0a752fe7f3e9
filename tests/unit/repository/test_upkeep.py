"""Configs that are given to a model while workers come and go, and while something else is wanted of it."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from pillion.errors import ErrorCode, ModelRefused, PillionError
from pillion.execution.process import ProcessExecutor
from pillion.execution.remote import RemoteTask
from pillion.execution.roll_call import ask_each
from pillion.repository.repository import ModelRepository
from pillion.repository.served import RepositorySettings
from pillion.runtimefile import Code, DesiredModel, ExecutionSettings
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pillion.backends.api import TaskModel
    from pillion.repository.served import Served

SOURCE = """
import os
import time
from pathlib import Path
from pillion import Model, task

FOLDER = Path(__file__).parent

class Scaled(Model):
    def reconfigure(self, config):
        (FOLDER / f"{os.getpid()}.begun").touch()
        while (FOLDER / f"{os.getpid()}.held").exists():
            time.sleep(0.002)
        if config["scale"] == 0 or (FOLDER / "dies").exists():
            os._exit(3)
        if config["scale"] < 0:
            raise ValueError("a scale is positive")
        self.scale = config["scale"]
        (FOLDER / f"{os.getpid()}.took").touch()

    @task
    def scaled(self, number: int) -> int:
        return self.scale * number

    @task
    def busy(self) -> int:
        (FOLDER / "working").touch()
        while not (FOLDER / "enough").exists():
            time.sleep(0.002)
        return os.getpid()
"""


@pytest.fixture
async def repository() -> AsyncIterator[ModelRepository]:
    made = ModelRepository(RepositorySettings(cpus=2, unload_grace_seconds=5))
    yield made
    await made.close()


def scaled(folder: Path, scale: int, processes: int = 0) -> DesiredModel:
    """The class above with a config, in worker processes or in none."""
    (folder / "scaled.py").write_text(SOURCE)
    execution = ExecutionSettings(executor="process", processes=processes)
    return DesiredModel(
        name="m",
        path="",
        format="python",
        code=Code(module=str(folder / "scaled.py"), class_name="Scaled", folder=str(folder)),
        execution=execution if processes else ExecutionSettings(executor="thread"),
        config={"scale": scale},
    )


async def serve(repository: ModelRepository, model: DesiredModel) -> Served:
    await repository.apply([model])
    assert "" == repository.status("m").reason
    return repository.serving()["m", None]


async def ten(served: Served) -> int:
    """Ten, scaled."""
    model = cast("TaskModel", served.model)
    run = model.begin(model.tasks["scaled"], {"number": 10})
    await served.executor.run(run, (), (), 60)
    return cast("int", run.value)


async def ten_by_each(executor: ProcessExecutor) -> list[Any]:
    """The same, by every worker."""
    runs: list[RemoteTask] = []

    def question() -> RemoteTask:
        runs.append(RemoteTask("scaled", {"number": 10}))
        return runs[-1]

    assert [] == await ask_each(executor.links(), question, 60, patience=60)
    return [run.value for run in runs]


async def test_a_config_that_ends_a_worker_is_refused_and_its_successor_has_the_former(
    repository: ModelRepository, tmp_path: Path
) -> None:
    served = await serve(repository, scaled(tmp_path, 2, processes=1))

    with pytest.raises(ModelRefused, match="ended over it"):
        await repository.reconfigure("m", "1", {"scale": 0})

    assert 20 == await ten(served)
    assert {"scale": 2} == repository.serving()["m", None].desired.config


async def test_a_worker_that_takes_over_while_others_are_given_a_config_is_given_it_too(
    repository: ModelRepository, tmp_path: Path
) -> None:
    served = await serve(repository, scaled(tmp_path, 2, processes=2))
    executor = served.executor
    assert isinstance(executor, ProcessExecutor)
    held, gone = (link.process.pid for link in executor.links())
    taken = tmp_path / f"{gone}.took"
    taken.unlink()
    (tmp_path / f"{held}.held").touch()
    giving = asyncio.create_task(repository.reconfigure("m", "1", {"scale": 3}))
    await until(taken.exists)

    os.kill(gone, signal.SIGKILL)
    await until(lambda: gone not in {link.process.pid for link in executor.links()} and len(executor.links()) == 2)
    assert not giving.done()
    (tmp_path / f"{held}.held").unlink()
    await giving

    assert [30, 30] == await ten_by_each(executor)


async def test_a_worker_that_goes_on_with_what_it_was_asked_before_blocks_a_config_and_an_unload_for_the_grace_only(
    tmp_path: Path,
) -> None:
    repository = ModelRepository(RepositorySettings(cpus=2, unload_grace_seconds=0.5))
    served = await serve(repository, scaled(tmp_path, 2, processes=2))
    executor = served.executor
    assert isinstance(executor, ProcessExecutor)
    pids = [link.process.pid for link in executor.links()]
    model = cast("TaskModel", served.model)
    run = model.begin(model.tasks["busy"], {})
    working = asyncio.create_task(served.executor.run(run, (), (), None))
    await until((tmp_path / "working").exists)

    with pytest.raises(ModelRefused, match=r"computed other requests for 0\.5 s \(drain\.grace_seconds\)"):
        await repository.reconfigure("m", "1", {"scale": 3})

    (tmp_path / "enough").touch()
    await working
    assert [20, 20] == await ten_by_each(executor)
    await repository.reconfigure("m", "1", {"scale": 4})
    assert [40, 40] == await ten_by_each(executor)

    (tmp_path / "enough").unlink()
    (tmp_path / "working").unlink()
    working = asyncio.create_task(served.executor.run(model.begin(model.tasks["busy"], {}), (), (), None))
    await until((tmp_path / "working").exists)
    refused = asyncio.create_task(repository.reconfigure("m", "1", {"scale": 5}))
    await asyncio.sleep(0)
    await repository.unload("m")
    with pytest.raises(ModelRefused):
        await refused
    working.cancel()
    await repository.close()
    # It computes on for nobody until its grace has passed, which nobody sees to after the test.
    (tmp_path / "enough").touch()
    await until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


async def test_what_is_wanted_while_a_config_is_refused_still_comes(
    repository: ModelRepository, tmp_path: Path
) -> None:
    served = await serve(repository, scaled(tmp_path, 2))
    begun, held = tmp_path / f"{os.getpid()}.begun", tmp_path / f"{os.getpid()}.held"
    begun.unlink()
    held.touch()
    refused = asyncio.create_task(repository.reconfigure("m", "1", {"scale": -1}))
    await until(begun.exists)

    wanted = asyncio.create_task(repository.apply([scaled(tmp_path, 5)]))
    await asyncio.sleep(0)
    held.unlink()
    with pytest.raises(ModelRefused, match="a scale is positive"):
        await refused
    await wanted

    assert 50 == await ten(served)


async def test_what_no_request_asks_for_does_not_say_that_a_worker_serves_or_how_long_requests_take(
    repository: ModelRepository, tmp_path: Path
) -> None:
    served = await serve(repository, scaled(tmp_path, 2, processes=1))
    executor = served.executor
    assert isinstance(executor, ProcessExecutor)
    await repository.reconfigure("m", "1", {"scale": 3})
    [link] = executor.links()
    assert (0, None) == (link.answered, link.typical)

    assert 30 == await ten(served)

    assert 1 == link.answered
    assert link.typical is not None


async def test_requests_are_told_of_workers_that_end_over_their_config_as_soon_as_they_are_started(
    repository: ModelRepository, tmp_path: Path
) -> None:
    served = await serve(repository, scaled(tmp_path, 2, processes=1))
    executor = served.executor
    assert isinstance(executor, ProcessExecutor)
    (tmp_path / "dies").touch()
    [link] = executor.links()
    os.kill(link.process.pid, signal.SIGKILL)
    await until(lambda: link not in executor.links())

    with pytest.raises(PillionError, match="end as soon as they are started") as told:
        await ten(served)

    assert ErrorCode.NOT_READY is told.value.code
