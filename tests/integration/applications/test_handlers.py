"""Plain handlers and applications of every kind, served from within the program and called over HTTP."""

from __future__ import annotations

import dataclasses
import threading
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
from pillion.runtimefile import Code, DesiredApplication
from pillion.server import Server
from pillion.server.failures import StartError
from pillion.server.sources import load_settings

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
    "big-endian": {"pixels": (np.array([1, 256], ">i4"), 1)},
    "large": {"fibonacci": [2**70, -(2**63) - 1], "none": None},
    "dataclass": Point(3),
    "pydantic": [Label(name="cat")],
    "response": PlainTextResponse("teapot", 418, {"x-own": "yes"}),
    "generator": lambda: (f"{n}" for n in range(3)),
    "lines": lambda: ({"n": n} for n in range(2)),
}


async def hello() -> str:
    return "hello"


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
        ("big-endian", 200, "application/json", b'{"pixels":[[1,256],1]}'),
        ("large", 200, "application/json", b'{"fibonacci":[1180591620717411303424,-9223372036854775809],"none":null}'),
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


@pytest.mark.parametrize(
    ("result", "told"),
    [({"lock": threading.Lock()}, "_thread.lock"), ({"a": [1, float("nan")]}, "it holds nan at ['a'][1]")],
    ids=["type", "nan"],
)
def test_what_cannot_be_encoded_is_a_500_and_the_log_says_what(
    result: object, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    def handle() -> object:
        return result

    with pillion.serve(handle, blocking=False) as serving:
        answer = httpx.get(serving.url)
    assert 500 == answer.status_code
    assert {"error", "code", "id"} == answer.json().keys()
    assert told in caplog.text
    assert answer.json()["id"] in {getattr(record, "request_id", "") for record in caplog.records}


def test_an_ingress_class_keeps_the_encoder_of_its_framework_which_refuses_nan_too() -> None:
    app = FastAPI()

    @pillion.ingress(app)
    class Numbers:
        @app.get("/large")
        async def large(self) -> dict[str, int]:
            return {"n": 2**70}

        @app.get("/nan")
        async def nan(self) -> Any:
            return JSONResponse({"n": float("nan")})

    with pillion.serve(Numbers, blocking=False) as serving:
        assert b'{"n":1180591620717411303424}' == httpx.get(f"{serving.url}/large").content
        assert 500 == httpx.get(f"{serving.url}/nan").status_code


def test_plain_functions_run_at_the_same_time_and_have_the_body() -> None:
    together = threading.Barrier(5)

    def handle(request: pillion.Request) -> bytes:
        together.wait(60)  # breaks where they run one after the other
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

    made: list[object] = []

    @pillion.ingress(app)
    class First:
        def __init__(self, start: int = 1) -> None:
            self.start = start
            made.append(self)

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
    assert 1 == len(made)  # for all requests
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


@pytest.mark.parametrize("below", ["", "/ml"], ids=["taken-off", "left"])
def test_the_runtime_s_own_paths_are_answered_below_the_root_too(below: str) -> None:
    settings: dict[str, Any] = {"http.root_path": "/ml", "metrics.on_data_port": True}
    with pillion.serve(hello, blocking=False, route_prefix="/app", settings=settings) as serving:
        url = f"{serving.url}{below}"
        for _ in range(2):  # the second finds a path that is known
            assert 200 == httpx.get(f"{url}/v2/health/live").status_code
        assert {"/app": "hello"} == httpx.get(f"{url}/-/routes").json()
        assert "pillion_" in httpx.get(f"{url}/metrics").text
        assert "/ml/openapi.json" in httpx.get(f"{url}/docs").text
        assert [{"url": "/ml"}] == httpx.get(f"{url}/openapi.json").json()["servers"]
        assert "error" in httpx.get(f"{url}/v2/models/a%2Fb/ready").json()
        assert 404 == httpx.get(f"{serving.url}/mlx/v2/health/ready").status_code


@pytest.mark.parametrize("root", ["/v2", "/v2/x", "/api", "/-", "ml", "/a//b", "/docs"])
def test_a_root_that_would_hide_the_runtime_s_own_paths_is_refused(root: str) -> None:
    with pytest.raises(StartError, match=r"http\.root_path"):
        pillion.serve(hello, blocking=False, settings={"http.root_path": root})


async def test_an_application_knows_the_server_that_ours_is_mounted_in() -> None:
    async def where(request: pillion.Request) -> JSONResponse:
        return JSONResponse([str(request.url_for("where").path), request.scope["root_path"]])

    inner = Starlette(routes=[Route("/where", where, name="where")])
    settings = load_settings(flags={"http.root_path": "/ml", "grpc.port": 0, "admin.port": 0, "http.port": 0})
    wanted = DesiredApplication(name="inner", code=Code(module="inner", folder="."), route_prefix="/app")
    server = Server(settings.settings, applications=[wanted], objects={"inner": inner})
    with server:
        transport = httpx.ASGITransport(server.app, root_path="/outer")
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            for path in ("/outer/app/where", "/outer/ml/app/where"):
                assert ["/outer/ml/app/where", "/outer/ml/app"] == (await client.get(path)).json()


def test_a_bare_asgi_application_needs_no_lifespan() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["path"].encode()})

    with pillion.serve(app, blocking=False, route_prefix="/bare") as serving:
        assert "/bare/x" == httpx.get(f"{serving.url}/bare/x").text


def test_the_lifespan_ends_after_the_last_request() -> None:
    told: list[str] = []
    begun = threading.Event()

    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, str]]:
        told.append("begun")
        yield {"name": "state"}
        told.append("ended")

    from contextlib import asynccontextmanager

    app = FastAPI(lifespan=asynccontextmanager(lifespan))

    @app.get("/slow")
    async def slow(request: pillion.Request) -> str:
        import asyncio

        begun.set()
        await asyncio.sleep(0.5)
        told.append("answered")
        return str(request.state.name)

    serving = pillion.serve(app, blocking=False)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(httpx.get, f"{serving.url}/slow")
        assert begun.wait(60)
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
    here = Code(module="here", folder="")
    prefixes = {"one": "/shop", "two": "/shop/"}
    both = [DesiredApplication(name=name, code=here, route_prefix=prefix) for name, prefix in prefixes.items()]
    server = Server(applications=both, objects={"one": give, "two": give})
    with pytest.raises(StartError, match="applications 'one' and 'two' have the same routePrefix /shop"):
        server.start(blocking=False)


def test_the_word_of_a_proxy_is_taken_only_where_it_is_trusted() -> None:
    async def where(request: pillion.Request) -> JSONResponse:
        client = "" if request.client is None else request.client.host
        return JSONResponse([client, str(request.url_for("where"))])

    app = Starlette(routes=[Route("/where", where, name="where")])
    headers = {
        "x-forwarded-for": "203.0.113.7",
        "x-forwarded-proto": "https",
        "x-forwarded-host": "api.example.com",
        "x-forwarded-prefix": "/ml",
    }
    every = {"http.proxy_headers": ["for", "proto", "host", "prefix"]}
    trusting: dict[str, Any] = {"http.trusted_proxies": ["127.0.0.0/8"], **every}
    with pillion.serve(app, blocking=False, route_prefix="/app", settings=trusting) as serving:
        answer = httpx.get(f"{serving.url}/app/where", headers=headers)
        assert ["203.0.113.7", "https://api.example.com/ml/app/where"] == answer.json()
        assert "/ml/openapi.json" in httpx.get(f"{serving.url}/docs", headers=headers).text
        assert 200 == httpx.get(f"{serving.url}/v2/health/live", headers=headers).status_code
    wary: dict[str, Any] = {"http.trusted_proxies": ["10.0.0.0/8"], **every}
    with pillion.serve(app, blocking=False, route_prefix="/app", settings=wary) as serving:
        answer = httpx.get(f"{serving.url}/app/where", headers=headers)
        assert ["127.0.0.1", f"{serving.url}/app/where"] == answer.json()
    with pytest.raises(StartError, match=r"http\.trusted_proxies: 'everybody' is no network"):
        pillion.serve(app, blocking=False, settings={"http.trusted_proxies": ["everybody"]})
