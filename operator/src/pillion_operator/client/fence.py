"""The fence in front of every write: open only while the lease is surely ours.

A leader that was frozen, or whose clock ran on while it could not renew, must not write when it wakes: another may
lead by then. So each write asks the fence right before its bytes go to the socket, and the fence compares a clock
that runs through freezes with the moment up to which the lease is certain.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

import aiohttp

from pillion_operator.client.errors import NotLeaderError

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp.abc import AbstractStreamWriter

__all__ = ["Fence", "FencedBody", "LeaseFence", "OpenFence", "boot_clock"]


def boot_clock() -> float:
    """Seconds of a clock that never goes back and counts the time in which the machine was suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Fence(Protocol):
    """Says whether a write may leave now."""

    def check(self) -> None:
        """Return where it may; raise NotLeaderError where it may not."""


class OpenFence:
    """Lets everything pass: for the lease itself."""

    def check(self) -> None:
        """Return."""


class LeaseFence:
    """Open from a successful renewal until the renew deadline after it; closed for good by `close`."""

    def __init__(self, clock: Callable[[], float] = boot_clock) -> None:
        self._clock = clock
        self._certain_until = float("-inf")

    def extend(self, until: float) -> None:
        """Let writes pass until that time of the clock."""
        self._certain_until = until

    def close(self) -> None:
        """Let nothing pass until the next `extend`."""
        self._certain_until = float("-inf")

    @property
    def is_open(self) -> bool:
        """Whether a write may leave now."""
        return self._clock() < self._certain_until

    def check(self) -> None:
        """Raise NotLeaderError where the lease is not certain any more."""
        if not self.is_open:
            raise NotLeaderError("this replica does not surely hold the lease, so nothing is written")


class FencedBody(aiohttp.BytesPayload):
    """A request body that asks the fence at the moment it is written, after every wait for a connection.

    Headers travel together with the first bytes of the body, so a closed fence means that nothing was sent.
    """

    def __init__(self, content: bytes, content_type: str, fence: Fence) -> None:
        super().__init__(content, content_type=content_type)
        self._fence = fence

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """Write the body, unless the fence is closed."""
        self._fence.check()
        await super().write_with_length(writer, content_length)
