"""Room for so many at a time; who comes when there is none waits in line."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress

__all__ = ["Room"]


class Room:
    """As :class:`asyncio.Semaphore`, and asked without waiting as well. Event loop's thread only.

    Args:
        places: how many.
    """

    __slots__ = ("_free", "_waiting")

    def __init__(self, places: int) -> None:
        self._free = places
        self._waiting: deque[asyncio.Future[None]] = deque()

    def take_now(self) -> bool:
        """Take a place if there is one."""
        if not self._free:
            return False
        self._free -= 1
        return True

    async def take(self) -> None:
        """Take a place when there is one."""
        if self.take_now():
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release()  # it was given one in the same moment
            else:
                with suppress(ValueError):  # it was passed over already
                    self._waiting.remove(turn)
            raise

    def release(self) -> None:
        """Give a place back: to who waits longest."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
