"""Waiting for a condition with a deadline: never a fixed sleep, and on failure the last thing that was seen."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Seen = TypeVar("Seen")


def eventually(
    look: Callable[[], Seen],
    holds: Callable[[Seen], bool] = bool,
    *,
    within: float,
    what: str,
    every: float = 0.25,
) -> Seen:
    """Look until it holds and return what was seen; fails with the last sight after `within` seconds."""
    deadline = time.monotonic() + within
    while True:
        seen = look()
        if holds(seen):
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within:g} s: {what}; last seen: {str(seen)[:4000]}")
        time.sleep(every)


def always(look: Callable[[], Seen], holds: Callable[[Seen], bool], *, during: float, what: str) -> Seen:
    """Look again and again for `during` seconds; fails at the first sight where it does not hold."""
    deadline = time.monotonic() + during
    while True:
        seen = look()
        if not holds(seen):
            raise AssertionError(f"did not stay so for {during:g} s: {what}; seen: {str(seen)[:4000]}")
        if time.monotonic() > deadline:
            return seen
        time.sleep(0.25)
