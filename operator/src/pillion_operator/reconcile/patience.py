"""How long to wait before looking again at what stays as it is: ever longer, up to a bound."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from pillion_operator.reconcile.workqueue import backoff

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

K = TypeVar("K", bound="Hashable")

__all__ = ["Patience"]


class Patience(Generic[K]):
    """The looks at each key's standing trouble.

    Args:
        clock: seconds that only ever grow.
        first: seconds until the second look.
        most: seconds between two looks, at most.
    """

    def __init__(self, clock: Callable[[], float], first: float, most: float) -> None:
        self._clock = clock
        self._first = first
        self._most = most
        self._known: dict[K, tuple[object, int, float]] = {}

    def seconds(self, key: K, trouble: object) -> float:
        """Return the seconds until the next look is due.

        They double with each look that was due and found the same; other trouble begins anew, and a look that
        something else caused before its time leaves the time as it was.

        Args:
            key: what is looked at.
            trouble: compared with that of the look before.
        """
        before, looks, due = self._known.get(key, (None, 0, 0.0))
        now = self._clock()
        if looks and before == trouble and now < due:
            return due - now
        looks = looks + 1 if looks and before == trouble else 1
        wait = backoff(looks, first=self._first, most=self._most)
        self._known[key] = (trouble, looks, now + wait)
        return wait

    def forget(self, key: K) -> None:
        """Say that there is no trouble any more."""
        self._known.pop(key, None)
