"""Plain handlers and the threads that they wait for."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from pillion.applications.raw import RawApplication
from pillion.applications.results import UnencodableError, encoded


async def test_a_call_that_waits_for_a_thread_is_never_begun_when_its_caller_leaves() -> None:
    begun: list[str] = []
    go = threading.Event()

    def handler(name: str) -> str:
        begun.append(name)
        go.wait(100)
        return name

    with ThreadPoolExecutor(1) as threads:
        application = RawApplication(lambda: None, threads)
        first = asyncio.create_task(application.in_thread(handler, "first"))
        second = asyncio.create_task(application.in_thread(handler, "second"))
        while not begun:  # noqa: ASYNC110 - set by another thread
            await asyncio.sleep(0.005)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        go.set()
        assert "first" == await first
    assert ["first"] == begun


def test_a_result_that_contains_itself_is_told() -> None:
    itself: list[object] = []
    itself.append(itself)
    with pytest.raises(UnencodableError, match="a list, cannot be encoded as JSON: Recursion limit reached"):
        encoded(itself)
