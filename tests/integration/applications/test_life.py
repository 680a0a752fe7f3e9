"""The life of a request of an application: who left, whose time is up, who waits, what is counted and told."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fastapi import BackgroundTasks, FastAPI
from starlette.responses import StreamingResponse

import pillion
from tests.asking import asking
from tests.waiting import until, until_now

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Slow:
    """Waits until it is let go, and keeps account."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.go = threading.Event()

    async def __call__(self, request: pillion.Request) -> str:
        name = request.url.path
        self.begun.append(name)
        try:
            while not self.go.is_set():  # noqa: ASYNC110 - set by another thread
                await asyncio.sleep(0.005)
        except asyncio.CancelledError:
            self.ended.append(f"{name} cancelled")
            raise
        self.ended.append(name)
        return name


def _metric(serving: pillion.Serving, name: str, **labels: str) -> float:
    text = httpx.get(f"{serving.url}/metrics").text
    for line in text.splitlines():
        if line.startswith(f"{name}{{") and all(f'{key}="{value}"' in line for key, value in labels.items()):
            return float(line.rpartition(" ")[2])
    return 0.0


SHOWN = {"metrics.on_data_port": True}
COUNTED = "pillion_application_requests_total"


def test_a_request_beyond_the_limits_is_refused_and_one_that_left_the_queue_never_runs() -> None:
    slow = Slow()
    limits: dict[str, Any] = {"limits.max_in_flight": 1, "limits.max_queue": 1}
    with (
        pillion.serve(slow, blocking=False, route_prefix="/slow", settings={**limits, **SHOWN}) as serving,
        ThreadPoolExecutor(4) as pool,
    ):
        first = pool.submit(httpx.get, f"{serving.url}/slow/1", timeout=30)
        until_now(lambda: slow.begun == ["/slow/1"])
        with asking(f"{serving.url}/slow/2"):  # waits, and leaves
            until_now(lambda: _metric(serving, "pillion_application_queue_depth", application="slow") == 1)
        until_now(lambda: _metric(serving, "pillion_application_queue_depth", application="slow") == 0)
        third = pool.submit(httpx.get, f"{serving.url}/slow/3", timeout=30)
        until_now(lambda: _metric(serving, "pillion_application_queue_depth", application="slow") == 1)
        refused = httpx.get(f"{serving.url}/slow/4")
        assert 429 == refused.status_code
        assert "maxOngoingRequests 1" in refused.json()["error"]
        assert int(refused.headers["retry-after"]) >= 1
        slow.go.set()
        assert ["/slow/1", "/slow/3"] == [first.result().text, third.result().text]
        assert ["/slow/1", "/slow/3"] == slow.begun

        def counted() -> dict[str, float]:
            labels = {"application": "slow", "route": "/slow"}
            return {code: _metric(serving, COUNTED, **labels, code=code) for code in ("200", "429", "499")}

        until_now(lambda: counted() == {"200": 2, "429": 1, "499": 1})  # each when its code has ended


def test_a_request_that_waits_too_long_is_answered_504_and_never_runs() -> None:
    slow = Slow()
    with (
        pillion.serve(
            slow, blocking=False, settings={"limits.max_in_flight": 1, "http.request_timeout_seconds": 60.0, **SHOWN}
        ) as serving,
        ThreadPoolExecutor(1) as pool,
    ):
        first = pool.submit(httpx.get, f"{serving.url}/1", timeout=30)
        until_now(lambda: slow.begun == ["/1"])
        late = httpx.get(f"{serving.url}/2", headers={"x-request-timeout-seconds": "0.2"})
        assert (504, "deadline_exceeded") == (late.status_code, late.json()["code"])
        until_now(lambda: _metric(serving, COUNTED, code="504") == 1)
        assert 0 == _metric(serving, "pillion_application_queue_depth")
        slow.go.set()
        assert "/1" == first.result().text
        assert ["/1"] == slow.begun


def test_a_header_cannot_lengthen_the_configured_time_and_nonsense_is_400() -> None:
    slow = Slow()
    with pillion.serve(slow, blocking=False, settings={"http.request_timeout_seconds": 0.3}) as serving:
        late = httpx.get(serving.url, headers={"x-request-timeout-seconds": "600"}, timeout=60)
        assert 504 == late.status_code
        nonsense = httpx.get(serving.url, headers={"x-request-timeout-seconds": "soon"})
        assert 400 == nonsense.status_code
        assert "X-Request-Timeout-Seconds" in nonsense.json()["error"]


def test_a_thread_that_runs_on_holds_its_place_but_not_its_client() -> None:
    go, told = threading.Event(), threading.Event()

    def handle(request: pillion.Request) -> str:
        if request.url.path == "/quick":
            return "quick"
        while not pillion.cancelled():
            time.sleep(0.005)
        told.set()
        go.wait(100)
        return "late"

    with pillion.serve(handle, blocking=False, settings=SHOWN) as serving:
        late = httpx.get(serving.url, headers={"x-request-timeout-seconds": "1"})
        assert 504 == late.status_code
        assert told.wait(60)
        running = "pillion_application_requests_in_flight"
        assert 1 == _metric(serving, running, application="handle")
        go.set()
        until_now(lambda: _metric(serving, running, application="handle") == 0)


def test_a_plain_function_of_fastapi_does_not_keep_its_client_either() -> None:
    app = FastAPI()
    go = threading.Event()

    @app.get("/")
    def handle() -> str:
        go.wait(100)
        return "late"

    with pillion.serve(app, blocking=False) as serving:
        assert 504 == httpx.get(serving.url, headers={"x-request-timeout-seconds": "1"}).status_code
        assert not go.is_set()
        go.set()


def _stream(media: str) -> FastAPI:
    app = FastAPI()

    @app.get("/{how}")
    async def handle(how: str) -> StreamingResponse:
        async def items() -> AsyncIterator[str]:
            yield "data: 1\n\n"
            if how == "fails":
                raise ValueError("a secret of the log")
            await asyncio.sleep(60)

        return StreamingResponse(items(), media_type=media)

    return app


def test_a_stream_of_events_ends_with_an_error_that_is_marked() -> None:
    with pillion.serve(_stream("text/event-stream"), blocking=False) as serving:
        late = httpx.get(f"{serving.url}/late", headers={"x-request-timeout-seconds": "1"}).text
        first, error = late.strip().split("\n\n")
        assert "data: 1" == first
        event, data = error.split("\n")
        assert "event: error" == event
        assert 504 == json.loads(data.removeprefix("data: "))["code"]
        failed = httpx.get(f"{serving.url}/fails").text
        assert "event: error" in failed
        assert "secret" not in failed


def test_a_stream_without_a_place_for_errors_is_seen_to_be_broken() -> None:
    with pillion.serve(_stream("text/plain"), blocking=False) as serving:
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(f"{serving.url}/late", headers={"x-request-timeout-seconds": "1"})
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(f"{serving.url}/fails")


def test_background_work_goes_on_after_the_answer_and_its_client() -> None:
    app, done = FastAPI(), threading.Event()

    async def later() -> None:
        await asyncio.sleep(1.2)  # longer than its request may take
        done.set()

    @app.post("/")
    async def handle(tasks: BackgroundTasks) -> str:
        tasks.add_task(later)
        return "taken"

    with pillion.serve(app, blocking=False) as serving:
        with httpx.Client() as client:  # its connection ends with the block
            answer = client.post(serving.url, headers={"x-request-timeout-seconds": "1"})
        assert "taken" == answer.json()
        assert done.wait(60)


def test_shielded_work_is_waited_for_before_a_stop() -> None:
    begun, done = threading.Event(), threading.Event()

    async def work() -> None:
        begun.set()
        await asyncio.sleep(0.5)
        done.set()

    async def handle() -> None:
        await asyncio.shield(asyncio.ensure_future(work()))

    serving = pillion.serve(handle, blocking=False)
    with asking(serving.url):
        until_now(begun.is_set)
    serving.stop()
    assert done.is_set()


def test_a_stream_that_a_stop_cuts_says_so() -> None:
    texts: list[str] = []

    def follow(url: str) -> None:
        with httpx.stream("GET", url, timeout=30) as answer:
            texts.extend(answer.iter_text())

    serving = pillion.serve(_stream("text/event-stream"), blocking=False)
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(follow, f"{serving.url}/endless")
        until_now(lambda: bool(texts))
        serving.stop(0.5)
        following.result()
    assert "event: error" in "".join(texts)
    assert "the server stops" in "".join(texts)


def test_code_that_does_not_end_when_it_is_cancelled_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async def stubborn() -> None:
        for _ in range(2):
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60)

    with pillion.serve(stubborn, blocking=False) as serving:
        assert 504 == httpx.get(serving.url, headers={"x-request-timeout-seconds": "1"}).status_code
        until_now(lambda: "code runs on 5 s after its request has ended" in caplog.text)


def test_a_request_is_told_and_counted_by_its_route(caplog: pytest.LogCaptureFixture) -> None:
    app = FastAPI()

    @app.get("/items/{item}")
    async def item(item: int) -> int:
        return item

    caplog.set_level(logging.INFO, "pillion.access")
    settings: dict[str, Any] = {"log.access": 1.0, **SHOWN}
    with pillion.serve(app, blocking=False, route_prefix="/shop", settings=settings) as serving:
        mine = httpx.get(f"{serving.url}/shop/items/7", headers={"x-request-id": "mine-1"})
        assert "mine-1" == mine.headers["x-request-id"]
        httpx.get(f"{serving.url}/shop/items/8")
        httpx.get(f"{serving.url}/shop/nothing/8")
        route = "/shop/items/{item}"
        until_now(lambda: _metric(serving, COUNTED, application="fast-api", route=route, code="200") == 2)
        until_now(lambda: _metric(serving, COUNTED, application="fast-api", route="other", code="404") == 1)
    lines = [record for record in caplog.records if record.name == "pillion.access"]
    line = next(record for record in lines if record.__dict__.get("request_id") == "mine-1")
    assert 60_000 > line.__dict__["ms"] > 0
    told = {key: line.__dict__[key] for key in ("application", "route", "status", "bytes")}
    assert {"application": "fast-api", "route": route, "status": 200, "bytes": 1} == told


def test_many_who_leave_leave_nothing_behind() -> None:
    slow = Slow()

    async def leave(url: str) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await writer.drain()
        await until(lambda: len(slow.begun) == 200)
        writer.close()

    async def all_of_them(url: str) -> None:
        await asyncio.gather(*(leave(url) for _ in range(200)))

    with pillion.serve(slow, blocking=False, settings=SHOWN) as serving:
        asyncio.run(all_of_them(serving.url))
        until_now(lambda: len(slow.ended) == len(slow.begun))
        assert {"/ cancelled"} == set(slow.ended)
        until_now(lambda: _metric(serving, "pillion_application_requests_in_flight", application="slow") == 0)


async def test_an_answer_has_a_time_to_begin_and_each_piece_one_of_its_own() -> None:
    ended: list[str] = []

    async def handle(request: pillion.Request) -> Any:
        how = request.query_params["how"]

        async def events() -> AsyncIterator[str]:
            try:
                for number in range(8):
                    yield f"data: {number}\n\n"
                    await asyncio.sleep(60 if how == "stuck" and number == 2 else 0.15)
            finally:
                ended.append(how)

        if how == "late":
            await asyncio.sleep(60)
        return StreamingResponse(events(), media_type="text/event-stream")

    settings: dict[str, Any] = {"http.first_byte_timeout_seconds": 1.0, "http.stream_idle_seconds": 1.0}
    async with pillion.test(handle, settings=settings) as tester:
        late = await tester.get("/?how=late")
        assert 504 == late.status_code
        assert "http.first_byte_timeout_seconds" in late.json()["error"]
        paced = await tester.get("/?how=paced")  # longer than either time
        assert (8, False) == (paced.text.count("data: "), "event: error" in paced.text)
        stuck = (await tester.get("/?how=stuck")).text
        assert "data: 2" in stuck
        assert "event: error" in stuck
        assert "http.stream_idle_seconds" in stuck
        await until(lambda: sorted(ended) == ["paced", "stuck"])
