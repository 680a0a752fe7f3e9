"""Asking the pods' runtimes about their models: `GET http://{pod}:8082/status`, only to report.

A pod that cannot be reached (a NetworkPolicy, an operator outside the cluster) changes nothing but the detail of the
status: readiness comes from the kubelet.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Final

import aiohttp

from pillion_operator.judge.facts import is_ready
from pillion_operator.observe.pod_status import ask
from pillion_operator.state.manifest import (
    Manifest,
    is_reachable,
    key_of,
    object_at,
    objects_at,
    text_at,
    texts_at,
    uid_of,
    version_of,
)
from pillion_operator.state.names import ADMIN_PORT
from pillion_operator.state.observed import ModelReport

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["RuntimeStatusReader", "reports_of"]

_TIMEOUT: Final = aiohttp.ClientTimeout(total=1.0, connect=0.5)
_MOST_BYTES: Final = 4 * 1024 * 1024
_PODS_ASKED: Final = 3
_REMEMBERED: Final = 4096


class RuntimeStatusReader:
    """Reads `/status` of running pods; what a ready pod said is remembered until the pod changes."""

    def __init__(self, session: aiohttp.ClientSession, port: int = ADMIN_PORT) -> None:
        self._session = session
        self._port = port
        self._known: dict[tuple[str, str], tuple[ModelReport, ...]] = {}

    async def read(self, pods: Iterable[Manifest]) -> tuple[ModelReport, ...]:
        """Return what up to three running pods say, those that are not ready first."""
        running = [pod for pod in pods if _is_asked(pod)]
        running.sort(key=lambda pod: (is_ready(pod), key_of(pod).name))
        answers = await asyncio.gather(*(self._read(pod) for pod in running[:_PODS_ASKED]))
        return tuple(report for reports in answers for report in reports)

    async def _read(self, pod: Manifest) -> tuple[ModelReport, ...]:
        identity = (uid_of(pod), version_of(pod))
        if is_ready(pod) and identity in self._known:
            return self._known[identity]
        try:
            content = await ask(self._session, pod, self._port, _TIMEOUT, _MOST_BYTES)
            answer = json.loads(content) if content else {}
        except (aiohttp.ClientError, TimeoutError, ValueError, RecursionError):
            return ()
        reports = reports_of(key_of(pod).name, answer)
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[identity] = reports
        return reports


def reports_of(pod: str, answer: object) -> tuple[ModelReport, ...]:
    """Read a runtime's answer; what is not as documented is passed over.

    Models that the image brings bear their own names, and keep the pod from being ready as well.
    """
    if not isinstance(answer, dict):
        return ()
    return tuple(
        ModelReport(
            pod,
            text_at(entry, "state"),
            text_at(entry, "reason"),
            {which: texts_at(entry, "libraries", which) for which in object_at(entry, "libraries")},
            text_at(entry, "cause"),
            text_at(entry, "name"),
        )
        for entry in objects_at(answer, "models")
    )


def _is_asked(pod: Manifest) -> bool:
    runs_ours = any(
        text_at(status, "name") == "runtime" and object_at(status, "state", "running")
        for status in objects_at(pod, "status", "containerStatuses")
    )
    return runs_ours and is_reachable(pod)
