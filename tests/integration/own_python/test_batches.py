"""Tasks whose method answers many requests at once."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.integration.own_python.program import serving
from tests.waiting import until_now

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.own_python.program import Program

SERVICE = """
import time
from pathlib import Path
from pillion import Batch, Model, task


class Many(Model):
    def load(self):
        self.sizes = []

    @task(batch=Batch(max_size=4))
    def shout(self, text: list[str], mark: str = "!") -> list[str | Exception]:
        self.sizes.append(len(text))
        if "wait" in text:
            for _ in range(20000):
                if Path("go").exists():
                    break
                time.sleep(0.005)
        if "poison" in text:
            raise RuntimeError("poisoned")
        return [ValueError("nothing to shout") if not one else one.upper() + mark for one in text]

    @task(batch=Batch(max_size=4))
    async def count(self, text: list[str]) -> list[int]:
        self.sizes.append(len(text))
        return [len(one) for one in text]

    @task(batch=Batch())
    def short(self, text: list[str]) -> list[int]:
        return [1]

    @task
    async def seen(self) -> list[int]:
        sizes, self.sizes = self.sizes, []
        return sizes
"""


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    (tmp_path / "service.py").write_text(SERVICE)
    with serving(tmp_path, "service.py:Many", PILLION_LIMITS__MAX_QUEUE="100") as program:
        yield program


async def post(client: httpx.AsyncClient, path: str, body: object, **headers: str) -> tuple[int, Any]:
    answer = await client.post(path, json=body, headers=headers)
    return answer.status_code, answer.json()


async def held(client: httpx.AsyncClient, program: Program) -> list[asyncio.Task[tuple[int, Any]]]:
    """Calls that keep every thread busy, and one that waits for them."""
    waiting: list[asyncio.Task[tuple[int, Any]]] = []
    while not queued(program):
        waiting.append(asyncio.create_task(post(client, "/shout", {"text": "wait", "mark": str(len(waiting))})))
        await asyncio.to_thread(until_now, partial(in_flight, program, len(waiting)))
    return waiting


def queued(program: Program) -> float:
    return program.gauge("pillion_queue_length")


def in_flight(program: Program, requests: int) -> bool:
    return program.gauge("pillion_in_flight") + queued(program) == requests


async def seen(client: httpx.AsyncClient) -> list[int]:
    sizes: list[int] = (await client.post("/seen", json={})).json()
    return sizes


async def test_requests_that_wait_share_a_call(program: Program, tmp_path: Path) -> None:
    limits = httpx.Limits(max_connections=100)
    async with httpx.AsyncClient(base_url=program.url(), trust_env=False, timeout=100, limits=limits) as client:
        waiting = await held(client, program)
        rest = [asyncio.create_task(post(client, "/shout", {"text": f"t{number}"})) for number in range(6)]
        empty = asyncio.create_task(post(client, "/shout", {"text": ""}))
        poison = asyncio.create_task(post(client, "/shout", {"text": "poison"}))
        other = asyncio.create_task(post(client, "/shout", {"text": "t", "mark": "?"}))
        leaves = asyncio.create_task(post(client, "/shout", {"text": "leaves"}, **{"x-request-timeout-seconds": "0.2"}))
        assert (504, True) == ((await leaves)[0], "waiting in the queue" in (await leaves)[1]["details"])
        (tmp_path / "go").touch()
        assert [(200, f"T{number}!") for number in range(6)] == await asyncio.gather(*rest)
        assert (400, True) == ((await empty)[0], "ValueError: nothing to shout" in (await empty)[1]["details"])
        assert (500, True) == ((await poison)[0], "RuntimeError: poisoned" in (await poison)[1]["details"])
        assert (200, "T?") == await other
        assert all(answer[0] == 200 for answer in await asyncio.gather(*waiting))
        sizes = await seen(client)
        assert 4 == max(sizes)
        assert sum(sizes) > len(sizes)


async def test_one_alone_is_a_list_of_one(program: Program) -> None:
    async with httpx.AsyncClient(base_url=program.url(), trust_env=False, timeout=30) as client:
        assert (200, "A!") == await post(client, "/shout", {"text": "a"})
        assert (200, 3) == await post(client, "/many/count", {"text": "abc"})
        assert (200, 3) == await post(client, "/api/v1/task/count", {"inputs": "abc"})
        assert [1, 1, 1] == await seen(client)
        status, answer = await post(client, "/shout", {"text": ["a"]})
        assert (422, "text: should be a valid string") == (status, answer["details"])


async def test_a_result_for_each_is_wanted(program: Program) -> None:
    async with httpx.AsyncClient(base_url=program.url(), trust_env=False, timeout=30) as client:
        answers = await asyncio.gather(*(post(client, "/short", {"text": "a"}) for _ in range(20)))
        wrong = [answer["details"] for status, answer in answers if status == 500]
        right = [answer for status, answer in answers if status == 200]
        assert len(wrong) + len(right) == 20
        assert all("Many.short returned 1 results for" in sentence for sentence in wrong)


def test_in_worker_processes_each_comes_alone(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(SERVICE)
    with serving(tmp_path, "service.py:Many", "--executor", "process", "--processes", "1") as program:
        assert (200, "A!") == program.curl("/shout", {"text": "a"})
