"""Plain handlers and applications of every kind, served from within the program and called over HTTP."""

from __future__ import annotations

import dataclasses
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
from fastapi import APIRouter, Depends, FastAPI
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Mount, Route

import pillion
from pillion.server import Server
from pillion.server.failures import StartError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@dataclasses.dataclass
class Point:
    x: int


class Label(BaseModel):
    name: str


RESULTS: dict[str, Any] = {
    "none": None,
    "text": "hé",
    "bytes": b"\x00\xff",
    "list": [1, 2.5, None],
    "numpy": {"scores": np.array([1.5, 2.5], np.float32), "strided": np.arange(6)[::2], "one": np.int64(3)},
    "dataclass": Point(3),
    "pydantic": [Label(name="cat")],
    "response": PlainTextResponse("teapot", 418, {"x-own": "yes"}),
    "generator": lambda: (f"{n}" for n in range(3)),
    "lines": lambda: ({"n": n} for n in range(2)),
}


async def give(request: pillion.Request) -> Any:
    value = RESULTS[request.url.path.rpartition("/")[2]]
    return value() if callable(value) and not isinstance(value, PlainTextResponse) else value


@pytest.fixture(scope="module")
def given() -> Iterator[pillion.Serving]:
    with pillion.serve(give, blocking=False, route_prefix="/give") as serving:
        yield serving


@pytest.mark.parametrize(
    ("name", "status", "media", "body"),
    [
        ("none", 200, None, b""),
        ("text", 200, "text/plain; charset=utf-8", "hé".encode()),
        ("bytes", 200, "application/octet-stream", b"\x00\xff"),
        ("list", 200, "application/json", b"[1,2.5,null]"),
        ("numpy", 200, "application/json", b'{"scores":[1.5,2.5],"strided":[0,2,4],"one":3}'),
        ("dataclass", 200, "application/json", b'{"x":3}'),
        ("pydantic", 200, "application/json", b'[{"name":"cat"}]'),
        ("response", 418, "text/plain; charset=utf-8", b"teapot"),
        ("generator", 200, "text/plain; charset=utf-8", b"012"),
        ("lines", 200, "application/x-ndjson", b'{"n":0}\n{"n":1}\n'),
    ],
)
def test_a_result_becomes_an_answer(
    given: pillion.Serving, name: str, status: int, media: str | None, body: bytes
) -> None:
    answer = httpx.get(f"{given.url}/give/{name}")
    assert (status, media, body) == (answer.status_code, answer.headers.get("content-type"), answer.content)


def test_what_cannot_be_encoded_is_a_500_and_the_log_names_the_type(caplog: pytest.LogCaptureFixture) -> None:
    def handle() -> object:
        return {"lock": threading.Lock()}

    with pillion.serve(handle, blocking=False) as serving:
        answer = httpx.get(serving.url)
    assert 500 == answer.status_code
    assert {"error", "code", "id"} == answer.json().keys()
    assert "_thread.lock" in caplog.text
    assert answer.json()["id"] in {getattr(record, "request_id", "") for record in caplog.records}


def test_plain_functions_run_at_the_same_time_and_have_the_body() -> None:
    together = threading.Barrier(5)

    def handle(request: pillion.Request) -> bytes:
        together.wait(10)  # breaks where they run one after the other
        return request.content

    with pillion.serve(handle, blocking=False) as serving, ThreadPoolExecutor(5) as pool:
        bodies = [str(number).encode() for number in range(5)]
        answers = list(pool.map(lambda body: httpx.post(serving.url, content=body).content, bodies))
    assert bodies == answers


def test_every_method_and_path_below_the_prefix_reaches_a_handler() -> None:
    class Handler:
        async def __call__(self, request: pillion.Request) -> str:
            return f"{request.method} {request.url.path} {request.scope['root_path']}"

    with pillion.serve(Handler, blocking=False, route_prefix="/shop") as serving:
        for method in ("GET", "POST", "DELETE", "PATCH"):
            assert f"{method} /shop/a/b /shop" == httpx.request(method, f"{serving.url}/shop/a/b").text
        assert "GET /shop /shop" == httpx.get(f"{serving.url}/shop").text
        assert 404 == httpx.get(f"{serving.url}/shopping").status_code


def test_an_application_at_the_root_hides_nothing_of_the_runtime() -> None:
    async def everything(request: pillion.Request) -> str:
        return "mine"

    with pillion.serve(everything, blocking=False) as serving:
        assert "mine" == httpx.get(f"{serving.url}/").text
        assert "mine" == httpx.get(f"{serving.url}/docs").text
        assert "pillion" == httpx.get(f"{serving.url}/v2").json()["name"]
        assert 404 == httpx.get(f"{serving.url}/api/v1/task/none").status_code
        assert {"/": "everything"} == httpx.get(f"{serving.url}/-/routes").json()
        assert "success" == httpx.get(f"{serving.url}/-/healthz").text


def test_two_classes_over_one_application_do_not_see_each_others_routes() -> None:
    app = FastAPI()

    @app.get("/shared")
    def shared() -> str:
        return "shared"

    def doubled(x: int) -> int:
        return 2 * x

    router = APIRouter(prefix="/more")

    @pillion.ingress(app)
    class First:
        def __init__(self, start: int = 1) -> None:
            self.start = start

        @app.get("/first")
        async def first(self, two: int = Depends(doubled)) -> int:
            return self.start + two

        @router.get("/{item}")
        def item(self, item: str) -> str:
            return f"{item} {self.start}"

        app.include_router(router)

    @pillion.ingress(app)
    class Second:
        @app.get("/second")
        def second(self) -> str:
            return type(self).__name__

    first: Any = First  # what the decorator adds, type checkers cannot see
    with pillion.serve(first.bind(start=5), blocking=False) as serving:
        assert 9 == httpx.get(f"{serving.url}/first?x=2").json()
        assert "a 5" == httpx.get(f"{serving.url}/more/a").json()
        assert "shared" == httpx.get(f"{serving.url}/shared").json()
        assert 404 == httpx.get(f"{serving.url}/second").status_code
        paths = httpx.get(f"{serving.url}/openapi.json").json()["paths"]
        assert {"/first", "/more/{item}", "/shared"} == paths.keys()
        assert ["x"] == [parameter["name"] for parameter in paths["/first"]["get"]["parameters"]]
    with pillion.serve(Second, blocking=False) as serving:
        assert "Second" == httpx.get(f"{serving.url}/second").json()
        assert 404 == httpx.get(f"{serving.url}/first").status_code


def test_mounted_applications_know_their_root_behind_a_proxy() -> None:
    async def where(request: pillion.Request) -> JSONResponse:
        return JSONResponse([str(request.url_for("where").path), request.scope["root_path"]])

    inner = Starlette(routes=[Route("/where", where, name="where")])
    outer = Starlette(routes=[Mount("/inner", inner)])
    with pillion.serve(outer, blocking=False, route_prefix="/app", settings={"http.root_path": "/ml"}) as serving:
        expected = ["/ml/app/inner/where", "/ml/app/inner"]
        assert expected == httpx.get(f"{serving.url}/app/inner/where").json()  # the proxy took /ml off
        assert expected == httpx.get(f"{serving.url}/ml/app/inner/where").json()  # it left it


def test_a_bare_asgi_application_needs_no_lifespan() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["path"].encode()})

    with pillion.serve(app, blocking=False, route_prefix="/bare") as serving:
        assert "/bare/x" == httpx.get(f"{serving.url}/bare/x").text


def test_the_lifespan_ends_after_the_last_request() -> None:
    told: list[str] = []

    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, str]]:
        told.append("begun")
        yield {"name": "state"}
        told.append("ended")

    from contextlib import asynccontextmanager

    app = FastAPI(lifespan=asynccontextmanager(lifespan))

    @app.get("/slow")
    async def slow(request: pillion.Request) -> str:
        import asyncio

        await asyncio.sleep(0.5)
        told.append("answered")
        return str(request.state.name)

    serving = pillion.serve(app, blocking=False)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(httpx.get, f"{serving.url}/slow")
        time.sleep(0.2)
        serving.stop()
        assert "state" == answer.result().json()
    assert ["begun", "answered", "ended"] == told


def test_a_lifespan_that_fails_fails_the_start_and_says_where() -> None:
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if told := "no database":
            raise RuntimeError(told)
        yield

    from contextlib import asynccontextmanager

    with pytest.raises(
        StartError, match=r"application fast-api failed to start: .*test_handlers.py:\d+: RuntimeError: no database"
    ):
        pillion.serve(FastAPI(lifespan=asynccontextmanager(lifespan)), blocking=False)


def test_a_constructor_that_fails_fails_the_start_and_says_where() -> None:
    class Broken:
        def __init__(self) -> None:
            raise ValueError("no weights")

        def __call__(self) -> None:
            pass

    with pytest.raises(StartError, match=r"application broken cannot be built: .*test_handlers.py:\d+: ValueError: no"):
        pillion.serve(Broken, blocking=False)


def test_arguments_that_do_not_fit_are_named() -> None:
    class Needs:
        def __init__(self, path: str) -> None:
            self.path = path

        def __call__(self) -> str:
            return self.path

    with pytest.raises(StartError, match="missing a required argument: 'path'"):
        pillion.serve(Needs, blocking=False)
    with pillion.serve(Needs, blocking=False, args={"path": "/models"}) as serving:
        assert "/models" == httpx.get(serving.url).text


def test_what_is_no_application_is_told_what_would_be() -> None:
    with pytest.raises(StartError, match=r"a dict is no application: give an ASGI application"):
        pillion.serve({}, blocking=False)

    def wsgi(environ: object, start_response: object) -> list[bytes]:
        return []

    with pytest.raises(StartError, match="looks like WSGI"):
        pillion.serve(wsgi, blocking=False)


@pytest.mark.parametrize("prefix", ["/v2", "/api/mine", "/-", "shop", "/a//b", "/{x}", "/a/../b"])
def test_a_prefix_that_cannot_be_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="routePrefix"):
        pillion.serve(give, blocking=False, route_prefix=prefix)


def test_applications_in_each_others_way_are_both_named() -> None:
    from pillion.embedding import _desired

    wanted = [_desired("one", "/shop", {}), _desired("two", "/shop/", {})]
    server = Server(applications=wanted, objects={"one": give, "two": give})
    with pytest.raises(StartError, match="applications 'one' and 'two' have the same routePrefix /shop"):
        server.start(blocking=False)
