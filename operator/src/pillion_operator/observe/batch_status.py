"""Asking the pods of a batch prediction how far they are: `GET http://{pod}:8082/status`, only to report.

Pods that cannot be reached (a NetworkPolicy, an operator outside the cluster) cost the status their progress while
they run; what they have done comes with their last words.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Final

import aiohttp

from pillion_operator.judge.batch_pods import is_predicting, report_in
from pillion_operator.observe.pod_status import ask
from pillion_operator.state.manifest import Manifest, key_of, text_at
from pillion_operator.state.names import ADMIN_PORT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pillion_operator.state.observed import BatchReport

__all__ = ["BatchStatusReader"]

_TIMEOUT: Final = aiohttp.ClientTimeout(total=1.0, connect=0.5)
_MOST_BYTES: Final = 16 * 1024
#: Of more pods only so many are asked at each look, all at once: a look takes a second at most.
_MOST_PODS: Final = 64


class BatchStatusReader:
    """Reads `/status` of the pods that predict."""

    def __init__(self, session: aiohttp.ClientSession, port: int = ADMIN_PORT) -> None:
        self._session = session
        self._port = port

    async def read(self, pods: Iterable[Manifest]) -> Mapping[str, BatchReport]:
        """Return what running pods say, by name; those that cannot be asked are left out."""
        running = [pod for pod in pods if is_predicting(pod) and text_at(pod, "status", "podIP")][:_MOST_PODS]
        reports = await asyncio.gather(*map(self._ask, running))
        found = zip(running, reports, strict=True)
        return {key_of(pod).name: report for pod, report in found if report is not None}

    async def _ask(self, pod: Manifest) -> BatchReport | None:
        try:
            answer = json.loads(await ask(self._session, pod, self._port, _TIMEOUT, _MOST_BYTES))
        except (aiohttp.ClientError, TimeoutError, ValueError, RecursionError):
            return None
        return report_in(answer) if isinstance(answer, dict) else None
