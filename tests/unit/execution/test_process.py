"""Real worker processes under a repository, as the server starts them."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest

from pillion.errors import ErrorCode, PillionError
from pillion.execution.api import DeadlinePassedError, WorkerDiedError
from pillion.execution.process import ProcessExecutor
from pillion.model import ModelState
from pillion.repository.repository import ModelRepository
from pillion.repository.served import RepositorySettings
from pillion.runtimefile import Code, DesiredModel, ExecutionSettings
from tests.models import iris_rows
from tests.processes import alive
from tests.waiting import until
from tests.workers import Controls, tensor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pillion.backends.api import TaskModel
    from pillion.repository.served import Served
    from tests.models import IrisModels


@pytest.fixture
async def repository() -> AsyncIterator[ModelRepository]:
    made = ModelRepository(RepositorySettings(cpus=2, unload_grace_seconds=5))
    yield made
    await made.close()


@pytest.fixture
def controls(tmp_path: Path) -> Controls:
    return Controls(tmp_path)


async def serve(repository: ModelRepository, model: DesiredModel) -> Served:
    await repository.apply([model])
    assert "" == repository.status(model.name).reason
    return repository.serving()[model.name, None]


def executor_of(served: Served) -> ProcessExecutor:
    assert isinstance(served.executor, ProcessExecutor)
    return served.executor


async def call(served: Served, task: str, seconds: float | None = 20.0, **arguments: Any) -> Any:
    model = cast("TaskModel", served.model)
    run = model.begin(model.tasks[task], arguments)
    await served.executor.run(run, (), (), seconds)
    return run.value


async def predict(served: Served, values: Any) -> np.ndarray[Any, Any]:
    [answer] = await served.executor.run(served.model, [tensor(values)], served.model.default_outputs, 20)
    return answer.data


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def pids(served: Served) -> list[int]:
    return [state.pid for state in executor_of(served).workers() if state.ready]


@pytest.mark.parametrize("format_", ["skops", "onnx"])
async def test_an_artifact_answers_as_it_does_in_the_server(
    repository: ModelRepository, iris: IrisModels, format_: str
) -> None:
    path = str(getattr(iris, format_))
    models = [
        DesiredModel(name="here", path=path, execution=ExecutionSettings(executor="inline")),
        DesiredModel(name="there", path=path, execution=ExecutionSettings(executor="process", processes=1)),
    ]
    await repository.apply(models)
    here, there = (repository.serving()[name, None] for name in ("here", "there"))
    assert repository.status("here").format == repository.status("there").format
    assert here.model.metadata == there.model.metadata
    assert here.model.rules == there.model.rules
    rows = iris_rows(here.model.rules[0].spec.name, here.model.rules[0].spec.datatype)
    outputs = tuple(spec.name for spec in here.model.metadata.outputs)
    answers = [await served.executor.run(served.model, [rows], outputs, 20) for served in (here, there)]
    for expected, found in zip(*answers, strict=True):
        assert (expected.name, expected.datatype) == (found.name, found.datatype)
        assert np.array_equal(expected.data, found.data)


async def test_the_server_does_not_import_what_the_model_needs(iris: IrisModels) -> None:
    script = f"""
import asyncio, sys
from pillion.repository.repository import ModelRepository
from pillion.repository.served import RepositorySettings
from pillion.runtimefile import Code, DesiredModel, ExecutionSettings
async def main():
    repository = ModelRepository(RepositorySettings(cpus=1))
    execution = ExecutionSettings(executor="process")
    await repository.apply([DesiredModel(name="m", path={str(iris.skops)!r}, execution=execution)])
    print(repository.status("m").state, "sklearn" in sys.modules, "skops" in sys.modules)
    await repository.close()
asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        script,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert "READY False False" == output.decode().strip()


async def test_a_worker_imports_neither_web_server_nor_grpc(repository: ModelRepository, controls: Controls) -> None:
    served = await serve(repository, controls.model())
    modules = set((await call(served, "facts"))["modules"].split())
    assert set() == modules & {"uvicorn", "fastapi", "starlette", "grpc", "pillion.server", "pillion.transport"}


async def test_tasks_and_tensors_of_a_class_are_answered_by_its_worker(
    repository: ModelRepository, controls: Controls
) -> None:
    served = await serve(repository, controls.model())
    facts = await call(served, "facts")
    assert pids(served) == [int(facts["pid"])] != [os.getpid()]
    assert [1, 2] == (await predict(served, [1, 2])).tolist()


async def test_large_tensors_cross_again_and_again_in_the_same_memory(
    repository: ModelRepository, controls: Controls
) -> None:
    served = await serve(repository, controls.model())
    data = np.random.default_rng(2).random(1 << 20, dtype=np.float32)

    def mapped() -> int:
        lines = Path(f"/proc/{pids(served)[0]}/maps").read_text().splitlines()
        return sum("memfd:pillion" in line for line in lines)

    for turn in range(20):
        assert np.array_equal(data, await predict(served, data))
        if turn == 2:
            settled = mapped()
    assert 0 < mapped() <= settled


async def test_an_answer_that_is_kept_is_not_overwritten_by_later_ones(
    repository: ModelRepository, controls: Controls
) -> None:
    served = await serve(repository, controls.model())
    kept = [await predict(served, np.full(100_000, number)) for number in range(8)]
    assert list(range(8)) == [answer.mean() for answer in kept]


async def test_calls_are_shared_among_the_workers(repository: ModelRepository, controls: Controls) -> None:
    served = await serve(repository, controls.model(processes=2))
    first = asyncio.create_task(call(served, "held", name="a"))
    second = asyncio.create_task(call(served, "held", name="b"))
    await until(lambda: controls.begun("a") and controls.begun("b"))
    controls.touch("a")
    controls.touch("b")
    assert set(map(str, pids(served))) == {await first, await second}


async def test_errors_of_the_model_are_what_they_were(repository: ModelRepository, controls: Controls) -> None:
    served = await serve(repository, controls.model())
    with pytest.raises(ValueError, match="no luck") as refused:
        await call(served, "refuses", text="luck")
    assert "ValueError" == type(refused.value).__name__
    with pytest.raises(RuntimeError, match="text") as failed:
        await call(served, "fails", text="text")
    assert "KeyError" == type(failed.value).__name__
    assert "in fails" in str(failed.value.__cause__)
    with pytest.raises(RuntimeError, match="bye") as left:
        await call(served, "exits", text="bye")
    assert "SystemExit" == type(left.value).__name__
    assert 1 == executor_of(served).workers()[0].starts


async def test_log_lines_of_a_worker_are_in_the_servers_log(
    repository: ModelRepository, controls: Controls, caplog: pytest.LogCaptureFixture
) -> None:
    served = await serve(repository, controls.model())
    await call(served, "logs", text="hello")
    await until(lambda: ("controlled", logging.WARNING, "says hello") in caplog.record_tuples)


async def test_a_model_that_cannot_be_loaded_is_refused_as_in_the_server(
    repository: ModelRepository, controls: Controls, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    process = ExecutionSettings(executor="process", processes=1)
    controls.touch("unloadable")
    await repository.apply(
        [
            controls.model("code"),
            DesiredModel(name="here", path=str(tmp_path / "empty")),
            DesiredModel(name="there", path=str(tmp_path / "empty"), execution=process),
        ]
    )
    assert repository.status("here").reason == repository.status("there").reason != ""
    assert "the disk is on fire" in repository.status("code").reason
    assert "controlled.py" in repository.status("code").reason
    lock = controls.file.parent / "proto.lock"
    assert [str(controls.file), str(lock)] == list(repository.code_files()["code"])


async def test_formats_that_can_run_code_are_refused_as_in_the_server(
    repository: ModelRepository, iris: IrisModels
) -> None:
    process = ExecutionSettings(executor="process", processes=1)
    models = [
        DesiredModel(name="here", path=str(iris.joblib)),
        DesiredModel(name="there", path=str(iris.joblib), execution=process),
    ]
    await repository.apply(models)
    here, there = repository.status("here"), repository.status("there")
    assert (here.reason, here.cause) == (there.reason, there.cause)
    assert "UnsafeFormat" == there.cause


async def test_arguments_that_cannot_be_sent_fail_their_call_alone(
    repository: ModelRepository, controls: Controls
) -> None:
    served = await serve(repository, controls.model())
    with pytest.raises(RuntimeError, match="the call cannot be sent to its worker process"):
        await call(served, "logs", text=threading.Lock())
    broken = tensor(np.zeros(100_000))
    broken.parameters = {"a": 1 << 80}
    with pytest.raises(RuntimeError, match="the call cannot be sent to its worker process"):
        await served.executor.run(served.model, [broken], served.model.default_outputs, 20)
    assert "fine" == await call(served, "logs", text="fine")


async def test_a_worker_that_dies_while_it_loads_is_reported(repository: ModelRepository, controls: Controls) -> None:
    controls.touch("dies-loading")
    await repository.apply([controls.model()])
    status = repository.status("m")
    assert ModelState.UNAVAILABLE is status.state
    assert "ended with status 3 while it loaded the model" in status.reason


async def test_a_call_that_kills_its_worker_fails_at_once_and_the_worker_is_replaced(
    repository: ModelRepository, controls: Controls
) -> None:
    served = await serve(repository, controls.model())
    [former] = pids(served)
    await call(served, "logs", text="so that it has served")
    with pytest.raises(PillionError, match="the worker process that computed this request ended") as died:
        await call(served, "dies", name="d")
    assert ErrorCode.MODEL_FAILED is died.value.code
    await until(lambda: bool(pids(served)))
    assert former != int((await call(served, "facts"))["pid"])
    assert 2 == executor_of(served).workers()[0].starts


async def test_calls_that_a_dead_worker_had_not_begun_are_given_to_its_successor(
    repository: ModelRepository, controls: Controls
) -> None:
    served = await serve(repository, controls.model())
    for _ in range(5):  # quick calls, so that the worker is given several at a time
        await call(served, "logs", text="quick")
    calls = [asyncio.create_task(call(served, "held", name="first"))]
    await until(lambda: controls.begun("first"))
    calls += [asyncio.create_task(call(served, "logs", text=str(number))) for number in range(20)]
    await asyncio.sleep(0)
    os.kill(pids(served)[0], signal.SIGKILL)
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(answers[0], PillionError)
    assert [str(number) for number in range(20)] == answers[1:]


async def test_an_idempotent_call_is_computed_again_when_its_worker_dies(
    repository: ModelRepository, controls: Controls
) -> None:
    served = await serve(repository, controls.model(idempotent=True))
    assert "again" == await call(served, "dies_once", name="d")
    with pytest.raises(PillionError, match="2 worker processes ended over this request"):
        await call(served, "dies", name="e")


async def test_a_worker_that_cannot_be_started_again_is_tried_less_and_less_and_calls_are_told(
    repository: ModelRepository, controls: Controls
) -> None:
    served = await serve(repository, controls.model())
    controls.touch("unloadable")
    os.kill(pids(served)[0], signal.SIGKILL)
    await until(lambda: not pids(served))
    with pytest.raises(PillionError, match="the disk is on fire") as refused:
        await call(served, "facts")
    assert ErrorCode.NOT_READY is refused.value.code
    assert refused.value.retry_after
    (controls.folder / "unloadable").unlink()
    await until(lambda: bool(pids(served)))
    assert "back" == await call(served, "logs", text="back")


async def test_a_call_in_python_code_is_stopped_when_nobody_waits_for_it(
    repository: ModelRepository, controls: Controls
) -> None:
    served = await serve(repository, controls.model())
    [pid] = pids(served)
    waiting = asyncio.create_task(call(served, "catches", name="c"))
    await until(lambda: controls.begun("c"))
    waiting.cancel()
    await until(lambda: waiting.done() and executor_of(served).abandoned == 0 and controls.stopped("c"))
    assert "Abandoned" == (controls.folder / "c.stopped").read_text()
    assert str(pid) == (await call(served, "facts"))["pid"]


async def test_a_call_is_stopped_between_two_lines_of_its_log_and_not_within_one(
    repository: ModelRepository, controls: Controls
) -> None:
    served = await serve(repository, controls.model())
    for turn in range(5):
        waiting = asyncio.create_task(call(served, "talks", name=str(turn)))
        await until(lambda turn=turn: controls.begun(str(turn)))  # type: ignore[misc]  # a loop's variable, bound now
        waiting.cancel()
        assert "on" == await call(served, "logs", text="on")
    assert 1 == executor_of(served).workers()[0].starts


async def test_a_worker_whose_code_started_a_program_is_still_seen_to_end(
    repository: ModelRepository, tmp_path: Path
) -> None:
    (tmp_path / "service.py").write_text(
        "import os, subprocess\nimport pillion\n\n"
        "class Starts(pillion.Model):\n"
        "    @pillion.task\n"
        "    def start(self) -> int:\n"
        "        return subprocess.Popen(['sleep', '20'], close_fds=False).pid\n"
        "    @pillion.task\n"
        "    def pid(self) -> int:\n"
        "        return os.getpid()\n"
        "    @pillion.task\n"
        "    def odd(self) -> str:\n"
        "        raise FileNotFoundError('\\udcff')\n"
    )
    code = Code(module=str(tmp_path / "service.py"), folder=str(tmp_path))
    execution = ExecutionSettings(executor="process", processes=1, idempotent=False)
    model = DesiredModel(name="m", path="", format="python", code=code, execution=execution)
    served = await serve(repository, model)
    helper = await call(served, "start")
    try:
        with pytest.raises(Exception, match="udcff"):
            await call(served, "odd")
        worker = await call(served, "pid")
        os.kill(worker, signal.SIGKILL)
        await until(lambda: worker not in pids(served))
        assert worker != await call(served, "pid")
    finally:
        os.kill(helper, signal.SIGKILL)


async def test_a_coroutine_is_cancelled_when_nobody_waits_for_it(
    repository: ModelRepository, controls: Controls
) -> None:
    served = await serve(repository, controls.model())
    [pid] = pids(served)
    waiting = asyncio.create_task(call(served, "asynchronous", name="c"))
    await until(lambda: controls.begun("c"))
    waiting.cancel()
    await until(lambda: executor_of(served).abandoned == 0 and controls.stopped("c"))
    assert str(pid) == (await call(served, "facts"))["pid"]


async def test_a_call_that_waits_for_its_worker_is_never_begun_after_it_was_given_up(
    repository: ModelRepository, controls: Controls
) -> None:
    served = await serve(repository, controls.model())
    for turn in range(100):
        for _ in range(3):  # quick calls, so that the worker is given several at a time
            await call(served, "logs", text="quick")
        first = asyncio.create_task(call(served, "held", name=f"first{turn}"))
        await until(lambda turn=turn: controls.begun(f"first{turn}"))  # type: ignore[misc]  # a loop's variable, bound now
        second = asyncio.create_task(call(served, "held", name=f"second{turn}"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # it is on its way to the worker
        second.cancel()
        await asyncio.wait({second})
        controls.touch(f"first{turn}")
        await first
        assert "next" == await call(served, "logs", text="next")
        assert not controls.begun(f"second{turn}")
    assert 0 == executor_of(served).abandoned
    assert 1 == executor_of(served).workers()[0].starts


async def test_a_worker_that_computes_on_for_nobody_is_killed_after_the_grace(
    repository: ModelRepository, controls: Controls
) -> None:
    served = await serve(repository, controls.model(abandoned_grace_seconds=0.5))
    [pid] = pids(served)
    with pytest.raises(DeadlinePassedError):
        await call(served, "stuck", seconds=1.0, name="s")
    assert 1 == executor_of(served).abandoned
    await until(lambda: not alive(pid))
    assert pid != int((await call(served, "facts"))["pid"])
    assert 0 == executor_of(served).abandoned


async def test_workers_are_bound_to_cpus_and_their_libraries_to_a_share(
    repository: ModelRepository, controls: Controls
) -> None:
    served = await serve(repository, controls.model(affinity="spread", processes=2))
    bound = []
    for name in ("a", "b"):
        held = asyncio.create_task(call(served, "held", name=name))
        await until(lambda name=name: controls.begun(name))  # type: ignore[misc]  # a loop's variable, bound now
        facts = await call(served, "facts")
        bound.append((facts["pid"], tuple(json.loads(facts["cpus"])), facts["threads"]))
        controls.touch(name)
        await held
    mine = sorted(os.sched_getaffinity(0))
    assert {len(cpus) for _, cpus, _ in bound} == {max(1, len(mine) // 2)}
    assert {threads for _, _, threads in bound} == {"1"}


async def test_an_unloaded_model_leaves_no_process_and_no_descriptor(
    repository: ModelRepository, controls: Controls
) -> None:
    gc.collect()
    before = descriptors()
    served = await serve(repository, controls.model(processes=2))
    await predict(served, np.zeros(100_000))
    workers = pids(served)
    await repository.apply([])
    await until(lambda: not any(alive(pid) for pid in workers))
    del served
    gc.collect()
    await until(lambda: descriptors() <= before)


async def test_a_worker_killed_over_and_over_is_back_each_time(repository: ModelRepository, controls: Controls) -> None:
    served = await serve(repository, controls.model(idempotent=True))
    for _ in range(5):
        [pid] = pids(served)
        os.kill(pid, signal.SIGKILL)
        assert "here" == await call(served, "logs", text="here")
    assert 0 == executor_of(served).abandoned


@pytest.mark.parametrize("lifetime", [{"max_calls_per_worker": 5}, {"max_rss_per_worker": 1 << 20}])
async def test_a_worker_that_has_served_long_enough_is_relieved_and_no_call_notices(
    repository: ModelRepository, controls: Controls, lifetime: dict[str, Any]
) -> None:
    served = await serve(repository, controls.model(**lifetime))
    executor = executor_of(served)
    [former] = pids(served)
    held = asyncio.create_task(call(served, "held", name="h"))
    await until(lambda: controls.begun("h"))
    controls.touch("h")
    assert str(former) == await held
    answered = 0
    while executor.workers()[0].recycled < 2 or answered < 50:
        assert str(answered) == await call(served, "logs", text=str(answered))
        answered += 1
        assert answered < 100_000
    [state] = executor.workers()
    assert state.starts == 1 + state.recycled
    await until(lambda: not alive(former))


async def test_a_worker_serves_on_where_its_successor_cannot_be_started(
    repository: ModelRepository, controls: Controls, caplog: pytest.LogCaptureFixture
) -> None:
    served = await serve(repository, controls.model(max_calls_per_worker=2))
    [former] = pids(served)
    controls.touch("unloadable")
    for turn in range(5):
        assert str(turn) == await call(served, "logs", text=str(turn))
    await until(lambda: f"worker process {former} serves on" in caplog.text)
    assert str(former) == (await call(served, "facts"))["pid"]


async def test_workers_are_bound_to_the_cpus_that_are_named(repository: ModelRepository, controls: Controls) -> None:
    mine = sorted(os.sched_getaffinity(0))
    served = await serve(repository, controls.model(cpus=str(mine[-1])))
    facts = await call(served, "facts")
    assert ([mine[-1]], "1") == (json.loads(facts["cpus"]), facts["threads"])
    await repository.apply([controls.model(name="elsewhere", cpus=f"{mine[0]},{mine[-1] + 1}")])
    assert f"execution.cpus: CPU {mine[-1] + 1} is not for this process" in repository.status("elsewhere").reason


async def test_a_call_for_several_requests_ends_one_worker_and_says_that_they_may_be_tried_apart(
    repository: ModelRepository, controls: Controls
) -> None:
    served = await serve(repository, controls.model(idempotent=True))
    executor = executor_of(served)
    run = cast("TaskModel", served.model)
    with pytest.raises(WorkerDiedError) as died:
        await executor.run_once(run.begin(run.tasks["dies"], {"name": "d"}), (), (), 20)
    assert (1, True) == (died.value.deaths, died.value.again)
    await until(lambda: bool(pids(served)))
    assert 2 == executor.workers()[0].starts
