"""Reading the body of a request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from starlette.requests import ClientDisconnect

import pillion

if TYPE_CHECKING:
    from collections.abc import MutableMapping

END: dict[str, Any] = {"type": "http.disconnect"}


def request_of(*messages: dict[str, Any]) -> pillion.Request:
    left = list(messages)

    async def receive() -> MutableMapping[str, Any]:
        return left.pop(0)

    return pillion.Request({"type": "http", "headers": []}, receive)


def piece(body: bytes, *, more: bool) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


@pytest.mark.parametrize(
    "messages",
    [
        [piece(b"whole", more=False)],
        [piece(b"wh", more=True), piece(b"ole", more=False)],
        [piece(b"whole", more=True), {"type": "http.request"}],
    ],
)
async def test_a_body_is_read_whole_and_can_be_asked_for_again(messages: list[dict[str, Any]]) -> None:
    request = request_of(*messages, END)

    assert b"whole" == await request.body()
    assert b"whole" == await request.body()
    assert b"whole" == request.content
    assert [b"whole", b""] == [part async for part in request.stream()]


async def test_a_client_that_leaves_before_its_body_is_complete_is_told() -> None:
    request = request_of(piece(b"wh", more=True), END)

    with pytest.raises(ClientDisconnect):
        await request.body()
    assert await request.is_disconnected()


async def test_a_body_that_was_streamed_cannot_be_read_again() -> None:
    request = request_of(piece(b"whole", more=False), END)
    assert [b"whole", b""] == [part async for part in request.stream()]

    with pytest.raises(RuntimeError, match="Stream consumed"):
        await request.body()
