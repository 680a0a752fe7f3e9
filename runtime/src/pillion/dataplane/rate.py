"""How fast a model is, as its calls show: what expected waits and Retry-After are computed from."""

from __future__ import annotations

from typing import Final

__all__ = ["ServiceRate"]

_WEIGHT: Final = 0.1
_ENOUGH: Final = 8


class ServiceRate:
    """Smoothed times of one model. Seconds."""

    __slots__ = ("_shared", "calls", "companions", "seconds")

    def __init__(self) -> None:
        self.seconds = 0.0
        """What one request takes of a slot's time: a call's, or its share of a call with others."""
        self.calls = 0
        self.companions = 0
        """Requests that were computed in the call of another one."""
        self._shared = 0.0

    def add(self, seconds: float) -> None:
        """Take note of one finished call."""
        self.calls += 1
        if self.calls == 1:
            self.seconds = seconds
        else:
            self.seconds += _WEIGHT * (seconds - self.seconds)

    def add_shared(self, seconds: float, requests: int) -> None:
        """Take note of one finished call that computed so many requests."""
        self.add(seconds / requests)
        if requests > 1:
            self.companions += requests - 1
        self._shared += (_WEIGHT if self._shared else 1.0) * (seconds - self._shared)

    def late(self, seconds: float) -> None:
        """Take note of a call that was given up after so long, at its deadline."""

    @property
    def call(self) -> float:
        """What a whole call takes."""
        return self._shared or self.seconds

    @property
    def requests(self) -> int:
        """Requests that were computed so far."""
        return self.calls + self.companions

    def wait(self, ahead: int, capacity: int) -> float:
        """Seconds until ``ahead`` requests are done by ``capacity`` calls at a time."""
        return self.seconds * ahead / capacity

    @property
    def known(self) -> bool:
        """Whether enough calls were seen to turn requests away because of it."""
        return self.calls >= _ENOUGH
