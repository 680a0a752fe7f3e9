from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pillion.dataplane.call import ModelState
from pillion.errors import ErrorCode, PillionError
from pillion.execution.adaptive import AdaptiveExecutor
from pillion.execution.inline import InlineExecutor
from pillion.execution.placement import Placement
from pillion.execution.thread import ThreadExecutor
from pillion.repository.repository import ModelRepository
from pillion.repository.served import RepositorySettings, Served
from pillion.runtimefile import DesiredModel, ExecutionSettings
from tests import gated
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.models import IrisModels


@pytest.fixture
async def repository() -> AsyncIterator[ModelRepository]:
    made = ModelRepository(RepositorySettings(cpus=2, unload_grace_seconds=20))
    yield made
    await made.close()


def desired(path: Path, name: str = "iris", version: str = "1", **fields: Any) -> DesiredModel:
    return DesiredModel(name=name, version=version, path=str(path), **fields)


def served(repository: ModelRepository, name: str = "iris", version: str | None = None) -> Served:
    return repository.serving()[name, version]


async def test_nothing_desired_is_not_ready(repository: ModelRepository) -> None:
    await repository.apply([])
    assert not repository.ready()


async def test_a_declared_model_is_loaded_and_described(repository: ModelRepository, iris: IrisModels) -> None:
    await repository.apply([desired(iris.skops, uri="s3://bucket/iris", digest="sha256:00")])
    status = repository.status("iris")
    assert (ModelState.READY, "", "sklearn") == (status.state, status.reason, status.format)
    assert ("s3://bucket/iris", "sha256:00") == (status.uri, status.digest)
    assert status.metadata is not None
    assert repository.ready()


async def test_a_failed_load_stays_visible_with_its_remedy_and_harms_no_neighbour(
    repository: ModelRepository, iris: IrisModels, tmp_path: Path
) -> None:
    await repository.apply([desired(iris.onnx), desired(tmp_path, "broken")])
    assert repository.status("iris").state is ModelState.READY
    broken = repository.status("broken")
    assert broken.state is ModelState.UNAVAILABLE
    assert f"{tmp_path} is empty (put one of these into it" in broken.reason
    assert not repository.ready()


class _Explodes:
    def __setstate__(self, state: object) -> None:
        raise OSError("first line\n\nlast line")

    def __getstate__(self) -> dict[str, int]:
        return {"a": 1}


async def test_the_last_line_of_an_unexpected_exception_is_the_reason_and_is_logged_once(
    repository: ModelRepository, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import joblib

    joblib.dump(_Explodes(), tmp_path / "model.joblib")
    with caplog.at_level(logging.ERROR):
        await repository.apply([desired(tmp_path, allow_pickle=True)])
    assert repository.status("iris").reason == "OSError: last line"
    assert ["model iris version 1 cannot be served: OSError: last line"] == [one.getMessage() for one in caplog.records]
    assert "Traceback" in caplog.text


async def test_the_newest_ready_version_answers_requests_that_name_none(
    repository: ModelRepository, iris: IrisModels, tmp_path: Path
) -> None:
    await repository.apply(
        [desired(iris.onnx, version="9"), desired(iris.skops, version="10"), desired(tmp_path, version="11")]
    )
    assert served(repository) is served(repository, version="10")
    assert repository.status("iris").version == "10"
    assert ("9", "10") == repository.versions("iris")
    assert ["9", "10", "11"] == [status.version for status in repository.statuses()]


async def test_unknown_models_and_versions_are_named(repository: ModelRepository, iris: IrisModels) -> None:
    await repository.apply([desired(iris.onnx, version="2"), desired(iris.onnx, version="3")])
    with pytest.raises(PillionError, match=r"^Request for unknown model: 'rose' is not declared") as unknown:
        repository.status("rose")
    assert unknown.value.code is ErrorCode.UNKNOWN_MODEL
    with pytest.raises(PillionError, match=r"^Request for unknown model: 'iris' has no version '4' \(it has: 2, 3\)"):
        repository.status("iris", "4")
    with pytest.raises(PillionError, match="unknown model"):
        repository.versions("rose")
    with pytest.raises(PillionError, match=r"'irsi' is not declared here; did you mean 'iris'\?$"):
        repository.status("irsi")


async def test_a_changed_model_replaces_the_old_one_only_when_it_is_warm(
    repository: ModelRepository, iris: IrisModels
) -> None:
    await repository.apply([desired(iris.onnx)])
    old = served(repository)
    old.references += 1
    await repository.apply([desired(iris.skops)])
    new = served(repository)
    assert new is not old
    assert old.model.metadata.platform == "onnx_onnxruntime"
    old.release()


async def test_a_replacement_that_fails_leaves_the_old_one_serving_and_says_so(
    repository: ModelRepository, iris: IrisModels, tmp_path: Path
) -> None:
    await repository.apply([desired(iris.onnx)])
    old = served(repository)
    await repository.apply([desired(tmp_path)])
    assert served(repository) is old
    status = repository.status("iris")
    assert status.state is ModelState.READY
    assert "the former model serves on, the new one failed" in status.reason
    assert repository.ready()


async def test_an_unchanged_model_is_not_loaded_again(repository: ModelRepository, iris: IrisModels) -> None:
    await repository.apply([desired(iris.onnx)])
    first = served(repository)
    await repository.apply([desired(iris.onnx), desired(iris.onnx, "other")])
    assert served(repository) is first


async def test_a_removed_model_is_gone_after_its_last_request(repository: ModelRepository, iris: IrisModels) -> None:
    await repository.apply([desired(iris.onnx), desired(iris.onnx, "other")])
    held = served(repository)
    held.references += 1
    await repository.apply([desired(iris.onnx, "other")])
    assert repository.status("iris").state is ModelState.UNLOADING
    assert ("iris", None) not in repository.serving()
    held.release()
    await until(lambda: [status.name for status in repository.statuses()] == ["other"])


async def test_unload_waits_for_requests_in_flight(repository: ModelRepository, iris: IrisModels) -> None:
    await repository.apply([desired(iris.onnx)])
    held = served(repository)
    held.references += 1
    unloading = asyncio.ensure_future(repository.unload("iris"))
    await until(lambda: repository.status("iris").state is ModelState.UNLOADING)
    assert not unloading.done()
    held.release()
    await unloading
    status = repository.status("iris")
    assert (ModelState.UNAVAILABLE, True) == (status.state, "unloaded by management" in status.reason)


async def test_unload_does_not_wait_for_another_model_that_is_let_go(
    repository: ModelRepository, iris: IrisModels
) -> None:
    await repository.apply([desired(iris.onnx), desired(iris.onnx, "other")])
    held = served(repository, "other")
    held.references += 1
    leaving = asyncio.ensure_future(repository.unload("other"))
    await until(lambda: repository.status("other").state is ModelState.UNLOADING)
    await asyncio.wait_for(repository.unload("iris"), 60)
    assert not leaving.done()
    held.release()
    await leaving


async def test_the_wait_of_an_unload_is_bounded_and_logged(iris: IrisModels, caplog: pytest.LogCaptureFixture) -> None:
    repository = ModelRepository(RepositorySettings(cpus=1, unload_grace_seconds=0.01))
    await repository.apply([desired(iris.onnx)])
    served(repository).references += 1
    with caplog.at_level(logging.WARNING):
        await repository.unload("iris")
    assert "1 requests did not end within" in caplog.text
    await repository.close()


async def test_an_unloaded_model_can_be_loaded_again(repository: ModelRepository, iris: IrisModels) -> None:
    await repository.apply([desired(iris.onnx)])
    await repository.unload("iris")
    assert not repository.ready()
    await repository.load("iris")
    assert repository.ready()


async def test_loading_again_reads_the_file_again(
    repository: ModelRepository, iris: IrisModels, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"broken")
    await repository.apply([desired(path)])
    with pytest.raises(PillionError, match="not a valid ONNX model") as failed:
        await repository.load("iris")
    assert failed.value.code is ErrorCode.NOT_READY
    path.write_bytes(iris.onnx.read_bytes())
    await repository.load("iris")
    assert repository.ready()


async def test_the_loop_runs_on_while_a_model_loads(repository: ModelRepository, tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(b"ctests.unit_blocker\nx\n.")
    blocked, go = threading.Event(), threading.Event()

    class Finder:
        """Python's import of the pickle's module waits here: the load is under way and does not end."""

        def find_spec(self, name: str, *_: object) -> None:
            if name == "tests.unit_blocker":
                blocked.set()
                assert go.wait(100)

    import sys

    finder: Any = Finder()
    sys.meta_path.insert(0, finder)
    try:
        loading = asyncio.ensure_future(repository.apply([desired(tmp_path, allow_pickle=True)]))
        await until(blocked.is_set)
        assert repository.status("iris").state is ModelState.LOADING
        loaders = [thread for thread in threading.enumerate() if thread.name == "model-loader"]
        assert [True] == [thread.daemon for thread in loaders], "a load must not keep a stopping process alive"
    finally:
        go.set()
        await loading
        sys.meta_path.remove(finder)
    assert "needs the Python module 'tests.unit_blocker'" in repository.status("iris").reason


async def test_a_model_that_refuses_zeros_is_served_all_the_same(
    repository: ModelRepository, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import skops.io
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    pipeline = make_pipeline(OneHotEncoder(), LogisticRegression()).fit(np.array([[1.0], [2.0]]), [1, 0])
    skops.io.dump(pipeline, tmp_path / "model.skops")
    with caplog.at_level(logging.INFO):
        await repository.apply([desired(tmp_path)])
    assert repository.ready()
    assert "not warmed up, it refuses generated input" in caplog.text


@pytest.mark.parametrize(
    ("asked", "expected"), [("auto", AdaptiveExecutor), ("inline", InlineExecutor), ("thread", ThreadExecutor)]
)
async def test_the_executor_is_the_one_asked_for(
    repository: ModelRepository, iris: IrisModels, asked: str, expected: type
) -> None:
    await repository.apply([desired(iris.onnx, execution=ExecutionSettings(executor=asked))])  # type: ignore[arg-type]  # one of its choices
    assert isinstance(served(repository).executor, expected)


async def test_auto_runs_a_quick_model_on_the_loop_and_a_slow_one_in_threads(
    repository: ModelRepository, iris: IrisModels, tmp_path: Path
) -> None:
    import skops.io
    from sklearn.datasets import load_iris
    from sklearn.ensemble import RandomForestClassifier

    skops.io.dump(RandomForestClassifier(100).fit(*load_iris(return_X_y=True)), tmp_path / "model.skops")
    await repository.apply([desired(iris.onnx, "quick"), desired(tmp_path, "slow")])
    placements = [getattr(served(repository, name).executor, "placement", None) for name in ("quick", "slow")]
    assert placements == [Placement.INLINE, Placement.THREAD]


async def test_a_model_changed_again_and_again_ends_as_the_last_word_says(
    repository: ModelRepository, iris: IrisModels
) -> None:
    await asyncio.gather(*(repository.apply([desired(iris.onnx if round_ % 2 else iris.skops)]) for round_ in range(8)))
    assert served(repository).desired.path == str(iris.onnx)
    await until(lambda: len(repository.statuses()) == 1)


async def test_a_load_whose_caller_was_cancelled_is_tried_again_by_the_next(
    repository: ModelRepository, iris: IrisModels
) -> None:
    loading = asyncio.ensure_future(repository.apply([desired(iris.onnx)]))
    await asyncio.sleep(0)
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading
    await repository.apply([desired(iris.onnx)])
    assert repository.ready()


async def test_a_model_removed_and_declared_again_at_once_is_served(
    repository: ModelRepository, iris: IrisModels
) -> None:
    await repository.apply([desired(iris.onnx)])
    held = served(repository)
    held.references += 1
    await repository.apply([])
    await repository.apply([desired(iris.onnx)])
    assert served(repository) is not held
    held.release()
    await until(lambda: held.references == 0 and len(repository.statuses()) == 1)
    assert repository.ready()


async def test_a_pickle_that_exits_while_it_loads_ends_only_its_own_load(
    repository: ModelRepository, tmp_path: Path
) -> None:
    (tmp_path / "model.pkl").write_bytes(b"csys\nexit\n(I3\ntR.")
    await repository.apply([desired(tmp_path, allow_pickle=True)])
    assert repository.status("iris").reason == "RuntimeError: SystemExit: 3"


async def test_a_model_removed_while_it_loads_does_not_come_back(
    repository: ModelRepository, iris: IrisModels, tmp_path: Path
) -> None:
    gated.gate("late").open()
    path = gated.save(tmp_path, "late")
    loading = asyncio.ensure_future(repository.apply([desired(path, allow_pickle=True)]))
    await asyncio.sleep(0)
    await repository.apply([desired(iris.onnx, "other")])
    await loading
    await until(lambda: [status.name for status in repository.statuses()] == ["other"])
