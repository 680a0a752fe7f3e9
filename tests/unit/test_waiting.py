"""How tests wait."""

from __future__ import annotations

import itertools
import time

import pytest

from tests.waiting import until, until_now


def test_what_came_true_in_a_pause_that_took_too_long_is_seen() -> None:
    looks = itertools.count()
    assert until_now(lambda: next(looks), 0.001, pause=0.05)


async def test_what_came_true_while_the_loop_stood_still_is_seen() -> None:
    def look() -> bool:
        if next(looks):
            return True
        time.sleep(0.05)
        return False

    looks = itertools.count()
    assert await until(look, 0.001)


def test_what_does_not_come_true_fails_with_the_last_look() -> None:
    with pytest.raises(AssertionError, match=r"not within 0\.01 s; the last look gave ''"):
        until_now(lambda: "", 0.01)
