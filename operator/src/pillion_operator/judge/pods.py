"""Why a pod is not ready, read from its status. Source: core/v1 PodStatus, ContainerStatus."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from pillion_operator.judge.facts import is_ready
from pillion_operator.state.manifest import (
    Manifest,
    condition_of,
    is_deleting,
    key_of,
    number_at,
    object_at,
    objects_at,
    seconds_at,
    text_at,
)
from pillion_operator.state.names import STORAGE_CONTAINER
from pillion_operator.state.plan import Problem
from pillion_operator.state.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pillion.resources.base import JsonObject

__all__ = [
    "container_problem",
    "last_line",
    "placement_wait",
    "pod_problems",
    "unplaced",
    "waits_for_a_node",
]

_IMAGE_REASONS: Final = frozenset(
    {"ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"}
)
_CREATE_REASONS: Final = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "PreCreateHookError"}
)
_LAST_LINE_LIMIT: Final = 300
#: Exit codes of the storage step where the same request will never succeed: it, the source or the content is wrong.
_LASTING_CODES: Final = range(10, 40)
#: A cluster that adds nodes needs a while; a pod that waits longer for a node stays without one.
_PLACEMENT_SECONDS: Final = 60.0
_SURGE_REMEDY: Final = (
    "set rollout.mode: ResourceAware, which removes a pod before it adds one (a single replica is away meanwhile), "
    "or make room for one more pod"
)


def pod_problems(pods: Iterable[Manifest], *, surge: bool = False) -> tuple[Problem, ...]:
    """Return what keeps the pods from being ready, each kind of problem once, the most telling first.

    `surge` says that there are more pods than wanted, as in a rollout that adds before it removes.
    """
    found: dict[str, Problem] = {}
    for pod in sorted(pods, key=lambda pod: key_of(pod).name):
        if is_ready(pod) or is_deleting(pod):
            continue
        problem = _problem(pod, surge=surge)
        if problem is not None:
            found.setdefault(problem.reason, problem)
    return tuple(found.values())


def unplaced(pods: Iterable[Manifest], now: float) -> bool:
    """Whether a pod has been without a node for so long that it will stay so unless somebody acts."""
    return any(waits_for_a_node(pod) and _placement_left(pod, now) <= 0 for pod in pods)


def placement_wait(pods: Iterable[Manifest], now: float) -> float | None:
    """Return the seconds after which a pod without a node counts as one that stays without."""
    waits = [left for pod in pods if waits_for_a_node(pod) and (left := _placement_left(pod, now)) > 0]
    return min(waits, default=None)


def waits_for_a_node(pod: Manifest) -> bool:
    """Whether the scheduler has found no node for the pod."""
    scheduled = condition_of(pod, "PodScheduled")
    waits = scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable"
    return waits and not is_deleting(pod)


def _placement_left(pod: Manifest, now: float) -> float:
    return seconds_at(condition_of(pod, "PodScheduled"), "lastTransitionTime") + _PLACEMENT_SECONDS - now


def _problem(pod: Manifest, *, surge: bool) -> Problem | None:
    name = key_of(pod).name
    if text_at(pod, "status", "phase") == "Failed":
        said = text_at(pod, "status", "message") or text_at(pod, "status", "reason") or "no reason given"
        return Problem(Reason.EVICTED, f"pod {name} failed: {said}", name)
    if waits_for_a_node(pod):
        which = f"pod {name}, which is to replace one that serves" if surge else f"pod {name}"
        text = f"no node takes {which}: {text_at(condition_of(pod, 'PodScheduled'), 'message') or 'no reason given'}"
        return Problem(Reason.UNSCHEDULABLE, text, name, remedy=_SURGE_REMEDY if surge else "")
    statuses = [*objects_at(pod, "status", "initContainerStatuses"), *objects_at(pod, "status", "containerStatuses")]
    problems = (container_problem(name, status) for status in statuses)
    return next((problem for problem in problems if problem is not None), None)


def container_problem(pod: str, status: JsonObject) -> Problem | None:
    """Return what is wrong with a container by its status, None where nothing is."""
    container = text_at(status, "name")
    waiting = object_at(status, "state", "waiting")
    reason, message = text_at(waiting, "reason"), text_at(waiting, "message")
    where = f"container {container} of pod {pod}"
    if reason in _IMAGE_REASONS:
        image = text_at(status, "image") or "its image"
        said = f": {message}" if message and reason != "ImagePullBackOff" else ""
        return Problem(Reason.IMAGE_PULL_BACK_OFF, f"image {image} for {where} cannot be pulled{said}", pod)
    if reason in _CREATE_REASONS:
        return Problem(Reason.CREATE_CONTAINER_FAILED, f"{where} cannot be started: {message or reason}", pod)
    ended = _failed_run(status)
    if ended is None:
        return None
    code = number_at(ended, "exitCode")
    if text_at(ended, "reason") == "OOMKilled":
        return Problem(Reason.OOM_KILLED, f"{where} used more memory than its limit and was killed", pod, code)
    if container == STORAGE_CONTAINER:
        return _storage_problem(pod, ended)
    line = last_line(text_at(ended, "message"))
    said = f"; its last line: {line}" if line else ""
    return Problem(Reason.CRASH_LOOP_BACK_OFF, f"{where} ended with exit code {code}{said}", pod, code)


def _failed_run(status: JsonObject) -> JsonObject | None:
    """Return how the container ended, where its newest or, while it is not ready again, its last run failed."""
    for state in ("state", "lastState"):
        ended = object_at(status, state, "terminated")
        if ended:
            return ended if number_at(ended, "exitCode") != 0 else None
        if state == "state" and status.get("ready") is True:
            return None
    return None


def _storage_problem(pod: str, ended: JsonObject) -> Problem:
    """Read the storage step's last word: JSON with reason, message and remedy."""
    message, code = text_at(ended, "message"), number_at(ended, "exitCode")
    try:
        told = json.loads(message)
    except ValueError:
        told = None
    if isinstance(told, dict) and told.get("reason"):
        text = f"the model's files could not be placed: {told.get('message') or told['reason']}"
        remedy = str(told.get("remedy") or "")
        return Problem(str(told["reason"]), text, pod, code, transient=code not in _LASTING_CODES, remedy=remedy)
    line = last_line(message) or f"the storage step ended with exit code {code}"
    return Problem(Reason.DOWNLOAD_FAILED, f"the model's files could not be placed: {line}", pod, code)


def last_line(message: str) -> str:
    """Return the last line a person can read: of a JSON log line, its message."""
    for line in reversed(message.strip().splitlines()):
        text = line.strip()
        if not text:
            continue
        if text.startswith("{"):
            try:
                told = json.loads(text)
            except ValueError:
                pass
            else:
                text = str(told.get("message") or told.get("event") or text) if isinstance(told, dict) else text
        return text[:_LAST_LINE_LIMIT]
    return ""
