"""Several applications of one server: whose a path is, limits of each, how streams end, what is told of requests."""

from __future__ import annotations

import asyncio
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.concurrency import iterate_in_threadpool
from starlette.responses import JSONResponse, StreamingResponse

from pillion.applications import exchange
from pillion.runtimefile import Code, DesiredApplication
from pillion.server import Server
from pillion.server.sources import load_settings
from tests.asking import asking
from tests.waiting import until_now

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    import pillion

GO, BEGUN, ENDED = threading.Event(), threading.Event(), threading.Event()
ENDED_IN: list[str] = []
TAKEN: list[int] = []
TASKS: list[asyncio.Task[None]] = []


class OutOfStockError(Exception):
    """Has an answer of its own."""


def items() -> Iterator[str]:
    """Without an end; the second takes until it is let go."""
    try:
        yield "first\n"
        BEGUN.set()
        GO.wait(60)
        while True:
            yield "again\n"
    finally:
        ENDED_IN.append(threading.current_thread().name)
        ENDED.set()


shop = FastAPI()


@shop.exception_handler(OutOfStockError)
async def out_of_stock(_: object, __: object) -> JSONResponse:
    return JSONResponse({"mine": True}, 418)


@shop.get("/items/{number}")
async def item(number: int) -> int:
    if number == 0:
        raise OutOfStockError
    return number


@shop.get("/paced")
async def paced() -> StreamingResponse:
    async def three() -> AsyncIterator[str]:
        for _ in range(3):
            yield "0123456789"
            await asyncio.sleep(0.1)

    return StreamingResponse(three(), media_type="text/plain")


@shop.get("/stream")
def stream() -> StreamingResponse:
    return StreamingResponse(items(), media_type="text/plain")


@shop.get("/detached")
async def detached() -> str:
    started = asyncio.Event()

    async def take() -> None:
        async for item in iterate_in_threadpool(number for number in (1, 2, 3)):
            TAKEN.append(item)
            started.set()
            while not GO.is_set():  # noqa: ASYNC110 - set by another thread
                await asyncio.sleep(0.005)

    TASKS.append(asyncio.create_task(take()))
    await started.wait()
    return "goes on"


async def admin(request: pillion.Request) -> str:
    return f"admin {request.url.path}"


async def narrow() -> str:
    BEGUN.set()
    while not GO.is_set():  # noqa: ASYNC110 - set by another thread
        await asyncio.sleep(0.005)
    return "done"


def lines() -> Iterator[str]:
    return items()


HERE = Code(module="here", folder="")
DESIRED = [
    DesiredApplication(name="shop", code=HERE, route_prefix="/shop"),
    DesiredApplication(name="admin", code=HERE, route_prefix="/shop/admin"),
    DesiredApplication(name="narrow", code=HERE, route_prefix="/narrow", max_ongoing_requests=1, max_queued_requests=0),
    DesiredApplication(name="lines", code=HERE, route_prefix="/lines"),
]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The server's, with a line in the log for each request."""
    own = {"http.port": 0, "grpc.port": 0, "admin.port": 0, "log.access": 1.0, "metrics.on_data_port": True}
    settings = load_settings(flags={**own, "control.socket": "", "drain.window_seconds": 0}).settings
    objects: dict[str, object] = {"shop": shop, "admin": admin, "narrow": narrow, "lines": lines}
    with Server(settings, applications=DESIRED, objects=objects) as server:
        yield f"http://127.0.0.1:{server.ports['http']}"


@pytest.fixture(autouse=True)
def anew(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "pillion.access")
    for event in (GO, BEGUN, ENDED):
        event.clear()
    for kept in (ENDED_IN, TAKEN, TASKS):
        kept.clear()


def told(caplog: pytest.LogCaptureFixture, identity: str) -> dict[str, Any]:
    """The line about a request, once it is there."""
    found = until_now(lambda: [one for one in caplog.records if one.__dict__.get("request_id") == identity])
    return {key: found[0].__dict__[key] for key in ("application", "route", "status", "ms", "bytes")}


def in_flight(url: str, application: str) -> float:
    """Requests of it that hold a place."""
    name = f'pillion_application_requests_in_flight{{application="{application}"}}'
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def test_the_longest_prefix_has_a_path_by_whole_segments(url: str) -> None:
    assert "admin /shop/admin" == httpx.get(f"{url}/shop/admin").text
    assert "admin /shop/admin/items/7" == httpx.get(f"{url}/shop/admin/items/7").text
    assert 7 == httpx.get(f"{url}/shop/items/7").json()
    assert {"detail": "Not Found"} == httpx.get(f"{url}/shop/administrator").json()


def test_an_application_s_own_refusals_and_handlers_of_exceptions_stay(url: str) -> None:
    wrong = httpx.get(f"{url}/shop/items/seven")
    assert (422, "int_parsing") == (wrong.status_code, wrong.json()["detail"][0]["type"])
    own = httpx.get(f"{url}/shop/items/0")
    assert (418, {"mine": True}) == (own.status_code, own.json())


def test_limits_are_an_application_s_own(url: str) -> None:
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(httpx.get, f"{url}/narrow", timeout=60)
        assert BEGUN.wait(60)
        refused = httpx.get(f"{url}/narrow")
        assert 429 == refused.status_code
        assert "application narrow: 1 requests are running (maxOngoingRequests 1)" in refused.json()["error"]
        assert "(maxQueuedRequests 0)" in refused.json()["error"]
        assert 1 == httpx.get(f"{url}/shop/items/1").json()
        GO.set()
        assert "done" == running.result().text


def test_the_line_of_a_stream_has_its_whole_time_and_all_its_bytes(url: str, caplog: pytest.LogCaptureFixture) -> None:
    httpx.get(f"{url}/shop/paced", headers={"x-request-id": "paced"})
    line = told(caplog, "paced")
    assert line.pop("ms") >= 290
    assert {"application": "shop", "route": "/shop/paced", "status": 200, "bytes": 30} == line


def test_who_leaves_is_told_as_499_and_who_is_refused_at_the_door_is_told_too(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with httpx.stream("GET", f"{url}/lines", headers={"x-request-id": "left"}) as answer:
        assert "first" == next(answer.iter_lines())
    GO.set()
    assert 499 == told(caplog, "left")["status"]
    assert ENDED.wait(60)  # or its end would be seen by the next test
    headers = {"x-request-id": "nonsense", "x-request-timeout-seconds": "soon"}
    assert 400 == httpx.get(f"{url}/shop/items/1", headers=headers).status_code
    assert ("shop", 400) == (told(caplog, "nonsense")["application"], told(caplog, "nonsense")["status"])


@pytest.mark.parametrize(("path", "application"), [("/lines", "lines"), ("/shop/stream", "shop")])
@pytest.mark.parametrize("patience", [60.0, 0.1], ids=["once", "again"])
def test_a_plain_generator_is_closed_in_a_thread_and_holds_its_place_until_then(
    url: str, path: str, application: str, patience: float,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr(exchange, "_CLEAN_UP", patience)
    with asking(f"{url}{path}"):
        assert BEGUN.wait(60)
    if patience < 1:
        until_now(lambda: "it is cancelled again" in caplog.text)
    assert 1 == in_flight(url, application)
    assert not ENDED.is_set()
    GO.set()
    assert ENDED.wait(60)
    assert ENDED_IN[0].startswith(("pillion-lines-", "pillion-closing-"))
    until_now(lambda: in_flight(url, application) == 0)


def test_a_plain_generator_that_a_task_takes_on_after_the_answer_is_left_to_it(url: str) -> None:
    assert "goes on" == httpx.get(f"{url}/shop/detached").json()
    until_now(lambda: in_flight(url, "shop") == 0)
    GO.set()
    until_now(TASKS[0].done)
    assert [1, 2, 3] == TAKEN
