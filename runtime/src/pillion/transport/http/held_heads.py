"""Heads of answers that are held back until the end of the turn of the event loop, for their bodies to join them.

An application sends the head of an answer and its body by two messages, nearly always without waiting between them. The
transport hands each to the kernel at once, and each wakes the client: of a small answer that is a twentieth of all that
it costs. A body that comes in the same turn is written together with its head; where none does, the head goes alone,
for a client may wait for it before a slow body.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio

__all__ = ["HeldHead", "HeldHeads"]


class HeldHead(Protocol):
    """An answer whose head waits."""

    def send_head(self) -> None:
        """Send it, unless the body has taken it along."""
        ...


class HeldHeads:
    """Those of one listener's connections."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: list[HeldHead] = []

    def add(self, answer: HeldHead, loop: asyncio.AbstractEventLoop) -> None:
        """Have its head sent in the next turn of the loop at the latest."""
        if not self._held:
            loop.call_soon(self._send)
        self._held.append(answer)

    def _send(self) -> None:
        held, self._held = self._held, []
        for answer in held:
            answer.send_head()
