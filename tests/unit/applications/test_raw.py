"""Plain handlers and the threads that they wait for."""

from __future__ import annotations

import asyncio
import datetime as dt
import enum
import json
import threading
import uuid
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


class Grade(enum.Enum):
    NONE = float("nan")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({1, 2**70}, None),
        ({2**70: Kept(2**65)}, b'{"1180591620717411303424":{"pixels":36893488147419103232}}'),
        ((uuid.UUID(int=1), dt.date(2026, 1, 2), 2**64, None), b'["%s","2026-01-02",18446744073709551616,null]'),
        ([np.array([], float), None, "null"], b'[[],null,"null"]'),
        ({"\u00cb\x7f": None}, '{"\u00cb\\u007f":null}'.replace("\\u007f", "\x7f").encode()),
    ],
)
def test_integers_of_any_size_and_real_nulls_are_encoded(value: object, text: bytes | None) -> None:
    said = encoded(value)[0]
    if text is None:
        assert {1, 2**70} == set(json.loads(said))
    else:
        assert text.replace(b"%s", str(uuid.UUID(int=1)).encode()) == said


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (float("nan"), "holds nan, which"),
        ({"a": {"b": [0.5, float("-inf")]}}, r"holds -inf at \['a'\]\['b'\]\[1\], which"),
        ([Kept(np.array([1, np.inf], np.float32))], r"holds inf at \[0\]\.pixels"),
        ({"a": np.array([1, np.nan], np.float16)}, r"holds nan at \['a'\]"),
        ([np.float64("nan")], r"holds nan at \[0\]"),
        ({float("nan"): 1}, "holds nan as a key"),
        ([Grade.NONE], r"holds nan at \[0\]"),
        ([10**5000], "Exceeds the limit"),
    ],
)
def test_what_is_no_number_is_told_with_its_place_and_is_no_null(value: object, told: str) -> None:
    with pytest.raises(UnencodableError, match=told):
        encoded(value)
