"""A front worker's place under its supervisor: the ports that it is given, and what it is asked."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import TYPE_CHECKING, Any, Protocol

from pillion.server.front.channel import Channel, send
from pillion.server.front.families import taken
from pillion.server.front.messages import (
    FROM_SUPERVISOR,
    Ask,
    AskStop,
    Attached,
    Drain,
    Drained,
    Failed,
    Last,
    View,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping, Sequence

    from pillion.dataplane.live import LiveRequest
    from pillion.metrics import Registry
    from pillion.server.failures import StartError
    from pillion.server.front.messages import Begin, Settled

__all__ = ["Place", "WorkerView"]

_log = logging.getLogger(__name__)


class WorkerView(Protocol):
    """What the supervisor may know and ask of a worker."""

    def unready_reason(self) -> str:
        """Why it should not get requests; empty when it should."""
        ...

    def status(self) -> Mapping[str, Any]:
        """Its ``/status``."""
        ...

    def live(self) -> Sequence[LiveRequest]:
        """Requests that wait or run now."""
        ...

    async def drain(self, deletion: bool) -> None:  # noqa: FBT001 - the control protocol's own field
        """Begin to drain; for a deletion return when the window has ended."""
        ...


class Place:
    """See the module's docstring. Event loop's thread only, but for :meth:`fail`.

    Args:
        begin: what the supervisor said first.
        connection: to it.
        http: the listening socket that all workers share.
    """

    def __init__(self, begin: Begin, connection: socket.socket, http: socket.socket) -> None:
        self.begin = begin
        self.http = http
        self._connection = connection
        self._channel = Channel(connection, FROM_SUPERVISOR)
        self._answering: asyncio.Task[None] | None = None
        self._drains: set[asyncio.Task[None]] = set()
        self._registry: Registry | None = None

    @property
    def ports(self) -> dict[str, int]:
        """The real ports by name; the admin port is the supervisor's."""
        settings = self.begin.settings
        return {"http": settings.http.port, "grpc": settings.grpc.port, "admin": settings.admin.port}

    async def attach(self, view: WorkerView, registry: Registry) -> None:
        """Answer the supervisor from now on."""
        self._registry = registry
        await self._channel.open()
        self._channel.send(Attached())
        self._answering = asyncio.create_task(self._answer(view, registry))

    def settled(self, message: Settled) -> None:
        """Tell that the first models are loaded or have failed, and the data ports are open."""
        self._channel.send(message)

    def ask_stop(self) -> None:
        """Have the supervisor stop the whole server."""
        self._channel.send(AskStop())

    def fail(self, failure: StartError) -> None:
        """Tell why there is no start. Before an event loop runs, or after."""
        try:
            send(self._connection, Failed(code=int(failure.code), message=str(failure)))
        except OSError:
            _log.debug("the supervisor is gone")

    def give_up(self, failure: StartError) -> None:
        """Tell that the ports cannot be opened after all."""
        self._channel.send(Failed(code=int(failure.code), message=str(failure)))

    async def close(self) -> None:
        """Tell what was counted, and end."""
        # Nothing has been shown of a worker that was never asked, so no sum goes back without it.
        if self._registry is not None and "prometheus_client" in sys.modules:
            self._channel.send(Last(families=taken(self._registry.collect())))
        await self._channel.close()
        tasks = [task for task in (self._answering, *self._drains) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _answer(self, view: WorkerView, registry: Registry) -> None:
        async for message in self._channel.messages():
            if isinstance(message, Ask):
                self._channel.send(_view(message, view, registry))
            elif isinstance(message, Drain):
                task = asyncio.create_task(self._drain(view, message))
                self._drains.add(task)
                task.add_done_callback(self._drains.discard)

    async def _drain(self, view: WorkerView, asked: Drain) -> None:
        await view.drain(asked.deletion)
        self._channel.send(Drained(id=asked.id))


def _view(asked: Ask, view: WorkerView, registry: Registry) -> View:
    reason = view.unready_reason()
    return View(
        id=asked.id,
        ready=not reason,
        reason=reason,
        status=dict(view.status()),
        families=taken(registry.collect()) if asked.families else None,
        live=list(view.live()) if asked.live else None,
    )
