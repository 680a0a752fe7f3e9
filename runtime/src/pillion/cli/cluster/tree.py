"""An InferenceService and what it was made into, as a tree that tells what is well and what is not. Pure."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Final

from pillion.cli.cluster import pods
from pillion.cli.cluster.objects import (
    condition,
    generation,
    name_of,
    number_at,
    objects_at,
    owner_uid,
    text_at,
    value_at,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pillion.cli.cluster.objects import Object

__all__ = ["Condition", "Health", "Node", "Report", "age", "report"]

_HEALTHY_WHEN_FALSE: Final = frozenset({"Stalled", "Stopped", "Reconciling"})
"""Conditions that say something is amiss, or under way, when they hold."""
_REVISION: Final = "serving.pillion.dev/revision"
_ORDER: Final = ("Deployment", "HorizontalPodAutoscaler", "Service", "ConfigMap", "PodDisruptionBudget")


@unique
class Health(StrEnum):
    """How a part is."""

    WELL = "well"
    WAITING = "waiting"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Node:
    """One object of the tree: what it is, how it is, in words, and its last log line where that tells why."""

    kind: str
    name: str
    state: str
    health: Health
    last_line: str = ""
    children: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition of the InferenceService; `stale` where it speaks of an earlier generation."""

    type: str
    status: str
    reason: str
    message: str
    since: str
    health: Health
    stale: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that `pillion status` says."""

    name: str
    namespace: str
    context: str
    ready: bool
    reason: str
    message: str
    root: Node
    conditions: tuple[Condition, ...]
    hidden: tuple[str, ...] = ()


def report(
    service: Object,
    children: Sequence[Object],
    logs: Mapping[str, str],
    *,
    context: str,
    now: dt.datetime,
    hidden: Sequence[str] = (),
) -> Report:
    """Digest what was seen.

    Args:
        service: the InferenceService.
        children: the objects that carry its label.
        logs: the end of the log of each pod that is not well, by the pod's name.
        context: of the kubeconfig.
        now: the time from which ages are counted.
        hidden: in words, what could not be seen.
    """
    conditions = tuple(_condition(item, service, now) for item in objects_at(service, "status", "conditions"))
    ready = next((item for item in conditions if item.type == "Ready"), None)
    stopped = any(item.type == "Stopped" and item.status == "True" for item in conditions)
    reason, message = _verdict(service, ready)
    is_ready = ready is not None and ready.status == "True" and not ready.stale
    health = Health.WELL if is_ready else Health.BAD if _stuck(conditions, children) else Health.WAITING
    root = Node(
        "InferenceService",
        name_of(service),
        _summary(service),
        health,
        children=_branches(children, logs, now, _placed(service)),
    )
    return Report(
        name=name_of(service),
        namespace=text_at(service, "metadata", "namespace"),
        context=context,
        ready=is_ready or stopped,
        reason=reason,
        message=message,
        root=root,
        conditions=conditions,
        hidden=tuple(hidden),
    )


def age(moment: str, now: dt.datetime) -> str:
    """How long ago an RFC 3339 time was, as kubectl says it: 45s, 12m, 3h, 5d."""
    try:
        seconds = max(0, int((now - dt.datetime.fromisoformat(moment)).total_seconds()))
    except (ValueError, TypeError):
        return "?"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _verdict(service: Object, ready: Condition | None) -> tuple[str, str]:
    if ready is None:
        return "NotSeen", (
            "No operator has looked at it yet. Is one running, and does it watch this namespace? "
            "kubectl get deployment -A -l app.kubernetes.io/name=pillion"
        )
    if ready.stale:
        seen = number_at(service, "status", "observedGeneration")
        return ready.reason, (
            f"The operator has not seen the last change yet (generation {generation(service)}, it last saw {seen}). "
            f"Before it: {ready.message}"
        )
    return ready.reason, ready.message


def _stuck(conditions: Sequence[Condition], children: Sequence[Object]) -> bool:
    stalled = any(item.type == "Stalled" and item.status == "True" for item in conditions)
    return stalled or any(item.get("kind") == "Pod" and pods.voice(item) and pods.restarts(item) for item in children)


def _condition(item: Object, service: Object, now: dt.datetime) -> Condition:
    kind, status = text_at(item, "type"), text_at(item, "status")
    good = "False" if kind in _HEALTHY_WHEN_FALSE else "True"
    observed = number_at(item, "observedGeneration", default=generation(service))
    return Condition(
        type=kind,
        status=status,
        reason=text_at(item, "reason"),
        message=text_at(item, "message"),
        since=age(text_at(item, "lastTransitionTime"), now),
        health=Health.WELL if status == good else Health.WAITING if status == "Unknown" else Health.BAD,
        stale=observed < generation(service),
    )


def _summary(service: Object) -> str:
    model = text_at(service, "status", "modelStatus", "states", "activeModelState")
    target = text_at(service, "status", "modelStatus", "states", "targetModelState")
    parts = [
        f"{text_at(service, 'status', 'replicas', 'summary') or '0/?'} pods ready",
        f"model {target or model}" if target or model else "",
        _spread(service),
        text_at(service, "status", "runtime", "name"),
        text_at(service, "status", "url"),
    ]
    return ", ".join(part for part in parts if part)


def _spread(service: Object) -> str:
    """How many of the models are served that are spread over the pods; empty where every pod has all."""
    summary = text_at(service, "status", "modelPlacement", "summary")
    missing = number_at(service, "status", "modelPlacement", "missing")
    return f"{summary} models placed{f', {missing} without room' if missing else ''}" if summary else ""


def _placed(service: Object) -> Mapping[str, str]:
    """What each pod has of those, in words."""
    return {
        text_at(one, "name"): f"{number_at(one, 'ready')}/{number_at(one, 'models')} models, "
        f"{number_at(one, 'memory') / 1024 / 1024:.1f} MiB"
        for one in objects_at(service, "status", "modelPlacement", "pods")
    }


def _branches(
    children: Sequence[Object], logs: Mapping[str, str], now: dt.datetime, placed: Mapping[str, str]
) -> tuple[Node, ...]:
    """Children in a fixed order, each pod below the Deployment whose ReplicaSet made it."""
    sets = {text_at(item, "metadata", "uid"): owner_uid(item) for item in children if item.get("kind") == "ReplicaSet"}
    deployments = {text_at(item, "metadata", "uid"): item for item in children if item.get("kind") == "Deployment"}
    below: dict[str, list[Node]] = {uid: [] for uid in deployments}
    loose: list[Node] = []
    for pod in sorted((item for item in children if item.get("kind") == "Pod"), key=name_of):
        uid = sets.get(owner_uid(pod), "")
        node = _pod(pod, deployments.get(uid), logs.get(name_of(pod), ""), now, placed.get(name_of(pod), ""))
        below.get(uid, loose).append(node)
    nodes: list[Node] = []
    for item in sorted(children, key=lambda item: (_rank(text_at(item, "kind")), name_of(item))):
        kind = text_at(item, "kind")
        if kind in {"Pod", "ReplicaSet"}:
            continue
        state, health = _DESCRIBED.get(kind, _plain)(item)
        under = tuple(below.get(text_at(item, "metadata", "uid"), ()))
        nodes.append(Node(kind, name_of(item), state, health, children=under))
    return (*nodes, *loose)


def _rank(kind: str) -> int:
    return _ORDER.index(kind) if kind in _ORDER else len(_ORDER)


def _pod(pod: Object, deployment: Object | None, log: str, now: dt.datetime, placed: str) -> Node:
    again = pods.restarts(pod)
    newest = text_at(deployment or {}, "spec", "template", "metadata", "annotations", _REVISION)
    own = text_at(pod, "metadata", "annotations", _REVISION)
    parts = [
        pods.state(pod),
        f"{again} restart{'s' if again > 1 else ''}" if again else "",
        placed,
        "older version" if newest and own and own != newest else "",
        age(text_at(pod, "metadata", "creationTimestamp"), now),
    ]
    ended = bool(again) or text_at(pod, "status", "phase") == "Failed"
    health = Health.WELL if pods.is_ready(pod) else Health.BAD if ended else Health.WAITING
    said = pods.voice(pod)
    line = pods.telling_line(log)
    return Node(
        "Pod",
        name_of(pod),
        ", ".join(part for part in parts if part),
        health,
        last_line=f"{said.container}: {line}" if said and line else _unscheduled(pod),
    )


def _unscheduled(pod: Object) -> str:
    scheduled = condition(pod, "PodScheduled")
    return text_at(scheduled, "message") if scheduled.get("status") == "False" else ""


def _deployment(item: Object) -> tuple[str, Health]:
    wanted = number_at(item, "spec", "replicas", default=1)
    ready, updated = number_at(item, "status", "readyReplicas"), number_at(item, "status", "updatedReplicas")
    rolling = f", {updated} of the newest version" if updated < number_at(item, "status", "replicas") else ""
    failure = condition(item, "ReplicaFailure")
    refused = f": {text_at(failure, 'message')}" if failure.get("status") == "True" else ""
    health = Health.BAD if refused else Health.WELL if ready >= wanted else Health.WAITING
    return f"{ready}/{wanted} ready{rolling}{refused}", health


def _service(item: Object) -> tuple[str, Health]:
    ports = ", ".join(str(number_at(port, "port")) for port in objects_at(item, "spec", "ports"))
    return f"{text_at(item, 'spec', 'clusterIP')} ports {ports}", Health.WELL


def _budget(item: Object) -> tuple[str, Health]:
    allowed = number_at(item, "status", "disruptionsAllowed")
    return f"{allowed} disruption{'' if allowed == 1 else 's'} allowed", Health.WELL


def _config_map(item: Object) -> tuple[str, Health]:
    keys = value_at(item, "data")
    return ", ".join(sorted(keys)) if isinstance(keys, dict) else "", Health.WELL


def _autoscaler(item: Object) -> tuple[str, Health]:
    least, most = number_at(item, "spec", "minReplicas", default=1), number_at(item, "spec", "maxReplicas")
    active = condition(item, "ScalingActive")
    why = f": {text_at(active, 'message')}" if active.get("status") == "False" else ""
    current = number_at(item, "status", "currentReplicas")
    return f"{current} of {least} to {most} pods{why}", Health.WAITING if why else Health.WELL


def _plain(_: Object) -> tuple[str, Health]:
    return "", Health.WELL


_DESCRIBED: Final[Mapping[str, Callable[[Object], tuple[str, Health]]]] = {
    "Deployment": _deployment,
    "Service": _service,
    "ConfigMap": _config_map,
    "PodDisruptionBudget": _budget,
    "HorizontalPodAutoscaler": _autoscaler,
}
