"""The end of a client's messages, told apart from its leaving.

grpc.aio ends the iteration over the messages of a call also where the client has cancelled it, and cancels the handler
with the next event that it takes from its queue. Code that sums up what it was sent would take the half of an upload
for the whole. So the end counts only once an event that was asked for after it has come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from grpc.aio import ServicerContext

    Context = ServicerContext[Any, Any]

__all__ = ["until_true_end"]

_LOOKS: Final = 2


async def until_true_end(messages: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
    """The messages of a call, and the end of them only where it is one: else the call is cancelled in here."""
    async for message in messages:
        yield message
    if not getattr(context, "tells_leaving", False):
        for _ in range(_LOOKS):
            await context.read()
