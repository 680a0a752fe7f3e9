"""Where FastAPI's own pages stand among the routes of an ingress class."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Host

from pillion.applications.ingress import MARK, ingress

PAGES = ["/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc"]


def application(*paths: str, also: BaseRoute | None = None, router: APIRouter | None = None) -> Any:
    """What answers for an instance of a class with those routes."""
    app = FastAPI()

    class Shop:
        async def take(self, taken: str = "") -> str:
            return f"method {taken}"

    for path in paths:
        app.get(path)(Shop.take)
    if also is not None:
        app.router.routes.append(also)
    if router is not None:
        app.include_router(router)
    return getattr(ingress(app)(Shop), MARK).of(Shop())


def order(app: Any) -> list[str]:
    return [getattr(route, "path", type(route).__name__) for route in app.router.routes]


def client(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop")


async def test_routes_of_a_class_are_asked_before_the_pages() -> None:
    app = application("/items/{taken}", "/items")
    assert ["/items/{taken}", "/items", *PAGES] == order(app)
    async with client(app) as asking:
        assert '"method 7"' == (await asking.get("/items/7")).text
        assert ["/items/{taken}", "/items"] == list((await asking.get("/openapi.json")).json()["paths"])
        assert "text/html" in (await asking.get("/docs")).headers["content-type"]


@pytest.mark.parametrize("path", ["/{taken}", "/{taken:path}", "/docs/{taken}"])
async def test_the_pages_stay_in_front_of_a_route_that_would_hide_one(path: str) -> None:
    app = application("/items", path)
    assert [*PAGES, "/items", path] == order(app)
    async with client(app) as asking:
        assert "text/html" in (await asking.get("/docs/oauth2-redirect")).headers["content-type"]


def test_the_pages_stay_in_front_of_routes_that_may_take_anything() -> None:
    router = APIRouter()
    router.get("/{taken}")(lambda taken: taken)
    assert PAGES == order(application("/items", router=router))[:4]
    assert PAGES == order(application("/items", also=Host("{host}", PlainTextResponse("host"))))[:4]


async def test_routes_that_come_after_the_class_are_there_and_those_of_another_class_are_not() -> None:
    app, router = FastAPI(), APIRouter()

    class First:
        @app.get("/first")
        async def first(self) -> str:
            return type(self).__name__

    class Second:
        @router.get("/second")
        async def second(self) -> str:
            return type(self).__name__

    class Empty:
        pass

    class Third:
        @app.get("/third")
        async def third(self) -> str:
            return type(self).__name__

    ingress(app)(First)  # when routes of another class are there already, which nobody has taken yet
    ingress(app)(Third)
    ingress(app)(Second)
    ingress(app)(Empty)
    app.include_router(router)
    app.get("/late")(lambda: "shared")
    seen: dict[str, dict[str, int]] = {}
    for cls in (First, Second, Third, Empty):
        async with client(getattr(cls, MARK).of(cls())) as asking:
            answers = {path: await asking.get(path) for path in ("/first", "/second", "/third", "/late")}
        seen[cls.__name__] = {path: answer.status_code for path, answer in answers.items()}
        assert {f'"{cls.__name__}"', '"shared"'} >= {one.text for one in answers.values() if one.status_code == 200}
    assert {
        "First": {"/first": 200, "/second": 404, "/third": 404, "/late": 200},
        "Second": {"/first": 404, "/second": 200, "/third": 404, "/late": 200},
        "Third": {"/first": 404, "/second": 404, "/third": 200, "/late": 200},
        "Empty": {"/first": 404, "/second": 404, "/third": 404, "/late": 200},
    } == seen
