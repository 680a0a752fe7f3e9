"""A worker's end of a stream: items go out one by one, never more than the server has said that there is room for."""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING, Any

from pillion.execution.messages import Item
from pillion.execution.values import written_value

if TYPE_CHECKING:
    from collections.abc import Callable

    from pillion.execution.messages import Credit
    from pillion.execution.worker_connection import Connection

__all__ = ["Outlet"]


class Outlet:
    """See :class:`~pillion.execution.stream.ItemSink`. In the worker's main thread, but for :meth:`close`.

    Args:
        call: number of the call that streams.
        room: items that the server takes before it says more.
        connection: to the server.
        on_closing: called when the writer is told that nobody reads any more.
    """

    def __init__(self, call: int, room: int, connection: Connection, on_closing: Callable[[], None]) -> None:
        self._call = call
        self._room = room
        self._connection = connection
        self._on_closing = on_closing
        self._closed = False

    def credit(self, message: Credit) -> None:
        """There is room for more."""
        if message.id == self._call:
            self._room += message.room

    def close(self) -> None:
        """Nobody reads any more. From any thread."""
        self._closed = True
        os.eventfd_write(self._connection.bell, 1)

    def put(self, item: Any) -> bool:  # noqa: ANN401 - any plain value
        """Send an item, waiting for room; False where nobody reads any more."""
        while self._room <= 0 and not self._closed:
            self._wait()
        return self._send(item)

    async def put_async(self, item: Any) -> bool:  # noqa: ANN401 - any plain value
        """The same for a writer on an event loop."""
        while self._room <= 0 and not self._closed:
            await self._connection.received()
            if self._connection.ended:
                self._closed = True
        return self._send(item)

    def _send(self, item: Any) -> bool:  # noqa: ANN401 - any plain value
        if self._closed:
            self._on_closing()
            return False
        self._room -= 1
        self._connection.send_midway(Item(self._call, written_value(item)))
        return True

    def _wait(self) -> None:
        """For the server or for the bell. Calls that come meanwhile are kept for later."""
        bell, data = self._connection.bell, self._connection.fileno()
        poll = select.poll()
        poll.register(bell, select.POLLIN)
        poll.register(data, select.POLLIN)
        for descriptor, _ in poll.poll():
            if descriptor == data:
                self._receive()
            else:
                os.eventfd_read(bell)

    def _receive(self) -> None:
        try:
            self._connection.receive_midway()
        except EOFError:
            self._closed = True
