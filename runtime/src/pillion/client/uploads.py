"""What has been sent of a request, and until when its answer must be there."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Ends", "Upload"]


class Upload:
    """A request whose sending may take longer than its answer may. Its time begins anew with each piece that is sent.

    Args:
        progress: called with the bytes that were sent so far, and those that there are.
        total: bytes; 0 where the transport finds out.
    """

    def __init__(self, progress: Callable[[int, int], object] | None = None, total: int = 0) -> None:
        self._progress = progress
        self._total = total
        self._sent = 0

    def begins(self, total: int = 0) -> None:
        """It is sent from its beginning, be it the first time or again."""
        self._sent = 0
        self._total = total or self._total

    def sent(self, size: int) -> None:
        """A piece has been handed to the connection, ``size`` bytes."""
        self._sent += size
        if self._progress is not None:
            self._progress(self._sent, max(self._total, self._sent))


class Ends:
    """The moment when a call's time is up.

    Args:
        seconds: for the call; of an upload since its last piece.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._at = time.monotonic() + seconds

    def put_off(self) -> None:
        """The seconds begin now."""
        self._at = time.monotonic() + self._seconds

    @property
    def left(self) -> float:
        """Seconds, negative when it is over."""
        return self._at - time.monotonic()
