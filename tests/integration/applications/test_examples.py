"""Each example of ``examples/applications``, served by the command line and called over HTTP."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.asking import asking
from tests.integration.own_python.program import serving
from tests.waiting import until_now

EXAMPLES = Path(__file__).parents[3] / "examples" / "applications"


def test_query_parameters_are_returned_as_an_object() -> None:
    with serving(EXAMPLES, "query_parameters.py:handle") as program:
        answer = httpx.get(program.url("/?a=b&c=d"))
    assert {"a": "b", "c": "d"} == answer.json()
    assert "application/json" == answer.headers["content-type"]


def test_a_handler_notices_that_its_client_left_and_that_its_time_is_up() -> None:
    with serving(EXAMPLES, "notices_cancellation.py:app") as program:
        with asking(program.url("/slow")):
            until_now(lambda: httpx.get(program.url("/seen")).json()["begun"] == 1)
        until_now(lambda: httpx.get(program.url("/seen")).json()["cancelled"] == 1)
        late = httpx.get(program.url("/slow"), headers={"X-Request-Timeout-Seconds": "1"})
        assert 504 == late.status_code
        assert "deadline_exceeded" == late.json()["code"]
        until_now(lambda: httpx.get(program.url("/seen")).json() == {"begun": 2, "cancelled": 2})


def test_shielded_work_finishes_without_its_client() -> None:
    with serving(EXAMPLES, "shielded_work.py:Orders") as program:

        def booked() -> bool:
            return bool(httpx.get(program.url("/")).json() == {"booked": 1})

        with asking(program.url("/"), {}):
            until_now(lambda: program.gauge("pillion_application_requests_in_flight") == 1 or booked())
        until_now(booked)


def test_a_prefix_answers_itself_without_a_redirect() -> None:
    with serving(EXAMPLES, "hello.py:app", "--route-prefix", "/hello") as program:
        assert (200, "hello") == _answered(program.url("/hello"))
        assert (200, "hello") == _answered(program.url("/hello/"))
        assert 404 == httpx.get(program.url("/helloween")).status_code
        assert "/hello/openapi.json" in httpx.get(program.url("/hello/docs")).text
        assert "Hello" == httpx.get(program.url("/hello/openapi.json")).json()["info"]["title"]
        assert {"/hello": "app"} == httpx.get(program.url("/-/routes")).json()


def test_two_methods_of_one_name_answer_two_verbs() -> None:
    with serving(EXAMPLES, "two_verbs.py:Shelf", "--route-prefix", "/shelf") as program:
        book = program.url("/shelf/books/7")
        assert 404 == httpx.get(book).status_code
        assert 201 == httpx.put(book, params={"title": "Ulysses"}).status_code
        assert {"title": "Ulysses"} == httpx.get(book).json()
        assert 422 == httpx.get(program.url("/shelf/books/seven")).status_code


def test_an_existing_application_keeps_its_lifespan_and_state() -> None:
    with serving(EXAMPLES, "existing_app.py:Existing", "--route-prefix", "/existing") as program:
        assert (200, 42) == _answered(program.url("/existing/answer"))


def test_a_websocket_echoes_and_learns_the_code_it_was_closed_with() -> None:
    with serving(EXAMPLES, "websocket_echo.py:Echo") as program:
        with connect(program.url("/echo").replace("http", "ws", 1)) as socket:
            socket.send("one")
            assert "one" == socket.recv(timeout=60)
            socket.close(3001)
        until_now(lambda: httpx.get(program.url("/codes")).json() == [3001])
        with connect(program.url("/echo").replace("http", "ws", 1)) as socket:
            program.process.terminate()
            with pytest.raises(ConnectionClosed):
                socket.recv(timeout=60)
        assert socket.protocol.close_rcvd is not None
        assert 1012 == socket.protocol.close_rcvd.code


def test_each_item_of_a_paced_stream_arrives_when_it_is_given() -> None:
    with serving(EXAMPLES, "paced_stream.py:numbers") as program:

        def gaps(coding: str) -> list[float]:
            times = []
            with httpx.stream("GET", program.url("/?max=10"), headers={"accept-encoding": coding}) as answer:
                lines = []
                for line in answer.iter_lines():
                    lines.append(line)
                    times.append(time.monotonic())
            assert [str(number) for number in range(10)] == lines
            assert ("gzip" if coding == "gzip" else None) == answer.headers.get("content-encoding")
            return [later - earlier for earlier, later in itertools.pairwise(times)]

        # A reader that a busy machine has let wait finds several at once, but not each time.
        for coding in ("identity", "gzip"):
            until_now(lambda coding=coding: min(gaps(coding)) > 0.02)  # type: ignore[misc] # the default binds the loop's value


def test_an_endless_stream_ends_when_its_client_leaves_and_its_finally_runs() -> None:
    with serving(EXAMPLES, "endless_stream.py:Clock") as program:
        with httpx.stream("GET", program.url("/ticks")) as answer:
            lines = answer.iter_lines()  # kept: it ends the answer when it goes
            assert "tick" == next(lines)
            assert 1 == httpx.get(program.url("/open")).json()
        until_now(lambda: httpx.get(program.url("/open")).json() == 0)


def test_every_example_is_run_here() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    names = {path.name for path in EXAMPLES.glob("*.py")}
    assert names == {name for name in names if f'"{name}:' in source}


def _answered(url: str) -> tuple[int, object]:
    answer = httpx.get(url)
    return answer.status_code, answer.json()
