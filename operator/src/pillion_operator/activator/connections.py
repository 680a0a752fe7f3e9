"""One connection from its first byte to its end: held, woken for, spliced."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import Counter
from typing import TYPE_CHECKING, Final

from pillion_operator.activator.held import GoneError, HeldBytes, Hold
from pillion_operator.activator.http2 import Http2Error
from pillion_operator.activator.splice import PIECE_BYTES, READER_BYTES, Age, Stream, bound, splice

if TYPE_CHECKING:
    from collections.abc import Callable

    from pillion_operator.activator.metrics import ActivatorMetrics
    from pillion_operator.activator.routes import Route
    from pillion_operator.activator.settings import ActivatorSettings
    from pillion_operator.activator.slices import Slices
    from pillion_operator.activator.waker import Waker

__all__ = ["Connections"]

_log: Final = logging.getLogger(__name__)
#: How often who waits looks by itself: the count may have gone back to 0 after it was seen above.
_LOOK_SECONDS: Final = 1.0
_RETRY_AFTER_SECONDS: Final = 5
#: How long a client that was answered may still send.
_LINGER_SECONDS: Final = 1.0


class Connections:
    """All connections; at most so many at a time, and so many of one Service."""

    def __init__(
        self,
        settings: ActivatorSettings,
        slices: Slices,
        waker: Waker,
        metrics: ActivatorMetrics,
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._slices = slices
        self._waker = waker
        self._metrics = metrics
        self._clock = clock
        self._held = HeldBytes(settings.held_bytes_together, metrics.held.set)
        self._open: Counter[tuple[str, str]] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, route: Route, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection that was accepted for that port of a Service."""
        service = (route.namespace, route.service)
        full = self._open.total() >= self._settings.max_connections
        if full or self._open[service] >= self._settings.max_connections_per_service:
            self._metrics.refused.labels("limit").inc()
            writer.transport.abort()
            return
        self._open[service] += 1
        self._metrics.open.inc()
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        try:
            await self._serve(route, Stream(reader, writer))
        except (GoneError, OSError):
            pass
        except asyncio.CancelledError:
            return  # By `finish`: asyncio of Python 3.11 would report it as an error.
        except Http2Error as error:
            self._metrics.refused.labels("protocol").inc()
            _log.debug("a client of %s sent no HTTP/2 that could be served: %s", route, error)
        finally:
            self._open[service] -= 1
            self._open += Counter()  # drops what is at zero
            self._metrics.open.dec()
            await _close(writer)

    async def finish(self, within: float) -> None:
        """Let connections end by themselves for that long, then end them."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=within)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, route: Route, client: Stream) -> None:
        bound(client)
        hold = Hold(self._held, self._settings.held_bytes)
        try:
            await self._pass_on(route, client, hold)
        finally:
            hold.forget()

    async def _pass_on(self, route: Route, client: Stream, hold: Hold) -> None:
        settings = self._settings
        try:
            async with asyncio.timeout(settings.connection_age_seconds):
                await hold.until_it_wakes(client)
        except TimeoutError:
            return  # It has asked for nothing.
        server = await self._server(route, client, hold)
        if server is None:
            self._metrics.refused.labels("timeout").inc()
            if hold.is_http_1:
                await _answer(client, _unavailable(route.service, settings.wait_seconds))
            return
        try:
            replay, upward, downward = hold.release()
            server.writer.write(replay)
            await server.writer.drain()
            # It may be a large part of what may be held, and the connection may go on for long.
            del replay
            hold.forget()
            age = Age(
                settings.connection_age_seconds, settings.connection_quiet_seconds, settings.connection_grace_seconds
            )
            await splice(client, server, upward, downward, age, self._clock)
        finally:
            await _close(server.writer)

    async def _server(self, route: Route, client: Stream, hold: Hold) -> Stream | None:
        """Return a connection to a Ready pod, None where none came in time; the client is listened to meanwhile."""
        began = self._clock()
        done: set[asyncio.Task[Stream] | asyncio.Task[None]] = set()
        found = asyncio.create_task(self._reach(route))
        held = asyncio.create_task(hold.until_it_leaves(client))
        self._metrics.waiting.inc()
        try:
            done, _ = await asyncio.wait(
                {found, held}, timeout=self._settings.wait_seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if found in done:
                return await found
            if held in done:
                await held  # which says how the client has left
        finally:
            self._metrics.waiting.dec()
            self._metrics.waited.observe(self._clock() - began)
            for task in (found, held):
                task.cancel()
            ended = await asyncio.gather(found, held, return_exceptions=True)
            if found not in done and isinstance(ended[0], Stream):
                await _close(ended[0].writer)
        return None

    async def _reach(self, route: Route) -> Stream:
        """Connect to a pod, asking for one as long as there is none."""
        while True:
            targets = list(self._slices.targets(route))
            random.shuffle(targets)
            for target in targets:
                with contextlib.suppress(OSError, TimeoutError):
                    async with asyncio.timeout(self._settings.connect_seconds):
                        ends = await asyncio.open_connection(target.address, target.port, limit=READER_BYTES)
                    return bound(Stream(*ends))
            # Who stopped the service meanwhile has taken its slice away, and wants no pod.
            if self._slices.stand_for(route):
                await self._waker.wake(route)
            # One that came while the API server was asked is not waited for.
            if targets or not self._slices.targets(route):
                await self._slices.news(_LOOK_SECONDS)


def _unavailable(service: str, waited: float) -> bytes:
    text = f"{service} had no pod that is ready within {waited:g} s; ask again\n".encode()
    head = (
        "HTTP/1.1 503 Service Unavailable\r\n"
        f"Retry-After: {_RETRY_AFTER_SECONDS}\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(text)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + text


async def _answer(client: Stream, answer: bytes) -> None:
    """Send the last bytes, and hear the client out: closing upon what is not read yet would reset them away."""
    client.writer.write(answer)
    client.writer.write_eof()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LINGER_SECONDS):
            while await client.reader.read(PIECE_BYTES):
                pass


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError, TimeoutError):
        async with asyncio.timeout(1.0):
            await writer.wait_closed()
    writer.transport.abort()
