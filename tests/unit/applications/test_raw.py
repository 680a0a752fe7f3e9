"""Plain handlers and the threads that they wait for."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
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


@pytest.mark.parametrize("first", [[], [np.array([1], ">i4")]], ids=["alone", "beside an array of the other order"])
def test_a_result_that_contains_itself_is_told(first: list[object]) -> None:
    itself: list[object] = list(first)
    itself.append(itself)
    with pytest.raises(
        UnencodableError, match=r"a list, cannot be encoded as JSON: (Recursion limit|maximum recursion)"
    ):
        encoded(itself)


@dataclass
class Kept:
    """Has an array."""

    pixels: object


def test_arrays_of_the_other_byte_order_are_encoded_wherever_they_are() -> None:
    pixels = np.array([1, 256], ">i4")
    result = {"plain": pixels, "in": [(pixels,), Kept(pixels)], "beside": frozenset({1})}
    assert b'{"plain":[1,256],"in":[[[1,256]],{"pixels":[1,256]}],"beside":[1]}' == encoded(result)[0]
    with pytest.raises(UnencodableError, match=r"holds a builtins\.object"):
        encoded([pixels, object()])
