"""``pillion.test``: applications and the models that they call, without a port."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fastapi import FastAPI, HTTPException

import pillion
from pillion import Model, task
from pillion.server.failures import StartError
from tests.waiting import until, until_now

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

told: list[str] = []


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, str]]:
    told.append("begun")
    yield {"where": "state"}
    told.append("ended")


app = FastAPI(lifespan=lifespan)


class Mood(Model):
    @task
    def classify(self, text: str) -> str:
        return "positive" if "good" in text else "negative"


@pillion.ingress(app)
class Shelf:
    def __init__(self, size: int = 10) -> None:
        self.size = size
        self.titles: dict[int, str] = {}
        self.cancelled = threading.Event()

    @app.get("/books/{number}")
    async def book(self, number: int) -> str:
        if number not in self.titles:
            raise HTTPException(404, f"no book {number}")
        return self.titles[number]

    @app.put("/books/{number}")
    def put(self, number: int, title: str) -> int:
        self.titles[number] = title
        return self.size

    @app.get("/slow")
    async def slow(self) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def mood(self, number: int) -> str:
        answer: str = await pillion.models["mood"].task("classify", text=self.titles[number])
        return answer


shelf: Any = Shelf  # what the decorator adds, type checkers cannot see


def test_routes_and_methods_are_called_without_a_port_and_the_lifespan_runs() -> None:
    told.clear()
    with shelf.bind(size=3).test(Mood, route_prefix="/shelf") as tester:
        assert ["begun"] == told
        assert 404 == tester.get("/shelf/books/7").status_code
        answer = tester.put("/shelf/books/7", params={"title": "a good one"}, headers={"x-request-id": "mine"})
        assert (3, "mine") == (answer.json(), answer.headers["x-request-id"])
        assert "a good one" == tester.call("book", 7)
        assert "positive" == tester.call("mood", 7)
        assert {7: "a good one"} == tester.instance.titles
        assert {"/shelf": "shelf"} == tester.get("/-/routes").json()
        assert "positive" == tester.post("/classify", json={"text": "good"}).json()
        with pytest.raises(HTTPException, match="no book 8"):
            tester.call("book", 8)
    assert ["begun", "ended"] == told


async def test_the_same_on_the_loop_of_an_asynchronous_test() -> None:
    told.clear()
    factory = asyncio.get_running_loop().get_task_factory()
    async with shelf.test(Mood) as tester:
        assert 10 == (await tester.put("/books/1", params={"title": "bad"})).json()
        assert "negative" == await tester.call("mood", 1)
        late = await tester.get("/slow", headers={"x-request-timeout-seconds": "1"})  # time enough to begin
        assert (504, "deadline_exceeded") == (late.status_code, late.json()["code"])
        await until(tester.instance.cancelled.is_set)
    assert ["begun", "ended"] == told
    assert factory is asyncio.get_running_loop().get_task_factory()


def test_a_client_of_a_test_can_leave() -> None:
    with shelf.test() as tester:
        with pytest.raises(httpx.ReadTimeout):
            tester.get("/slow", timeout=1)
        until_now(tester.instance.cancelled.is_set)


def test_items_of_a_stream_arrive_as_they_are_given_and_its_end_is_seen() -> None:
    go, ended = threading.Event(), threading.Event()

    async def words(request: pillion.Request) -> AsyncIterator[str]:
        try:
            yield "one"
            while not go.is_set():  # noqa: ASYNC110 - set by another thread
                await asyncio.sleep(0.005)
            yield "two"
            if request.query_params:
                raise RuntimeError("in the middle")
        finally:
            ended.set()

    with pillion.test(words) as tester:
        with tester.stream("GET", "/") as answer:
            pieces = answer.iter_text()
            assert "one" == next(pieces)
            go.set()
            assert ["two"] == [*pieces]
        with pytest.raises(httpx.RemoteProtocolError), tester.stream("GET", "/?fail=1") as answer:
            answer.read()
        go.clear()
        ended.clear()
        with tester.stream("GET", "/") as answer:
            assert "one" == next(answer.iter_text())
        assert ended.wait(60)


def test_what_cannot_be_built_says_where() -> None:
    class Broken:
        def __init__(self) -> None:
            raise RuntimeError("no database")

        def __call__(self) -> None: ...

    with pytest.raises(StartError, match=r"application broken cannot be built: .*no database"):
        pillion.test(Broken).__enter__()


async def test_a_model_that_cannot_be_loaded_says_why() -> None:
    class Heavy(Model):
        def load(self) -> None:
            raise RuntimeError("too heavy")

        @task
        def lift(self, text: str) -> str:
            return text

    with pytest.raises(StartError, match="too heavy"):
        await pillion.test(Heavy).__aenter__()


def test_models_alone_are_tested_by_their_routes() -> None:
    with pillion.test(Mood) as tester:
        assert "negative" == tester.post("/classify", json={"text": "bad"}).json()
        with pytest.raises(RuntimeError, match="no application"):
            tester.call("classify")
