"""The activator as a process: puts the parts together and keeps them running until told to stop."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector

from pillion_operator.activator.connections import Connections
from pillion_operator.activator.follow import follow
from pillion_operator.activator.metrics import ActivatorMetrics
from pillion_operator.activator.ports import Ports
from pillion_operator.activator.presence import Presence, Replicas
from pillion_operator.activator.slices import Slices
from pillion_operator.activator.waker import Waker
from pillion_operator.client.fence import OpenFence
from pillion_operator.client.kubernetes import KubernetesClient
from pillion_operator.probes import ProbeServer
from pillion_operator.state.kinds import ENDPOINT_SLICE, INFERENCE_SERVICE
from pillion_operator.state.names import OWNER_LABEL, SERVICE_NAME_LABEL

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

    from pillion_operator.activator.settings import ActivatorSettings
    from pillion_operator.client.connection import Connection

__all__ = ["Activator"]

_log: Final = logging.getLogger(__name__)
#: How often a port that could not be opened is tried again.
_AGAIN_SECONDS: Final = 5.0
#: How long an operator may take to come that writes slices as this release reads them. Those of a service with a
#: manifest that it refuses it leaves: two replicas, one after the other, are to be ready within helm's five minutes.
_TAKE_OVER_SECONDS: Final = 120.0


class Activator:
    """One replica. All do the same: which of two is faster to wake a Deployment makes no difference."""

    def __init__(self, settings: ActivatorSettings, connection: Connection) -> None:
        self._settings = settings
        self._connection = connection
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        self._metrics = ActivatorMetrics(self._registry)
        self._stop = asyncio.Event()
        self._began = time.monotonic()
        self._map_news, self._presence_news = asyncio.Event(), asyncio.Event()
        self._slices = Slices(settings.service, self._map_news.set, self._presence_news.set)
        self._replicas = Replicas(self._presence_news.set)
        self._metrics.distrusted.set_function(lambda: self._slices.distrusted)

    def stop(self) -> None:
        """End in an orderly way: become unready, take connections until nobody sends any, let those end."""
        self._stop.set()

    async def run(self) -> int:
        """Run until stopped; return the exit code."""
        settings = self._settings
        # Any replica may write, and what it writes names the version that it has seen.
        async with KubernetesClient(self._connection, OpenFence()) as client:
            waker = Waker(client, time.monotonic, self._metrics.woken.inc)
            connections = Connections(settings, self._slices, waker, self._metrics, time.monotonic)
            ports = Ports(settings.host, connections)
            routes = {"/routes": lambda: {port: str(route) for port, route in ports.open.items()}}
            async with ProbeServer(
                settings.http_host, settings.http_port, self._registry, live=str, ready=self._unready, documents=routes
            ) as probes:
                _log.info("metrics and probes answer on port %d", probes.port)
                return await self._run_until_stopped(client, ports, connections)

    async def _run_until_stopped(self, client: KubernetesClient, ports: Ports, connections: Connections) -> int:
        presence = Presence(client, self._slices, self._replicas, self._settings.addresses, lambda: ports.open)
        work = [*self._follow(client), self._listen(ports), presence.run(self._presence_news)]
        tasks = [asyncio.create_task(one) for one in work]
        stopped = asyncio.create_task(self._stop.wait())
        done, _ = await asyncio.wait({*tasks, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if stopped in done:
            _log.info("stopping: connections are taken for %g s more", self._settings.drain_seconds)
            await asyncio.wait(tasks, timeout=self._settings.drain_seconds, return_when=asyncio.FIRST_COMPLETED)
            ports.close()
            await connections.finish(self._settings.finish_seconds)
        code = 0
        for task in (*tasks, stopped):
            task.cancel()
        for result in await asyncio.gather(*tasks, stopped, return_exceptions=True):
            if isinstance(result, Exception):
                _log.error("a part of the activator failed", exc_info=result)
                code = 1
        return code

    def _follow(self, client: KubernetesClient) -> Iterable[Coroutine[None, None, None]]:
        slices = self._slices
        for one in self._namespaces:
            yield follow(client, INFERENCE_SERVICE, one, slices.owners, metadata_only=True)
            yield follow(client, ENDPOINT_SLICE, one, slices, selector=OWNER_LABEL)
        namespace, _, name = self._settings.service.partition("/")
        yield follow(client, ENDPOINT_SLICE, namespace, self._replicas, selector=f"{SERVICE_NAME_LABEL}={name}")

    async def _listen(self, ports: Ports) -> None:
        while True:
            self._map_news.clear()
            await ports.follow(self._slices.routes)
            # Only what is listened on is led here.
            self._presence_news.set()
            try:
                async with asyncio.timeout(None if ports.open == self._slices.routes else _AGAIN_SECONDS):
                    await self._map_news.wait()
            except TimeoutError:
                continue

    @property
    def _namespaces(self) -> tuple[str, ...]:
        return self._settings.namespaces or ("",)

    def _unready(self) -> str:
        """Say why no connection should be sent here; nothing where it may."""
        if self._stop.is_set():
            return "it is stopping"
        if not self._slices.listed(self._namespaces):
            return "the EndpointSlices are not known yet"
        if time.monotonic() - self._began >= _TAKE_OVER_SECONDS:
            return ""
        if not self._replicas.known:
            return "the activator's other replicas are not known yet"
        # Replicas of that release are there for as long as this one is not ready, and those slices lead to them.
        former = self._slices.left_by_former_release(self._replicas.ready)
        return (
            f"{former} EndpointSlices of a former release are still to be taken over by the operator" if former else ""
        )
