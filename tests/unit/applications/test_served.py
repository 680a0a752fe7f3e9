"""What stands around each request of an application: however it goes, its connection is told of its end."""

from __future__ import annotations

import asyncio
from types import NoneType
from typing import TYPE_CHECKING, Any

import pytest

from pillion.applications.kinds import Built
from pillion.applications.served import ApplicationOptions, Served
from pillion.runtimefile import Code, DesiredApplication
from pillion.transport.drain import DrainState

if TYPE_CHECKING:
    from collections.abc import Callable

    from pillion.applications.served import ApplicationRecord


class _Gone:
    """A request that came whole, and whose connection takes nothing any more."""

    body = b""
    root = ""
    whole = True
    head = False
    departure = None

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None
        self.headers = [(b"x-request-timeout-seconds", b"5")]
        self.ends = 0

    def scope(self) -> dict[str, Any]:
        return {"type": "http", "method": "GET", "path": "/", "headers": self.headers}

    async def receive(self) -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(self, _: object) -> None:
        raise ConnectionResetError("the client has left")

    def answer(self, _status: int, _lines: bytes, _body: bytes) -> bool:
        return False

    def cut(self) -> None:
        """There is nothing left to end."""

    def ended(self) -> None:
        self.ends += 1


async def silent(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def fail(_: ApplicationRecord) -> None:
    raise OSError("there is no room for the line of the log")


@pytest.mark.parametrize(
    ("draining", "on_ended"),
    [(True, None), (False, None), (False, fail)],
    ids=["a refusal that cannot be sent", "an answer that cannot be sent", "a line that cannot be written"],
)
async def test_the_end_of_a_request_is_told_whatever_fails_behind_it(
    *, draining: bool, on_ended: Callable[[ApplicationRecord], None] | None
) -> None:
    drain = DrainState()
    drain.draining = draining
    options = ApplicationOptions(drain=drain, on_ended=on_ended, choose=lambda: on_ended is not None)
    desired = DesiredApplication(name="shop", code=Code(module="shop", class_name="app", folder="/"))
    served = Served(desired, Built(silent, raw=False, instance=silent), options)
    request = _Gone()

    task = request.task = asyncio.create_task(served.handle(request))
    await asyncio.wait({task}, timeout=30)

    assert isinstance(task.exception(), OSError | NoneType)  # for the loop to tell; that of the client's is one
    assert 1 == request.ends
    assert not served.exchanges


@pytest.mark.parametrize("how", ["drains", "closes"])
@pytest.mark.parametrize("answers", [True, False], ids=["a server that answers", "one that only closes"])
async def test_a_websocket_is_refused_while_the_server_stops_and_told_as_any_request(
    how: str, *, answers: bool
) -> None:
    drain = DrainState()
    told: list[ApplicationRecord] = []
    options = ApplicationOptions(drain=drain, on_ended=told.append, choose=lambda: True)
    desired = DesiredApplication(name="shop", code=Code(module="shop", class_name="app", folder="/"))
    served = Served(desired, Built(silent, raw=False, instance=silent), options)
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    drain.draining = how == "drains"
    if how == "closes":
        served.close_conversations()
    extensions: dict[str, Any] = {"websocket.http.response": {}} if answers else {}
    await served(
        {"type": "websocket", "path": "/", "headers": [(b"x-request-id", b"mine")], "extensions": extensions},
        receive, send,
    )  # fmt: skip

    assert [("mine", 503, "WEBSOCKET")] == [(one.request_id, one.status, one.method) for one in told]
    assert ([503] if answers else [1008]) == [one.get("status", one.get("code")) for one in sent[:1]]
    if answers:
        assert {b"x-request-id", b"retry-after"} <= dict(sent[0]["headers"]).keys()
        assert b"the server is stopping" in sent[1]["body"]
