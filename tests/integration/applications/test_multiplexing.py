"""``@pillion.multiplexed``: which models stay, which go and when, and how a request says which it is for."""

from __future__ import annotations

import asyncio
import threading
from typing import Annotated

import pytest
from fastapi import Depends, FastAPI
from starlette.concurrency import run_in_threadpool

import pillion
from pillion.errors import PillionError
from tests.waiting import until


class Loaded:
    def __init__(self, name: str, told: list[str]) -> None:
        self.name = name
        self.told = told

    async def aclose(self) -> None:
        self.told.append(f"-{self.name}")


class Shelf:
    def __init__(self) -> None:
        self.told: list[str] = []
        self.held: dict[str, asyncio.Event] = {}

    @pillion.multiplexed(max_models=2)
    async def model(self, name: str) -> Loaded:
        self.told.append(f"?{name}")
        if name in self.held:
            await self.held[name].wait()
        if name == "broken":
            raise RuntimeError("no such file")
        self.told.append(f"+{name}")
        return Loaded(name, self.told)

    async def use(self, name: str) -> str:
        async with self.model(name) as model:
            return str(model.name)


async def test_the_model_used_longest_ago_goes_after_the_next_has_been_loaded() -> None:
    shelf = Shelf()
    for name in ("a", "b", "a", "c"):
        assert name == await shelf.use(name)
    await until(lambda: "-b" in shelf.told)
    assert ["?a", "+a", "?b", "+b", "?c", "+c", "-b"] == shelf.told


async def test_one_that_cannot_be_loaded_costs_nobody_theirs_and_is_tried_again() -> None:
    shelf = Shelf()
    for name in ("a", "b"):
        await shelf.use(name)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no such file"):
            await shelf.use("broken")
    await shelf.use("a")
    assert ["?a", "+a", "?b", "+b", "?broken", "?broken"] == shelf.told


async def test_a_model_that_is_in_use_stays_until_it_is_not() -> None:
    shelf = Shelf()
    async with shelf.model("a") as first, shelf.model("b"):
        await shelf.use("c")  # more than there may be, as both others are in use
        assert "a" == first.name
        await asyncio.sleep(0)
        assert "-a" not in shelf.told
        assert "-b" not in shelf.told
    await until(lambda: any(one.startswith("-") for one in shelf.told))
    assert 1 == sum(one.startswith("-") for one in shelf.told)


async def test_different_models_are_loaded_at_the_same_time_and_one_model_once() -> None:
    shelf = Shelf()
    shelf.held = {"a": asyncio.Event(), "b": asyncio.Event()}
    using = [asyncio.create_task(shelf.use(name)) for name in ("a", "b", "a", "b")]
    await until(lambda: len(shelf.told) >= 2)
    assert ["?a", "?b"] == shelf.told
    using[0].cancel()  # who leaves does not end the load that another waits for
    for event in shelf.held.values():
        event.set()
    assert ["b", "a", "b"] == await asyncio.gather(*using[1:])
    assert ["+a", "+b"] == shelf.told[2:]


async def test_a_plain_method_loads_in_a_thread() -> None:
    class Plain:
        @pillion.multiplexed(max_models=1)
        def model(self, name: str) -> tuple[str, int]:
            return name, threading.get_ident()

    name, thread = await Plain().model("a")
    assert "a" == name
    assert threading.get_ident() != thread


class Front(Shelf):
    async def __call__(self, request: pillion.Request) -> object:
        model = await self.model()
        if request.query_params:
            await self.model("c")
            await self.model("d")
        return {"model": model.name, "kept": [one for one in self.told if one.startswith("-")]}


async def test_a_request_names_its_model_by_header_or_path_and_holds_it_until_its_end() -> None:
    async with pillion.test(Front, route_prefix="/shop") as tester:
        assert "a" == (await tester.get("/shop/x", headers={"x-model-id": "a"})).json()["model"]
        assert "b" == (await tester.get("/shop", headers={"serve_multiplexed_model_id": "b"})).json()["model"]
        assert "org" == (await tester.post("/shop/models/org/predict")).json()["model"]
        answer = (await tester.get("/shop/models/held?more=1")).json()
        assert "-held" not in answer["kept"]
        await until(lambda: "-held" in tester.instance.told)
        told = tester.instance.told
    assert {"+c", "+d", "-c", "-d"} < set(told)  # the end of the application is theirs as well


@pytest.mark.parametrize("name", ["", "../secrets", "a/../../b", "/etc", "a\\b", "x" * 300, "."])
async def test_an_id_that_could_lead_out_of_a_folder_is_refused(name: str) -> None:
    async with pillion.test(Front) as tester:
        answer = await tester.get("/", headers={"x-model-id": name})
        assert (400, "invalid_argument") == (answer.status_code, answer.json()["code"])
        with pytest.raises(PillionError):
            await tester.call("use", name)
        assert [] == tester.instance.told


async def test_the_id_is_a_dependency_and_a_path_parameter_of_fastapi() -> None:
    app = FastAPI()

    @app.get("/of/{model_id}/x")
    async def by_path(name: Annotated[str, Depends(pillion.model_id)]) -> str:
        return name

    @app.get("/x")
    def by_header(name: Annotated[str, Depends(pillion.model_id)]) -> str:
        return name

    async with pillion.test(app) as tester:
        assert "iris" == (await tester.get("/of/iris/x")).json()
        assert "mood" == (await tester.get("/x", headers={"x-model-id": "mood"})).json()
        missing = await tester.get("/x")
        assert 400 == missing.status_code
        assert "X-Model-Id" in missing.json()["error"]
    with pytest.raises(RuntimeError, match="works for a request"):
        pillion.model_id()


class Slow(Shelf):
    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.late: list[asyncio.Task[None]] = []
        self.over = asyncio.Event()

    async def __call__(self, request: pillion.Request) -> str:
        if "thread" in request.query_params:
            await self.model("held")
            await run_in_threadpool(self.go.wait, 20)
        if "asyncio" in request.query_params:
            await self.model("held")
            await asyncio.to_thread(self.go.wait, 20)
        if "block" in request.query_params:
            async with self.model("held"):
                await asyncio.get_running_loop().run_in_executor(None, self.go.wait, 20)
        if "task" in request.query_params:
            self.late.append(asyncio.create_task(self.afterwards()))
        return "done"

    async def afterwards(self) -> None:
        await self.over.wait()
        await self.model("late")


@pytest.mark.parametrize("how", ["thread", "asyncio", "block"])
async def test_a_model_stays_while_a_thread_works_with_it_that_its_request_has_left(how: str) -> None:
    async with pillion.test(Slow) as tester:
        slow = tester.instance
        late = await tester.get(f"/?{how}", headers={"x-request-timeout-seconds": "1"})
        assert 504 == late.status_code
        for name in ("a", "b", "c"):
            await tester.call("use", name)
        assert "-held" not in slow.told
        slow.go.set()
        async with asyncio.timeout(60):
            while "-held" not in slow.told:
                for name in ("d", "e", "f"):
                    await tester.call("use", name)


async def test_a_model_that_a_task_takes_behind_the_answer_is_not_kept_for_ever() -> None:
    async with pillion.test(Slow) as tester:
        slow = tester.instance
        assert 200 == (await tester.get("/?task")).status_code
        slow.over.set()
        await slow.late[0]
        for name in ("a", "b", "c"):
            await tester.call("use", name)
        await until(lambda: "-late" in slow.told)
