"""How often something may happen: so many times at once, and then so many times a second."""

from __future__ import annotations

__all__ = ["Budget"]


class Budget:
    """A bucket that fills with time."""

    __slots__ = ("_at", "_left", "_most", "_per_second")

    def __init__(self, most: float, per_second: float, now: float) -> None:
        self._most = most
        self._per_second = per_second
        self._left = most
        self._at = now

    def spend(self, now: float) -> bool:
        """Take one; False where none is left."""
        self._left = min(self._most, self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
