from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import kopf
import pytest
from aiohttp import web

from pillion_operator.client.connection import Connection, NoConnectionError, from_kubeconfig
from pillion_operator.client.errors import ApiError, NotLeaderError
from pillion_operator.client.fence import OpenFence
from pillion_operator.client.kubernetes import KubernetesClient
from pillion_operator.state.kinds import CONFIG_MAP, SECRET
from pillion_operator.state.manifest import Key

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from pillion_operator.state.manifest import Manifest

CONFIG: Manifest = {"metadata": {"namespace": "ns", "name": "iris"}, "data": {"a": "b"}}
KEY = Key("ns", "iris")


class Server:
    """A server that keeps what reached it, and answers what it is told to."""

    def __init__(self) -> None:
        self.received: list[tuple[str, str, bytes, str]] = []
        self.answers: list[web.Response] = []

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.received.append((request.method, request.path_qs, body, request.headers.get("Authorization", "")))
        return self.answers.pop(0) if self.answers else web.json_response({"items": []})


@pytest.fixture
async def server() -> AsyncIterator[tuple[Server, str]]:
    found = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", found.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield found, f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


def connection(url: str, *tokens: str) -> Connection:
    left = list(tokens) or ["token"]

    def login() -> kopf.ConnectionInfo:
        return kopf.ConnectionInfo(server=url, token=left.pop(0) if len(left) > 1 else left[0])

    return Connection(login, "ns")


class ClosingFence:
    """Open for a number of checks, then closed: the lease runs out while a request waits."""

    def __init__(self, checks: int) -> None:
        self._left = checks

    def check(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise NotLeaderError("closed")


@pytest.mark.parametrize("checks", [0, 1])
async def test_a_write_whose_fence_closes_before_its_bytes_leave_reaches_nobody(
    server: tuple[Server, str], checks: int
) -> None:
    found, url = server
    async with KubernetesClient(connection(url), ClosingFence(checks)) as client:
        with pytest.raises(NotLeaderError):
            await client.apply(CONFIG_MAP, CONFIG)
        # Reads pass: a standby keeps its caches warm.
        await client.list(CONFIG_MAP)

    assert ["GET"] == [method for method, *_ in found.received]


async def test_an_apply_names_its_manager_and_is_strict(server: tuple[Server, str]) -> None:
    found, url = server
    async with KubernetesClient(connection(url), OpenFence()) as client:
        await client.apply(CONFIG_MAP, CONFIG)

    method, path, body, _ = found.received[0]
    assert ("PATCH", b'"data":{"a":"b"}' in body) == (method, True)
    assert "/api/v1/namespaces/ns/configmaps/iris?fieldManager=pillion-operator&force=true" in path
    assert "fieldValidation=Strict" in path


async def test_a_delete_is_only_for_the_object_that_was_meant(server: tuple[Server, str]) -> None:
    found, url = server
    async with KubernetesClient(connection(url), OpenFence()) as client:
        await client.delete(CONFIG_MAP, KEY, uid="u-1")

    assert b'"preconditions":{"uid":"u-1"}' in found.received[0][2]


@pytest.mark.parametrize("status", [404, 409])
async def test_a_delete_of_what_is_gone_or_replaced_is_no_error(server: tuple[Server, str], status: int) -> None:
    found, url = server
    found.answers = [web.json_response({}, status=status)]
    async with KubernetesClient(connection(url), OpenFence()) as client:
        await client.delete(CONFIG_MAP, KEY, uid="u-1")


async def test_what_is_not_there_is_none(server: tuple[Server, str]) -> None:
    found, url = server
    found.answers = [web.json_response({"reason": "NotFound"}, status=404)]
    async with KubernetesClient(connection(url), OpenFence()) as client:
        assert await client.get(SECRET, KEY) is None


async def test_a_refusal_carries_reason_fields_and_when_to_come_back(server: tuple[Server, str]) -> None:
    found, url = server
    details = {"causes": [{"field": "spec.x"}], "retryAfterSeconds": 3}
    found.answers = [
        web.json_response({"reason": "TooManyRequests", "message": "slow down", "details": details}, status=429)
    ]
    async with KubernetesClient(connection(url), OpenFence()) as client:
        with pytest.raises(ApiError) as raised:
            await client.get(CONFIG_MAP, KEY)

    assert (429, "slow down", ("spec.x",), 3.0) == (
        raised.value.status,
        raised.value.message,
        raised.value.fields,
        raised.value.retry_after,
    )
    assert not raised.value.refused


async def test_an_answer_that_is_not_json_is_still_an_error_with_its_text(server: tuple[Server, str]) -> None:
    found, url = server
    found.answers = [web.Response(status=502, text="bad gateway")]
    async with KubernetesClient(connection(url), OpenFence()) as client:
        with pytest.raises(ApiError, match="bad gateway"):
            await client.get(CONFIG_MAP, KEY)


async def test_a_rotated_token_is_read_again(server: tuple[Server, str]) -> None:
    found, url = server
    found.answers = [web.json_response({}, status=401)]
    async with KubernetesClient(connection(url, "old", "new"), OpenFence()) as client:
        await client.list(CONFIG_MAP)

    assert ["Bearer old", "Bearer new"] == [authorization for *_, authorization in found.received]


async def test_no_answer_is_an_error_without_a_status() -> None:
    async with KubernetesClient(connection("http://127.0.0.1:1"), OpenFence()) as client:
        with pytest.raises(ApiError, match="did not answer") as raised:
            await client.get(CONFIG_MAP, KEY)

    assert 0 == raised.value.status


def test_a_kubeconfig_without_its_context_says_what_to_set(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text("current-context: nowhere\n")

    with pytest.raises(NoConnectionError, match="set current-context"):
        from_kubeconfig(path)


@pytest.mark.parametrize(
    ("refused", "terminating", "status", "message"),
    [
        (True, False, 422, "spec.a is invalid"),
        (True, False, 500, "failed to create typed patch object: .spec.a: field not declared in schema"),
        (False, False, 500, "etcdserver: request timed out"),
        (True, True, 403, "unable to create new content in namespace a because it is being terminated"),
        (True, True, 403, "create not allowed while custom resource definition is terminating"),
        (True, False, 403, "podmonitors is forbidden: User cannot create resource"),
    ],
)
def test_what_the_server_refuses_is_told_from_what_may_pass(
    refused: bool,  # noqa: FBT001 - a column of the table
    terminating: bool,  # noqa: FBT001 - as above
    status: int,
    message: str,
) -> None:
    error = ApiError(status, "", message)

    assert (refused, terminating) == (error.refused, error.terminating)


async def test_a_watch_that_goes_silent_is_given_up_and_bookmarks_are_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pillion_operator.client.kubernetes._SILENT_SECONDS", 0.2)
    asked: list[str] = []
    over = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(request.query["allowWatchBookmarks"])
        found = web.StreamResponse()
        await found.prepare(request)
        await found.write(b'{"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "7"}}}\n')
        # Half open: nobody ends it, and nothing comes.
        await over.wait()
        return found

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with KubernetesClient(connection(url), OpenFence()) as client:
        changes = client.watch(CONFIG_MAP, "ns", "1", label_selector="", seconds=240)
        first = await anext(changes)
        with pytest.raises(ApiError, match="the watch broke"):
            await anext(changes)
    over.set()
    await runner.cleanup()

    assert ["true"] == asked
    assert "BOOKMARK" == first.type
