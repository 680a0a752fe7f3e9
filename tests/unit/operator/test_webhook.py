"""The webhook's listener: what it takes of whom, and for how long."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING

import pytest

from pillion_operator.builders.serving_certificate import Material
from pillion_operator.webhook import WebhookServer
from tests.certificates import Authority

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pillion.resources.base import JsonObject

_REVIEW = b'{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {"uid": "1"}}'
_WITHIN = 60.0
Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def echo(review: JsonObject) -> JsonObject:
    return review


class Listening:
    """A webhook with little patience, and connections to it."""

    def __init__(self, server: WebhookServer, authority: Authority) -> None:
        self._port = server.port
        self._trust = ssl.create_default_context(cadata=authority.pem)

    async def connect(self) -> Ends:
        return await asyncio.open_connection("127.0.0.1", self._port, ssl=self._trust, server_hostname="localhost")


@contextlib.asynccontextmanager
async def listening(patience: float) -> AsyncIterator[Listening]:
    authority = Authority()
    issued = authority.issue()
    async with WebhookServer("127.0.0.1", 0, echo, patience) as server:
        await server.serve(Material((authority.pem,), "", issued.cert, issued.key))
        yield Listening(server, authority)


def asked(length: int) -> bytes:
    return f"POST /sidecar HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n".encode()


async def answer(ends: Ends) -> tuple[int, bytes]:
    """The status and the body of one answer."""
    async with asyncio.timeout(_WITHIN):
        head = await ends[0].readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split()[0])
        return int(head.split()[1]), await ends[0].readexactly(length)


async def ended(ends: Ends) -> bool:
    async with asyncio.timeout(_WITHIN):
        try:
            return await ends[0].read() == b""
        except ConnectionError:
            return True


def test_a_connection_that_asks_nothing_is_ended_and_one_that_has_asked_is_kept() -> None:
    async def use() -> None:
        async with listening(patience=0.5) as webhook:
            kept, silent, begun = [await webhook.connect() for _ in range(3)]
            kept[1].write(asked(len(_REVIEW)) + _REVIEW)
            assert 200 == (await answer(kept))[0]
            begun[1].write(b"POST /side")

            assert await ended(silent)
            assert await ended(begun)

            kept[1].write(asked(len(_REVIEW)) + _REVIEW)
            assert 200 == (await answer(kept))[0]

    asyncio.run(use())


def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    async def use() -> None:
        async with listening(patience=0.5) as webhook:
            slow = await webhook.connect()
            slow[1].write(asked(len(_REVIEW)) + _REVIEW[:10])

            assert (408, b"the review did not come within 0.5 s\n") == await answer(slow)
            assert await ended(slow)

    asyncio.run(use())


@pytest.mark.parametrize(("more", "status"), [(0, 200), (1, 413)])
def test_a_body_may_be_as_large_as_a_review_gets_and_no_larger(more: int, status: int) -> None:
    async def use() -> None:
        async with listening(patience=30.0) as webhook:
            body = _REVIEW + b" " * (4 * 1024 * 1024 - len(_REVIEW) + more)
            ends = await webhook.connect()
            ends[1].write(asked(len(body)) + body)

            assert status == (await answer(ends))[0]

    asyncio.run(use())
