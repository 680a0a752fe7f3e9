"""What a WebSocket's application is told, whenever it stops waiting."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from pillion.applications.conversation import Conversation

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    Message = MutableMapping[str, Any]


async def test_a_message_that_comes_as_its_wait_is_cancelled_is_the_next_one_s() -> None:
    incoming: asyncio.Queue[Message] = asyncio.Queue()
    taken: list[str] = []
    turns = range(12)

    async def talk(
        _: Message, receive: Callable[[], Awaitable[Message]], __: Callable[[Message], Awaitable[None]]
    ) -> None:
        for number in turns:
            waiting = asyncio.ensure_future(receive())
            await asyncio.sleep(0.01)
            incoming.put_nowait({"type": "websocket.receive", "text": str(number)})
            for _turn in range(number):  # it is cancelled at each step of the message's way in turn
                await asyncio.sleep(0)
            waiting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                taken.append((await waiting)["text"])
        while len(taken) < len(turns):
            taken.append((await asyncio.wait_for(receive(), 60))["text"])

    async def send(_: Message) -> None:
        """Nothing is listened to."""

    await Conversation("talk", {"type": "websocket"}, incoming.get, send, "id", 60.0).run(talk)

    assert [str(number) for number in turns] == taken
