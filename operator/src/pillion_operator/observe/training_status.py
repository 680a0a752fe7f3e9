"""Asking the pod of a training how far it is: `GET http://{pod}:8082/status`, only to report.

A pod that cannot be reached (a NetworkPolicy, an operator outside the cluster) costs the status its progress; how the
training ends comes from the Job and from the pod's last word.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import aiohttp

from pillion_operator.judge.training_pods import is_training
from pillion_operator.observe.pod_status import ask
from pillion_operator.state.manifest import Manifest, count_at, finite, object_at, text_at
from pillion_operator.state.names import ADMIN_PORT
from pillion_operator.state.observed import TrainingReport

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["TrainingStatusReader", "report_of"]

_TIMEOUT: Final = aiohttp.ClientTimeout(total=1.0, connect=0.5)
_MOST_BYTES: Final = 64 * 1024
_MOST_METRICS: Final = 50
_TEXT: Final = 500


class TrainingStatusReader:
    """Reads `/status` of the pod that trains."""

    def __init__(self, session: aiohttp.ClientSession, port: int = ADMIN_PORT) -> None:
        self._session = session
        self._port = port

    async def read(self, pods: Iterable[Manifest]) -> TrainingReport | None:
        """Return what the first running pod says, None where none can be asked."""
        trains = next((pod for pod in pods if is_training(pod) and text_at(pod, "status", "podIP")), None)
        if trains is None:
            return None
        try:
            return report_of(await ask(self._session, trains, self._port, _TIMEOUT, _MOST_BYTES))
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return None


def report_of(content: bytes) -> TrainingReport | None:
    """Read an answer; what is not as documented is passed over."""
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        return None
    told = object_at(answer, "training") if isinstance(answer, dict) else {}
    if not told:
        return None
    progress = finite(told.get("progress"))
    numbers = {name[:_TEXT]: finite(value) for name, value in object_at(told, "metrics").items()}
    metrics = sorted((name, value) for name, value in numbers.items() if value is not None)
    return TrainingReport(
        None if progress is None else min(1.0, max(0.0, progress)),
        dict(metrics[:_MOST_METRICS]),
        count_at(told, "checkpoint"),
        text_at(told, "warning")[:_TEXT],
    )
