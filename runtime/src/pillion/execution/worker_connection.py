"""A worker's end of the socket to its server."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections import deque
from typing import TYPE_CHECKING

import msgspec

from pillion.execution.frames import Inbox, descriptors, frame
from pillion.execution.messages import TO_WORKER, Answered, Call, Credit

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from pillion.execution.messages import FromWorker, Record

__all__ = ["Connection"]


class Connection:
    """Any thread may send; the main thread receives."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self.inbox = Inbox(connection, TO_WORKER)
        self.calls: deque[Call] = deque()
        """Received and not begun."""
        self.on_credit: Callable[[Credit], None] = lambda _: None
        """Called in the main thread when the reader of a stream has made room."""
        self.on_answer: Callable[[Answered], None] = lambda _: None
        """The same when another model has answered."""
        self.ended = False
        """Whether the server wants no more; seen on an event loop."""
        self._waiting: set[asyncio.Future[None]] = set()
        self._encoder = msgspec.msgpack.Encoder()
        self._lock = threading.Lock()
        self._main = threading.main_thread().ident
        self.midway = False
        """Whether the main thread, within a call, is at a message: no half of one may stay on the wire or be lost."""
        self.after: Callable[[], None] = lambda: None
        """Called in the main thread after each such message."""
        self.bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        """Wakes the main thread where it waits for room."""

    def fileno(self) -> int:
        """Of the socket."""
        return self._socket.fileno()

    def send(self, message: FromWorker, files: list[int] | None = None) -> None:
        """Send all of a message, with descriptors."""
        data = frame(self._encoder.encode(message))
        with self._lock:
            sent = self._socket.sendmsg([data], descriptors(files)) if files else self._socket.send(data)
            if sent < len(data):
                self._socket.sendall(memoryview(data)[sent:])

    def send_midway(self, message: FromWorker) -> None:
        """The same from within a call."""
        self.midway = True
        try:
            self.send(message)
        finally:
            self.midway = False
        self.after()

    def receive(self) -> None:
        """Read what has come, waiting for it.

        Raises:
            EOFError: the server wants no more.
        """
        for message in self.inbox.receive():
            if isinstance(message, Call):
                self.calls.append(message)
            elif isinstance(message, Credit):
                self.on_credit(message)
            elif isinstance(message, Answered):
                self.on_answer(message)

    def receive_midway(self) -> None:
        """The same from within a call.

        Raises:
            EOFError: the server wants no more.
        """
        self.midway = True
        try:
            self.receive()
        finally:
            self.midway = False
        self.after()

    async def received(self) -> None:
        """Wait on the main thread's event loop until something has come, or nothing comes any more."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        if not self._waiting:  # one reader for all that wait: the loop takes one
            loop.add_reader(self.fileno(), self._read)
        self._waiting.add(waiter)
        try:
            await waiter
        finally:
            self._waiting.discard(waiter)
            if not self._waiting:
                loop.remove_reader(self.fileno())

    def _read(self) -> None:
        try:
            self.receive_midway()
        except EOFError:
            self.ended = True
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)

    def log(self, record: Record) -> None:
        """Send a line for the server's log; lost when the server is gone."""
        with contextlib.suppress(OSError):
            if threading.get_ident() == self._main:
                self.send_midway(record)
            else:
                self.send(record)
