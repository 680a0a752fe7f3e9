"""Applications that call models of the same server, in process."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np  # noqa: TC002 - a model's hints are read at run time
import pytest
from fastapi import FastAPI, Request
from numpy.typing import NDArray  # noqa: TC002 - as above
from starlette.responses import PlainTextResponse

import pillion
from pillion import Model, task
from pillion.errors import PillionError
from tests.asking import asking
from tests.waiting import until_now

if TYPE_CHECKING:
    from pathlib import Path

BEGUN, CANCELLED = threading.Event(), threading.Event()


class Mood(Model):
    """Scores words."""

    def load(self) -> None:
        """Nothing to load."""

    @task
    def classify(self, text: str) -> int:
        """How good."""
        return text.count("good")

    @task
    async def slow(self, seconds: float) -> str:
        """Takes its time."""
        BEGUN.set()
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            CANCELLED.set()
            raise
        return "done"


class Shop:
    """Calls the model as its path says."""

    async def __call__(self, request: pillion.Request) -> Any:
        mood = pillion.models["mood"]
        match request.url.path.rpartition("/")[2]:
            case "good":
                return {"score": await mood.task("classify", text="good good")}
            case "wrong":
                return await mood.task("classify", text=5)
            case "unknown":
                return await pillion.models["nobody"].task("classify", text="x")
            case "shielded":
                return await mood.task("slow", seconds=0.5, shield=True)
            case _:
                return await mood.task("slow", seconds=30.0)


def plain() -> object:
    """The same from a thread."""
    return {"score": pillion.models["mood"].task("classify", text="good").result()}


def plain_slow() -> object:
    """A thread that waits for a model."""
    return pillion.models["mood"].task("slow", seconds=30.0).result()


def test_a_handler_calls_a_model_and_its_errors_are_those_of_a_call() -> None:
    with pillion.serve(Mood, Shop, blocking=False, route_prefix="/shop") as serving:
        assert {"score": 2} == httpx.get(f"{serving.url}/shop/good").json()
        wrong = httpx.get(f"{serving.url}/shop/wrong")
        assert (400, "invalid_argument") == (wrong.status_code, wrong.json()["code"])
        assert "text" in wrong.json()["error"]
        unknown = httpx.get(f"{serving.url}/shop/unknown")
        assert 404 == unknown.status_code
        assert 2 == httpx.post(f"{serving.url}/classify", json={"text": "good good"}).json()


def test_errors_of_models_are_answered_the_same_in_an_application_of_fastapi() -> None:
    shop, own = FastAPI(), FastAPI()

    @shop.get("/wrong")
    @own.get("/wrong")
    async def wrong() -> Any:
        return await pillion.models["mood"].task("classify", text=5)

    @own.exception_handler(PillionError)
    async def teapot(_request: Request, _error: Exception) -> PlainTextResponse:
        return PlainTextResponse("ours", 418)

    with pillion.serve(Mood, shop, blocking=False, route_prefix="/shop") as serving:
        answer = httpx.get(f"{serving.url}/shop/wrong")
        assert (400, "invalid_argument") == (answer.status_code, answer.json()["code"])
        assert answer.headers["x-request-id"] == answer.json()["id"]
    with pillion.serve(Mood, own, blocking=False, route_prefix="/shop") as serving:
        assert 418 == httpx.get(f"{serving.url}/shop/wrong").status_code


@pytest.mark.parametrize("how", ["leaves", "time"])
def test_a_nested_call_is_cancelled_with_its_request(how: str) -> None:
    BEGUN.clear()
    CANCELLED.clear()
    with pillion.serve(Mood, Shop, blocking=False, route_prefix="/shop") as serving:
        if how == "leaves":
            with asking(f"{serving.url}/shop/slow"):
                until_now(BEGUN.is_set)
        else:
            late = httpx.get(f"{serving.url}/shop/slow", headers={"x-request-timeout-seconds": "1"}, timeout=60)
            assert 504 == late.status_code
        until_now(CANCELLED.is_set)


def test_a_shielded_call_goes_on_without_its_client() -> None:
    BEGUN.clear()
    CANCELLED.clear()
    with (
        pillion.serve(Mood, Shop, blocking=False, route_prefix="/shop") as serving,
        asking(f"{serving.url}/shop/shielded"),
    ):
        until_now(BEGUN.is_set)
    assert not CANCELLED.is_set()


def test_a_plain_handler_asks_for_the_result_and_is_let_go_with_its_client() -> None:
    BEGUN.clear()
    CANCELLED.clear()
    with pillion.serve(Mood, plain, blocking=False, route_prefix="/plain") as serving:
        assert {"score": 1} == httpx.get(f"{serving.url}/plain").json()
    with pillion.serve(Mood, plain_slow, blocking=False, route_prefix="/plain") as serving:
        with asking(f"{serving.url}/plain"):
            until_now(BEGUN.is_set)
        until_now(CANCELLED.is_set)


class Doubler(Model):
    """Arrays in and out."""

    def load(self) -> None:
        """Nothing to load."""

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Twice of all."""
        return x * 2


async def doubled() -> object:
    """Arrays from lists."""
    return await pillion.models["doubler"].predict([[1, 2], [3, 4]])


async def named() -> object:
    """An input too many."""
    return await pillion.models["doubler"].predict(x=[[1, 2]], z=[[1, 2]])


def test_a_handler_predicts_with_arrays() -> None:
    with pillion.serve(Doubler, doubled, blocking=False, route_prefix="/twice") as serving:
        assert [[2.0, 4.0], [6.0, 8.0]] == httpx.get(f"{serving.url}/twice").json()
    with pillion.serve(Doubler, named, blocking=False, route_prefix="/twice") as serving:
        wrong = httpx.get(f"{serving.url}/twice")
        assert (400, "invalid_argument") == (wrong.status_code, wrong.json()["code"])


def test_outside_of_a_request_it_is_said_what_models_are_for() -> None:
    with pytest.raises(RuntimeError, match="works for a request"):
        pillion.models["mood"]


class Asker(Model):
    """Calls the other model."""

    @task
    async def ask(self, text: str) -> int:
        """What it says."""
        score: int = await pillion.models["mood"].task("classify", text=text)
        return score


class Chain:
    async def __call__(self) -> int:
        score: int = await pillion.models["asker"].task("ask", text="good")
        return score


async def test_calls_that_a_request_makes_itself_are_not_in_the_way_of_its_own() -> None:
    async with pillion.test(Chain, Mood, Asker, settings={"limits.max_in_flight": 1}) as tester:
        answer = await tester.get("/")
        assert (200, 1) == (answer.status_code, answer.json())


class Order:
    """Has a job done, and waits for what never comes."""

    def __init__(self) -> None:
        self.taken = ""
        self.cancelled = threading.Event()

    async def __call__(self, request: pillion.Request) -> None:
        url = f"http://{request.url.netloc}/api/v1/task/slow/job"
        async with httpx.AsyncClient(timeout=60) as client:
            self.taken = (await client.post(url, json={"inputs": 0.5})).json()["prediction_id"]
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()


def test_a_job_that_a_handler_began_goes_on_to_its_end_without_the_request(tmp_path: Path) -> None:
    BEGUN.clear()
    CANCELLED.clear()
    order = Order()
    settings: dict[str, Any] = {"jobs.folder": str(tmp_path)}
    with pillion.serve(Mood, order, blocking=False, route_prefix="/order", settings=settings) as serving:
        with asking(f"{serving.url}/order"):
            until_now(lambda: BEGUN.is_set() and order.taken != "")
        assert order.cancelled.wait(60)
        where, known = f"{serving.url}/api/v1/task/slow/job", {"prediction_id": order.taken}
        until_now(lambda: httpx.get(where, params=known).json()["state"] in ("COMPLETED", "ERRORED", "CANCELED"))
        result = httpx.get(f"{where}/results", params=known)
        assert (200, "done") == (result.status_code, result.json())
    assert not CANCELLED.is_set()
