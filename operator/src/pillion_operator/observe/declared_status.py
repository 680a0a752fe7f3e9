"""Asking pods about the models that Model objects declare: their part of `GET http://{pod}:8082/status`.

Every Model of a service asks the same pods, so an answer serves all who ask within a second. The answers are bounded
in number, size and time, and never lead to another address.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import aiohttp
import msgspec

from pillion_operator.observe.pod_status import ask
from pillion_operator.state.declared import DeclaredReport, PodReport, reports_of
from pillion_operator.state.manifest import Manifest, key_of, text_at, uid_of
from pillion_operator.state.names import ADMIN_PORT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["DeclaredReport", "DeclaredStatusReader"]

_TIMEOUT: Final = aiohttp.ClientTimeout(total=2.0, connect=1.0)
_MOST_BYTES: Final = 1024 * 1024
_AT_A_TIME: Final = 16
_FRESH_SECONDS: Final = 1.0
_REMEMBERED: Final = 4096


class DeclaredStatusReader:
    """Reads what pods say of declared models."""

    def __init__(self, session: aiohttp.ClientSession, clock: Callable[[], float], port: int = ADMIN_PORT) -> None:
        self._session = session
        self._clock = clock
        self._port = port
        self._slots = asyncio.Semaphore(_AT_A_TIME)
        self._known: dict[str, tuple[float, asyncio.Task[PodReport]]] = {}

    async def read(self, pods: Sequence[Manifest]) -> tuple[PodReport, ...]:
        """Return one report for each pod, in their order."""
        return tuple(await asyncio.gather(*(asyncio.shield(self._asked(pod)) for pod in pods)))

    def _asked(self, pod: Manifest) -> asyncio.Task[PodReport]:
        uid, now = uid_of(pod), self._clock()
        until, task = self._known.get(uid, (0.0, None))
        if task is not None and now < until:
            return task
        if len(self._known) >= _REMEMBERED:
            self._known = {known: entry for known, entry in self._known.items() if now < entry[0]}
        task = asyncio.get_running_loop().create_task(self._ask(pod))
        self._known[uid] = (now + _FRESH_SECONDS, task)
        return task

    async def _ask(self, pod: Manifest) -> PodReport:
        name = key_of(pod).name
        if not text_at(pod, "status", "podIP"):
            return PodReport(name)
        try:
            async with self._slots:
                content = await ask(self._session, pod, self._port, _TIMEOUT, _MOST_BYTES)
            return reports_of(name, msgspec.json.decode(content))
        except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError, RecursionError):
            return PodReport(name)
