"""Models that are loaded by their first request, and make room for others."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from pillion.dataplane.call import Call, InferRequest, WireProtocol
from pillion.dataplane.plane import DataPlane
from pillion.dataplane.settings import PlaneSettings
from pillion.errors import ErrorCode, PillionError
from pillion.metrics import Collectors, RuntimeMetrics
from pillion.model import ModelState
from pillion.repository.repository import ModelRepository
from pillion.repository.residency import Resident, to_evict
from pillion.repository.served import RepositorySettings
from pillion.runtimefile import DesiredModel
from pillion.tensors import Datatype
from tests.models import iris_rows

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from pillion.repository.served import Served
    from tests.models import IrisModels


def resident(name: str, size: int, last_used: float, *, evictable: bool = True) -> Resident:
    return Resident((name, "1"), size, last_used, evictable)


def test_what_was_not_used_for_longest_goes_first_and_no_more_than_needed() -> None:
    residents = [resident("a", 40, 3.0), resident("b", 40, 1.0), resident("c", 10, 2.0)]
    assert [("b", "1")] == to_evict(residents, 30, 100)
    assert [("b", "1"), ("c", "1")] == to_evict(residents, 60, 100)
    assert [] == to_evict(residents, 10, 100)


def test_what_is_in_use_stays() -> None:
    residents = [resident("a", 60, 1.0, evictable=False), resident("b", 40, 2.0)]
    assert [("b", "1")] == to_evict(residents, 40, 100)
    assert to_evict(residents, 50, 100) is None


def test_a_model_larger_than_the_budget_is_let_in_alone() -> None:
    assert [("a", "1")] == to_evict([resident("a", 60, 1.0)], 500, 100)
    assert [] == to_evict([], 500, 100)


@pytest.fixture
async def repository() -> AsyncIterator[ModelRepository]:
    made = ModelRepository(RepositorySettings(cpus=2, unload_grace_seconds=20, memory_budget=1))
    yield made
    await made.close()


@pytest.fixture
def plane(repository: ModelRepository) -> DataPlane:
    return DataPlane(repository=repository, metrics=RuntimeMetrics(Collectors()), settings=PlaneSettings())


def desired(path: Path, name: str, version: str = "1") -> DesiredModel:
    return DesiredModel(name=name, version=version, path=str(path))


def ask(plane: DataPlane, name: str) -> asyncio.Task[object]:
    request = InferRequest(name, [iris_rows("X", Datatype.FP32)])
    return asyncio.ensure_future(plane.infer(request, Call(WireProtocol.REST, "id")))


async def test_a_lazy_model_is_loaded_by_its_first_request_and_others_wait_with_it(
    plane: DataPlane, repository: ModelRepository, iris: IrisModels
) -> None:
    loads: list[str] = []
    serve = repository.on_serving

    def counted(served: Served, seconds: float) -> None:
        loads.append(served.desired.name)
        serve(served, seconds)

    repository.on_serving = counted
    await plane.add(desired(iris.onnx, "a"), lazy=True)
    assert ([], True) == (loads, repository.status("a").asleep)
    assert plane.ready()
    await asyncio.gather(*(ask(plane, "a") for _ in range(5)))
    assert ["a"] == loads
    assert repository.status("a").state is ModelState.READY


async def test_a_budget_keeps_what_was_used_last(
    plane: DataPlane, repository: ModelRepository, iris: IrisModels
) -> None:
    evicted: list[str] = []
    repository.on_evicted = lambda name, _version: evicted.append(name)
    for name in ("a", "b"):
        await plane.add(desired(iris.onnx, name), lazy=True)
    await ask(plane, "a")
    await ask(plane, "b")
    assert ["a"] == evicted
    await ask(plane, "a")
    assert ["a", "b"] == evicted
    assert [(True, "b")] == [(s.asleep, s.name) for s in repository.statuses() if s.state is not ModelState.READY]


async def test_a_model_with_requests_in_flight_is_not_unloaded(
    plane: DataPlane, repository: ModelRepository, iris: IrisModels
) -> None:
    for name in ("a", "b"):
        await plane.add(desired(iris.onnx, name), lazy=True)
    await ask(plane, "a")
    held = repository.serving()["a", None]
    held.references += 1
    with pytest.raises(PillionError) as full:
        await ask(plane, "b")
    assert full.value.code is ErrorCode.NOT_READY
    assert "models.memory_budget" in str(full.value)
    held.release()
    await ask(plane, "b")
    assert repository.status("a").asleep


async def test_a_lazy_model_that_cannot_be_loaded_says_why(plane: DataPlane, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no model")
    await plane.add(desired(tmp_path, "bad"), lazy=True)
    with pytest.raises(PillionError, match="not ready"):
        await ask(plane, "bad")
    assert not plane.ready()


async def test_a_lazy_model_that_cannot_be_loaded_takes_no_other_out_of_rotation(
    plane: DataPlane, iris: IrisModels, tmp_path: Path
) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no model")
    await plane.add(desired(iris.onnx, "good"), lazy=True)
    await plane.add(desired(tmp_path, "bad"), lazy=True)
    with pytest.raises(PillionError, match="not ready"):
        await ask(plane, "bad")
    assert plane.ready()


async def test_a_lazy_model_that_management_unloaded_is_not_loaded_by_a_request(
    plane: DataPlane, repository: ModelRepository, iris: IrisModels
) -> None:
    await plane.add(desired(iris.onnx, "a"), lazy=True)
    await repository.unload("a")
    with pytest.raises(PillionError, match="unloaded by management"):
        await ask(plane, "a")
    await repository.load("a")
    await ask(plane, "a")


async def test_an_added_version_takes_over_and_the_declared_are_left_alone(
    repository: ModelRepository, iris: IrisModels, tmp_path: Path
) -> None:
    await repository.apply([desired(iris.onnx, "declared")])
    await repository.add(desired(iris.onnx, "added"))
    await repository.apply([desired(iris.onnx, "declared"), desired(iris.onnx, "more")])
    await repository.add(desired(iris.skops, "added", "2"))
    assert "2" == repository.serving()["added", None].desired.version
    await repository.remove("added", ["1"])
    await repository.remove("declared", ["1"])
    assert ("2",) == repository.added("added")
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(PillionError) as bad:
        await repository.add(desired(tmp_path, "added", "3"))
    assert bad.value.code is ErrorCode.INVALID_ARGUMENT
    assert {"declared", "more", "added"} == {status.name for status in repository.statuses()}
    assert repository.ready()
    with pytest.raises(PillionError) as twice:
        await repository.add(desired(iris.onnx, "declared"))
    assert twice.value.code is ErrorCode.CONFLICT


async def test_removing_waits_for_requests_in_flight(repository: ModelRepository, iris: IrisModels) -> None:
    await repository.add(desired(iris.onnx, "a"))
    held = repository.serving()["a", None]
    held.references += 1
    leaving = asyncio.ensure_future(repository.remove("a", ["1"]))
    await asyncio.sleep(0)
    assert ("a", None) not in repository.serving()
    assert not leaving.done()
    held.release()
    await leaving
    assert [] == repository.statuses()
