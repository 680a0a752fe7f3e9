"""Bodies in memory at a time: what is reserved, when it is refused, and that it is free again."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

import pytest

from pillion.errors import ErrorCode, PillionError
from pillion.transport.body_budget import BodyBudget
from pillion.transport.http.budget import hold
from pillion.transport.http.content_coding import Expander

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

LARGE = 100_000


def channel(*bodies: bytes) -> Callable[[], Awaitable[dict[str, Any]]]:
    messages = [{"type": "http.request", "body": body} for body in bodies]

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    return receive


@pytest.mark.parametrize("headers", [{}, {b"content-length": b"65536"}, {b"content-length": b"many"}])
def test_small_bodies_are_left_alone(headers: dict[bytes, bytes]) -> None:
    assert hold(BodyBudget(1), headers, channel()) is None


async def test_a_stated_length_is_reserved_before_a_byte_is_read_and_free_after_the_answer() -> None:
    budget = BodyBudget(2 * LARGE)
    headers = {b"content-length": b"%d" % LARGE}
    first = hold(budget, headers, channel(b"x" * LARGE))
    assert first is not None
    assert 0 == budget.used
    await first.receive()
    assert LARGE == budget.used
    first.release()
    assert 0 == budget.used


async def test_who_finds_no_room_is_refused_unread_and_holds_nothing() -> None:
    budget = BodyBudget(LARGE)
    headers = {b"content-length": b"%d" % LARGE}
    first, second = hold(budget, headers, channel(b"x")), hold(budget, headers, channel())
    assert first is not None
    assert second is not None
    await first.receive()
    with pytest.raises(PillionError, match=r"limits\.max_body_bytes_in_flight") as refusal:
        await second.receive()
    assert (ErrorCode.QUEUE_FULL, 1.0) == (refusal.value.code, refusal.value.retry_after)
    second.release()
    assert LARGE == budget.used


async def test_chunks_are_reserved_as_they_arrive() -> None:
    budget = BodyBudget(150)
    held = hold(budget, {b"transfer-encoding": b"chunked"}, channel(b"x" * 100, b"x" * 100))
    assert held is not None
    await held.receive()
    assert 100 == budget.used
    with pytest.raises(PillionError):
        await held.receive()
    held.release()
    assert 0 == budget.used


async def test_a_compressed_body_takes_what_it_expands_to() -> None:
    budget = BodyBudget(LARGE)
    small = gzip.compress(b" " * (LARGE - 1000))
    held = hold(budget, {b"content-length": b"%d" % len(small), b"content-encoding": b"gzip"}, channel(small))
    assert held is not None
    body = (await held.receive())["body"]
    assert LARGE - 1000 == len(await Expander(10 * LARGE).expand(body, b"gzip", held))
    assert LARGE - 1000 + len(small) == budget.used
    with pytest.raises(PillionError, match="max_body_bytes_in_flight"):
        await Expander(10 * LARGE).expand(gzip.compress(b" " * 2000), b"gzip", held)
    held.release()
    assert 0 == budget.used
