"""Asking for a pod: a Deployment without replicas gets one, through its scale subresource and from 0 to 1 only."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from pillion_operator.client.errors import ApiError
from pillion_operator.state.kinds import DEPLOYMENT
from pillion_operator.state.manifest import Key, Manifest, number_at, version_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from pillion_operator.activator.routes import Route
    from pillion_operator.client.kubernetes import KubernetesClient

__all__ = ["Waker"]

_log: Final = logging.getLogger(__name__)
#: All who wait for one Deployment look together, at most this often.
_LOOK_SECONDS: Final = 0.5


class Waker:
    """Wakes Deployments, each once however many connections ask for it. `woken` is told of each."""

    def __init__(self, client: KubernetesClient, clock: Callable[[], float], woken: Callable[[], None]) -> None:
        self._client = client
        self._clock = clock
        self._woken = woken
        self._looks: dict[Key, tuple[float, asyncio.Task[None]]] = {}

    async def wake(self, route: Route) -> None:
        """See that the Deployment asks for a pod; what the API server refuses is logged, and tried again."""
        key = Key(route.namespace, route.service)
        now = self._clock()
        last = self._looks.get(key)
        if last is None or (last[1].done() and now - last[0] >= _LOOK_SECONDS):
            self._forget(now)
            last = self._looks[key] = (now, asyncio.create_task(self._look(key)))
        # One who leaves does not call off what others wait for.
        await asyncio.shield(last[1])

    async def _look(self, key: Key) -> None:
        try:
            scale = await self._client.get(DEPLOYMENT, key, subresource="scale")
            # A count that is absent is 0 here: the field is left out of a Scale where it is.
            if scale is None or number_at(scale, "spec", "replicas") > 0:
                return
            patch: Manifest = {"metadata": {"resourceVersion": version_of(scale)}, "spec": {"replicas": 1}}
            await self._client.merge(DEPLOYMENT, key, patch, subresource="scale")
        except ApiError as error:
            # The other replica of the activator may have been faster.
            level = logging.DEBUG if error.conflict else logging.WARNING
            _log.log(level, "Deployment %s could not be woken: %s", key, error)
        else:
            self._woken()
            _log.info("woke Deployment %s", key)

    def _forget(self, now: float) -> None:
        for key, (at, look) in list(self._looks.items()):
            if look.done() and now - at >= _LOOK_SECONDS:
                del self._looks[key]
