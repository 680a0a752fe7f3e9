"""Work whose end comes after its threads."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import Any

from pillion.authoring.context import Shared
from tests.waiting import until


async def test_the_end_comes_once_and_quietly_where_a_thread_joins_as_another_ends() -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    first: Future[None] = Future()
    second: Future[None] = Future()
    ends: list[str] = []
    work = Shared(None)
    work.at_end(lambda: ends.append("end"))
    work.hold(first)
    work.end_all()
    first.set_result(None)
    work.hold(second)  # before the loop has heard of the first one's end
    for _ in range(5):
        await asyncio.sleep(0)
    assert not ends
    second.set_result(None)
    await until(lambda: bool(ends))
    assert (["end"], []) == (ends, complaints)
