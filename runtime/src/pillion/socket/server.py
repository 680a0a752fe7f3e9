"""The server of a :class:`~pillion.socket.SocketApplication`."""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Final, Self

from pillion.socket.address import Address, peer_uid, tcp_listener
from pillion.socket.application import NOTHING, SocketApplication, described
from pillion.socket.channel import Channel
from pillion.socket.errors import ProtocolError
from pillion.socket.frames import NO_DATA, Kind
from pillion.socket.values import pack, size_of, unpack
from pillion.socket_file import SocketFile

if TYPE_CHECKING:
    import os
    import socket
    import ssl
    from collections.abc import Collection

    from pillion.socket.frames import Message
    from pillion.socket.values import Part

__all__ = ["SocketServer"]

_log: Final = logging.getLogger("pillion.socket")
_TO_LEAVE_SECONDS: Final = 1.0
_MOST_UNWRITTEN: Final = 16 * 1024 * 1024
"""Bytes of answers that wait for one client to read; then no further request of it is begun."""
_FAILED: Final = "ServerError"
_STRANGER: Final = "a token is asked for, and none was given: set token="


class SocketServer:
    """Answers on a unix socket, or on a TCP port.

    Args:
        app: what answers.
        path: of the unix socket; a file that a dead server left is replaced.
        host: of TCP; anything but loopback needs ``tls`` or ``token``.
        port: of TCP; 0 lets the system choose, see :attr:`port`.
        mode: permission bits of the socket's file: who may connect.
        uids: users that may connect to a unix socket, by number, whatever the mode admits; None: all that it admits.
        tls: a context of the server's side.
        token: a secret that clients have to give.
        max_bytes: of a request; larger ones are refused.
        max_requests: in progress of one connection; reading from it pauses at that, others go on.
        backlog: connections that the kernel holds until they are accepted.
        grace_seconds: for requests in progress at a stop; what is left then is cancelled.
        stall_seconds: for a client to greet, and to go on within a request that it has begun.
        shutdown_route: a path that stops the server; None: there is none.

    Raises:
        ValueError: what was given does not go together.
    """

    def __init__(
        self,
        app: SocketApplication,
        *,
        path: str | os.PathLike[str] | None = None,
        host: str | None = None,
        port: int | None = None,
        mode: int = 0o600,
        uids: Collection[int] | None = None,
        tls: ssl.SSLContext | None = None,
        token: str | None = None,
        max_bytes: int = 64 * 1024 * 1024,
        max_requests: int = 256,
        backlog: int = 2048,
        grace_seconds: float = 30.0,
        stall_seconds: float = 30.0,
        shutdown_route: str | None = None,
    ) -> None:
        self._app = app
        self._address = Address.of(path, host, port)
        self._address.check_safe(tls, token)
        if self._address.path and tls is not None:
            raise ValueError("tls is for TCP: over a unix socket nothing leaves the machine")
        if uids is not None and not self._address.path:
            raise ValueError("uids are of a unix socket's clients: with TCP, set token= or tls=")
        if shutdown_route is not None and shutdown_route in app.paths:
            raise ValueError(f"shutdown_route {shutdown_route} is a path of the application")
        if max_requests < 1 or max_bytes < 1:
            raise ValueError("max_requests and max_bytes have to be 1 at least")
        self._mode = mode
        self.uids = uids
        self._tls = tls
        self.token = token
        self.max_bytes = max_bytes
        self.max_requests = max_requests
        self._backlog = backlog
        self._grace = grace_seconds
        self.stall_seconds = stall_seconds
        self.shutdown_route = shutdown_route
        self._connections: set[_Connection] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        """Requests in progress; those that want no answer outlive their connections."""
        self._stop: asyncio.Event | None = None
        self._started: asyncio.Event | None = None
        self._listener: socket.socket | None = None

    @property
    def port(self) -> int:
        """The real port of TCP, while it serves."""
        if self._listener is None or self._address.path:
            raise RuntimeError("the server does not serve on a port now")
        port: int = self._listener.getsockname()[1]
        return port

    async def serve(self) -> None:
        """Serve until :meth:`stop`, the shutdown route, or a cancellation; then let requests in progress end.

        Raises:
            OSError: the path or port cannot be used.
        """
        if self._stop is not None:
            raise RuntimeError("the server serves already")
        file = SocketFile(self._address.path, self._mode) if self._address.path else None
        listener = file.listen(self._backlog) if file is not None else tcp_listener(self._address, self._backlog)
        loop = asyncio.get_running_loop()
        self._listener, self._stop = listener, asyncio.Event()
        try:
            serving = loop.create_unix_server if file is not None else loop.create_server
            server = await serving(
                lambda: _Connection(self, self._app).channel, sock=listener, ssl=self._tls, backlog=self._backlog
            )
            _log.info("listening on %s", self._address if self._address.path else f"{self._address.host}:{self.port}")
            if self._started is not None:
                self._started.set()
            try:
                await self._stop.wait()
            finally:
                server.close()
                if file is not None:
                    file.remove()
                await self._end()
        finally:
            listener.close()
            if file is not None:
                file.remove()
            self._listener = self._stop = None

    async def _end(self) -> None:
        loop = asyncio.get_running_loop()
        for connection in self._connections:
            connection.leave()
        deadline = loop.time() + self._grace
        try:
            while self.tasks and loop.time() < deadline:
                await asyncio.wait(self.tasks, timeout=deadline - loop.time())
        finally:
            left = list(self.tasks)
            for task in left:
                task.cancel()
            if left:
                _log.warning("%d requests were cut", len(left))
                await asyncio.wait(left, timeout=_TO_LEAVE_SECONDS)
            closing = [connection.channel.closed for connection in self._connections]
            for connection in list(self._connections):
                connection.channel.finish()
            if closing:
                await asyncio.wait(closing, timeout=_TO_LEAVE_SECONDS)
            for connection in list(self._connections):
                connection.channel.abort()

    def stop(self) -> None:
        """Have :meth:`serve` return. On its event loop only; any number of times."""
        if self._stop is not None:
            self._stop.set()

    @property
    def stopping(self) -> bool:
        """Whether a stop has been asked for."""
        return self._stop is not None and self._stop.is_set()

    def add(self, connection: _Connection) -> None:
        """A client has come."""
        self._connections.add(connection)

    def discard(self, connection: _Connection) -> None:
        """And is gone."""
        self._connections.discard(connection)

    # --- beside a program

    async def __aenter__(self) -> Self:
        self._started = asyncio.Event()
        self._task = asyncio.create_task(self.serve())
        started = asyncio.create_task(self._started.wait())
        try:
            await asyncio.wait((self._task, started), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._task.cancel()
            raise
        finally:
            started.cancel()
        if self._task.done():
            self._task.result()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stop()
        await self._task


class _Connection:
    """A client of the server."""

    def __init__(self, server: SocketServer, app: SocketApplication) -> None:
        self._server = server
        self._app = app
        self._waiting: deque[Message] = deque()
        self._running: dict[int, asyncio.Task[None]] = {}
        self._in_progress = 0
        """Requests that run, and those whose answers are not written yet."""
        self._unwritten = 0
        """Bytes of these answers."""
        self._posts = 0
        self._ids: set[int] = set()
        """Of all that wait or run."""
        self._admitted = server.token is None
        self._max_answer = 0
        self._left = False
        """Whether nobody reads what is sent any more."""
        self._refused = False
        self.channel = Channel(self, max_bytes=server.max_bytes, stall_seconds=server.stall_seconds, cut_deaf=True)

    # --- the channel's peer

    def made(self) -> None:
        """Be known to the server."""
        self._server.add(self)

    def greeted(self, max_bytes: int) -> None:
        """Look who it is."""
        self._max_answer = max_bytes
        uids = self._server.uids
        if uids is not None:
            uid = peer_uid(self.channel.end)
            if uid not in uids:
                self._refuse(f"user {uid} may not connect here")
                return
        if self._server.stopping:
            self.leave()

    def received(self, messages: list[Message]) -> None:
        """Begin what has come, as far as there is room."""
        for message in messages:
            if self._left or self._refused:
                return
            if message.kind is Kind.TOKEN:
                self._check(message)
            elif not self._admitted:
                self._refuse(_STRANGER)
            elif message.kind is Kind.CANCEL:
                self._cancel(message.id)
            elif message.kind in (Kind.REQUEST, Kind.POST):
                if message.id in self._ids:
                    raise ProtocolError(f"request {message.id} came a second time before its first had ended")
                self._ids.add(message.id)
                self._waiting.append(message)
            else:
                raise ProtocolError(f"a client does not send {message.kind.name}")
        if not self._admitted and not self._refused and self.channel.amid:
            self._refuse(_STRANGER)  # what a stranger sends is not kept until it is whole
        self._begin()

    def lost(self, error: Exception | None) -> None:
        """Cancel what nobody waits for any more; what wants no answer goes on."""
        if isinstance(error, (ProtocolError, TimeoutError)):
            _log.warning("a connection was ended: %s", error)
        self._server.discard(self)
        self._left = True
        for task in self._running.values():
            task.cancel()
        self._in_progress, self._unwritten = len(self._running) + self._posts, 0
        self._waiting = deque(message for message in self._waiting if message.kind is Kind.POST)
        self._begin()

    # --- requests

    def leave(self) -> None:
        """Take no more."""
        self.channel.send(Kind.LEAVING, 0)

    def _check(self, message: Message) -> None:
        expected = self._server.token
        given = unpack(message.body)
        if expected is None or hmac.compare_digest(str(given[0] if given else "").encode(), expected.encode()):
            self._admitted = True
        else:
            self._refuse("the token is wrong")

    def _refuse(self, why: str) -> None:
        _log.warning("a client was refused: %s", why)
        self._refused = True
        self.channel.send(Kind.ERROR, 0, pack(["Refused", why, ""]))
        self.channel.finish()

    def _cancel(self, number: int) -> None:
        task = self._running.get(number)
        if task is not None:
            task.cancel()
        else:
            self._ids.discard(number)
            self._waiting = deque(message for message in self._waiting if message.id != number)

    def _begin(self) -> None:
        limit = self._server.max_requests
        while self._waiting and self._in_progress < limit and self._unwritten < _MOST_UNWRITTEN:
            message = self._waiting.popleft()
            if message.refused:
                text = f"the request has {message.refused} bytes and the server takes at most {self._server.max_bytes}"
                self._ids.discard(message.id)
                self._answer_error(message, [_FAILED, text, ""])
                continue
            self._in_progress += 1
            task = asyncio.create_task(self._handle(message))
            self._server.tasks.add(task)
            if message.kind is Kind.POST:
                self._posts += 1
            else:
                self._running[message.id] = task
            task.add_done_callback(partial(self._ended, message))
        if self._waiting:
            self.channel.pause()
        else:
            self.channel.resume()

    def _ended(self, message: Message, task: asyncio.Task[None]) -> None:
        self._server.tasks.discard(task)
        self._ids.discard(message.id)
        self._in_progress -= 1
        if message.kind is Kind.POST:
            self._posts -= 1
        else:
            self._running.pop(message.id, None)
        self._begin()

    def _send(self, kind: Kind, number: int, parts: list[Part]) -> None:
        """Answer; what is not written yet counts as in progress, or one who reads nothing would fill the memory."""
        if self._left:
            return
        size = size_of(parts)
        self._in_progress += 1
        self._unwritten += size
        self.channel.send(kind, number, parts).on_written = partial(self._written, size)

    def _written(self, size: int) -> None:
        if not self._left:
            self._in_progress -= 1
            self._unwritten -= size
            self._begin()

    async def _handle(self, message: Message) -> None:
        try:
            parts = await self._answer(message)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            self._answer_error(message, described(error))  # it awaited what somebody else has cancelled
        except Exception as error:  # noqa: BLE001 - whatever the application raises is the answer
            self._answer_error(message, described(error))
        else:
            if message.kind is Kind.REQUEST:
                self._send(Kind.RESPONSE, message.id, parts)

    async def _answer(self, message: Message) -> list[Part]:
        path, *data = unpack(message.body) or [None]
        if not isinstance(path, str):
            raise ProtocolError("a request without a path")
        given = NOTHING if message.flags & NO_DATA or not data else data[0]
        if path == self._server.shutdown_route:
            self._server.stop()
            return pack([None])
        parts = pack([await self._app.handle_request(path, given)])
        if size_of(parts) > self._max_answer:
            raise ValueError(
                f"the answer of {path} has {size_of(parts)} bytes and the client takes at most {self._max_answer}: "
                "raise its max_bytes"
            )
        return parts

    def _answer_error(self, message: Message, told: list[str]) -> None:
        if message.kind is Kind.POST:
            _log.error("a request that wants no answer failed: %s: %s\n%s", *told)
        else:
            self._send(Kind.ERROR, message.id, pack(told))
