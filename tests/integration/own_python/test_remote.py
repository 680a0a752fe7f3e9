"""``pillion.remote``: models of another service, called from tasks, flows, worker processes and programs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator  # noqa: TC003 - hints of tasks are read at run time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray  # noqa: TC002 - as above

import pillion
from pillion import Model, task
from pillion.applications.remote import ServiceError, address_of
from pillion.composition.errors import EnsembleError
from pillion.errors import ErrorCode, PillionError
from tests.asking import asking
from tests.integration.observe.receivers import attributes, collector
from tests.integration.own_python.program import serving
from tests.waiting import until_now

HERE = Path(__file__).parent
BEGUN, CANCELLED = threading.Event(), threading.Event()
HEADERS: dict[str, str] = {}
URL = ""


class Words(Model):
    """Of the other service."""

    @task
    def count(self, text: str) -> int:
        """How many."""
        return len(text.split())

    @task
    async def wait(self, seconds: float) -> str:
        """Takes its time."""
        BEGUN.set()
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            CANCELLED.set()
            raise
        return "done"

    @task
    async def spell(self, text: str) -> AsyncIterator[str]:
        """One by one."""
        for letter in text:
            yield letter


class Halves(Model):
    """Arrays."""

    def predict(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Half of it."""
        return x / 2


async def headers(request: pillion.Request) -> list[str]:
    """What came along."""
    HEADERS.update(request.headers)
    return ["noted"]


class Desk(Model):
    """Calls the other service."""

    @task
    async def count(self, text: str) -> int:
        """On the loop."""
        return int(await pillion.remote(URL, "words").task("count", text=text))

    @task
    def count_plain(self, text: str) -> int:
        """In a thread."""
        return int(pillion.remote(URL, "words").task("count", text=text).result())

    @task
    async def wait(self) -> str:
        """For long."""
        return str(await pillion.remote(URL, "words").task("wait", seconds=30.0))

    @task
    def wait_plain(self) -> str:
        """The same in a thread."""
        return str(pillion.remote(URL, "words").task("wait", seconds=30.0).result())

    @task
    async def spelled(self, text: str) -> AsyncIterator[str]:
        """Hand a stream on."""
        async for letter in pillion.remote(URL, "words").stream("spell", text=text):
            yield letter.upper()

    @task
    async def wrong(self) -> str:
        """What the other refuses."""
        return str(await pillion.remote(URL, "words").task("count", text=5))

    @task
    async def nobody(self) -> str:
        """Where nobody is."""
        return str(await pillion.remote("http://127.0.0.1:9", "words", retries=0).task("count", text=""))

    @task
    async def noted(self) -> str:
        """To what only looks at headers."""
        return str(await pillion.remote(URL + "/seen").task("anything"))


@pytest.fixture(scope="module")
def other() -> Iterator[pillion.Serving]:
    global URL  # noqa: PLW0603 - the class that is served reads it
    with pillion.serve(Words, Halves, headers, blocking=False, route_prefix="/seen") as server:
        URL = server.url
        yield server


@pytest.fixture(scope="module")
def desk(other: pillion.Serving) -> Iterator[pillion.Serving]:
    del other
    with pillion.serve(Desk, blocking=False) as server:
        yield server


def post(server: pillion.Serving, path: str, body: object = None, **options: Any) -> httpx.Response:
    return httpx.post(f"{server.url}{path}", json=body or {}, timeout=60, **options)


def test_tasks_call_tasks_of_another_service(desk: pillion.Serving) -> None:
    assert 2 == post(desk, "/desk/count", {"text": "one two"}).json()
    assert 2 == post(desk, "/desk/count_plain", {"text": "one two"}).json()
    events = post(desk, "/spelled", {"text": "ok"}).text
    assert ['data: "O"', 'data: "K"'] == [line for line in events.splitlines() if line.startswith("data")]


def test_arrays_go_by_rest_and_grpc_also_from_a_program_without_a_server(other: pillion.Serving) -> None:
    for url in (other.url, f"grpc://{other.grpc}"):
        with pillion.remote(url, "halves") as halves:
            assert [0.5, 2.0] == halves.predict([1.0, 4.0]).result().tolist()

    async def on_a_loop() -> Any:
        async with pillion.remote(other.url, "halves") as halves:
            return await halves.predict(np.array([1.0]))

    assert [0.5] == asyncio.run(on_a_loop()).tolist()


@pytest.mark.parametrize("how", ["wait", "wait_plain"])
@pytest.mark.parametrize("why", ["leaves", "time"])
def test_a_call_of_another_service_ends_with_its_request(desk: pillion.Serving, how: str, why: str) -> None:
    BEGUN.clear()
    CANCELLED.clear()
    if why == "leaves":
        with asking(f"{desk.url}/{how}", {}):
            until_now(BEGUN.is_set)
    else:
        assert 504 == post(desk, f"/{how}", headers={"x-request-timeout-seconds": "2"}).status_code
    until_now(CANCELLED.is_set)


def test_request_id_time_and_trace_go_along(desk: pillion.Serving) -> None:
    HEADERS.clear()
    post(desk, "/noted", headers={"x-request-id": "mine", "x-request-timeout-seconds": "9"})
    assert "mine" == HEADERS["x-request-id"]
    assert 0 < float(HEADERS["x-request-timeout-seconds"]) <= 9


def test_failures_say_which_service_and_what_it_said(desk: pillion.Serving) -> None:
    wrong = post(desk, "/wrong")
    assert 400 == wrong.status_code
    assert f"service {URL}: text: should be a valid string" in wrong.json()["details"]
    nobody = post(desk, "/nobody")
    assert 503 == nobody.status_code
    assert "service http://127.0.0.1:9: cannot connect" in nobody.json()["details"]


def test_one_service_of_several_that_fails_is_told_apart(other: pillion.Serving) -> None:
    async def here(text: str) -> Any:
        return await pillion.remote(other.url, "words").task("count", text=text)

    async def gone(text: str) -> Any:
        return await pillion.remote("http://127.0.0.1:9", retries=0).task("count", text=text)

    with pillion.Ensemble(here, gone, require=1) as flow:
        assert {"here": 2} == flow.call("one two")
    with pillion.Ensemble(here, gone) as flow, pytest.raises(EnsembleError) as told:
        flow.call("one two")
    failure = told.value.failures["gone"]
    assert isinstance(failure, ServiceError)
    assert (ErrorCode.NOT_READY, None) == (failure.code, failure.status)


def test_the_key_of_the_own_server_is_not_sent_to_others(other: pillion.Serving, monkeypatch: Any) -> None:
    monkeypatch.setenv("PILLION_API_KEY", "secret")
    HEADERS.clear()
    with pillion.remote(f"{other.url}/seen") as seen:
        seen.task("anything").result()
    assert "x-api-key" not in HEADERS
    with pillion.remote(f"{other.url}/seen", api_key="theirs") as seen:
        seen.task("anything").result()
    assert "theirs" == HEADERS["x-api-key"]


def test_services_of_a_cluster_are_found_by_name() -> None:
    assert "http://fraud-predictor" == address_of("fraud")
    assert "http://fraud-predictor.team-b.svc" == address_of("fraud.team-b")
    assert "fraud" == pillion.remote("fraud.team-b").model
    with pytest.raises(ValueError, match="neither a URL nor the NAME"):
        pillion.remote("Fraud!")


def test_code_on_the_loop_may_not_wait_for_an_answer(other: pillion.Serving) -> None:
    async def waits() -> None:
        pillion.remote(other.url, "words").task("count", text="").result()

    with pytest.raises(RuntimeError, match="await the call"):
        asyncio.run(waits())


def test_spans_of_both_services_are_of_one_trace(other: pillion.Serving) -> None:
    with collector() as gathered, serving(HERE, "far.py:Near", **gathered.environment, FAR=other.url) as program:
        trace = "0af7651916cd43dd8448eb211c80319c"
        HEADERS.clear()
        answer = httpx.post(
            program.url("/ask"), json={}, headers={"traceparent": f"00-{trace}-b7ad6b7169203331-01"}, timeout=60
        )
        assert "['noted']" == answer.json()
        (span,) = gathered.wait_for("pillion.remote")
        assert trace == span.trace_id.hex()
        assert f"00-{trace}-{span.span_id.hex()}-01" == HEADERS["traceparent"]
        assert f"{other.url}/seen" == attributes(span)["server.address"]


def test_what_the_client_says_of_an_argument_is_said_where_it_is_made() -> None:
    with pytest.raises(ValueError, match="ftp"):
        pillion.remote("ftp://host", "m")
    with (
        pytest.raises(PillionError, match="cannot connect"),
        pillion.remote("http://127.0.0.1:9", "words", retries=0) as nobody,
    ):
        nobody.task("count").result()
