"""Values that were read a moment ago, so that a burst of reconciles asks the API server once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

V = TypeVar("V")

_LIMIT: Final = 4096
#: What is there changes seldom; what is missing is being waited for.
FOUND_SECONDS: Final = 30.0
MISSING_SECONDS: Final = 2.0


class Remembered(Generic[V]):
    """Values by key, each for a time of its own."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._values: dict[object, tuple[float, V]] = {}

    def get(self, key: object) -> V | None:
        """Return the value, None where it is unknown or too old."""
        until, value = self._values.get(key, (0.0, None))
        return value if self._clock() < until else None

    def put(self, key: object, value: V, *, found: bool) -> V:
        """Remember and return the value; `found` says whether the object it is about is there."""
        if len(self._values) >= _LIMIT:
            self._values.clear()
        self._values[key] = (self._clock() + (FOUND_SECONDS if found else MISSING_SECONDS), value)
        return value
