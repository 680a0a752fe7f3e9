"""What a pod is doing, and which of its containers to listen to when it is not well. Pure.

Source: core/v1 PodStatus and ContainerStatus.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pillion.cli.cluster.objects import condition, number_at, object_at, objects_at, text_at, value_at

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pillion.cli.cluster.objects import Object

__all__ = ["Voice", "containers", "is_ready", "restarts", "state", "telling_line", "voice"]

_LINE_LIMIT: Final = 300
_SERIOUS: Final = frozenset({"error", "critical", "fatal", "warning"})


@dataclass(frozen=True, slots=True)
class Voice:
    """A container whose log tells why its pod is not ready.

    Attributes:
        container: its name.
        previous: whether its last run tells, as the current one has not begun.
    """

    container: str
    previous: bool


def is_ready(pod: Object) -> bool:
    """Whether the pod is ready and stays."""
    return condition(pod, "Ready").get("status") == "True" and not text_at(pod, "metadata", "deletionTimestamp")


def restarts(pod: Object) -> int:
    """How often its containers were started again, all together."""
    return sum(number_at(status, "restartCount") for status in _statuses(pod))


def containers(pod: Object) -> list[str]:
    """The containers that have been started, and so have logs, in the order of their start."""
    return [text_at(status, "name") for status in _statuses(pod) if _has_run(status)]


def state(pod: Object) -> str:
    """One word or two for what the pod is doing, as `kubectl get pods` says it."""
    if text_at(pod, "metadata", "deletionTimestamp"):
        return "Terminating"
    if said := text_at(pod, "status", "reason"):
        return said
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        return text_at(scheduled, "reason") or "Pending"
    for initial, status in _each(pod):
        waiting, ended = object_at(status, "state", "waiting"), object_at(status, "state", "terminated")
        if initial and ended and number_at(ended, "exitCode") == 0:
            continue
        prefix = "Init:" if initial else ""
        if reason := text_at(waiting, "reason") or text_at(ended, "reason"):
            return prefix + reason
        if initial and value_at(status, "started") is not True:
            return f"{prefix}{text_at(status, 'name')}"
    if is_ready(pod):
        return "Running"
    phase = text_at(pod, "status", "phase") or "Pending"
    return "Running, not ready" if phase == "Running" else phase


def voice(pod: Object) -> Voice | None:
    """The container to listen to; None where none has said anything yet, or all is well."""
    if is_ready(pod) or text_at(pod, "metadata", "deletionTimestamp"):
        return None
    for status in _statuses(pod):
        ended = object_at(status, "state", "terminated")
        if (ended and number_at(ended, "exitCode") == 0) or not _has_run(status):
            continue
        if value_at(status, "ready") is not True:
            return Voice(text_at(status, "name"), previous=bool(object_at(status, "state", "waiting")))
    return None


def telling_line(log: str) -> str:
    """The last line that tells something: the last error or warning, where lines have levels, else the last line."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    told = [_read(line) for line in lines]
    serious = [text for level, text in told if level in _SERIOUS]
    last = serious[-1] if serious else told[-1][1] if told else ""
    return last if len(last) <= _LINE_LIMIT else f"{last[: _LINE_LIMIT - 1]}…"


def _read(line: str) -> tuple[str, str]:
    """Level and text of a line, which may be JSON."""
    if line.startswith("{"):
        try:
            given = json.loads(line)
        except ValueError:
            return "", line
        if isinstance(given, dict) and isinstance(given.get("message"), str):
            return str(given.get("level", "")).lower(), given["message"]
    return "", line


def _statuses(pod: Object) -> Sequence[Object]:
    return [status for _, status in _each(pod)]


def _each(pod: Object) -> list[tuple[bool, Object]]:
    """Every container's status, and whether it is an init container."""
    found = [(True, status) for status in objects_at(pod, "status", "initContainerStatuses")]
    return found + [(False, status) for status in objects_at(pod, "status", "containerStatuses")]


def _has_run(status: Object) -> bool:
    begun = object_at(status, "state", "running") or object_at(status, "state", "terminated")
    return bool(begun or object_at(status, "lastState", "terminated"))
