"""What the pods of a training say: why one has not begun, how one ended, and what it left."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

from pillion_operator.judge.pods import container_problem, last_line, waits_for_a_node
from pillion_operator.state.manifest import (
    Manifest,
    condition_of,
    is_deleting,
    key_of,
    number_at,
    object_at,
    objects_at,
    text_at,
    word_at,
)
from pillion_operator.state.names import BATCH_CONTAINER, OUTPUT_CONTAINER, STORAGE_CONTAINER, TRAINING_CONTAINER
from pillion_operator.state.plan import Problem
from pillion_operator.state.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pillion.resources import JsonObject

__all__ = ["ended_problem", "is_training", "log_command", "newest_first", "result_of", "waiting_problem", "word_of"]

_TEXT: Final = 1000
#: Phases that a pod never leaves; what its containers' states say then may be what was last heard of a lost node.
_ENDED: Final = frozenset({"Failed", "Succeeded"})
_DIGEST: Final = re.compile("sha256:[0-9a-f]{64}")
_PATH: Final = re.compile(r"[^\s@]{1,2048}")
#: Containers that end on their own account, the one that most explains an end first.
_STEPS: Final = (STORAGE_CONTAINER, TRAINING_CONTAINER, BATCH_CONTAINER, OUTPUT_CONTAINER)


def is_training(pod: Manifest) -> bool:
    """Whether the training, or the storing of what it made, runs in the pod."""
    over = is_deleting(pod) or text_at(pod, "status", "phase") in _ENDED
    return not over and any(
        object_at(status, "state", "running") for name, status in _statuses(pod).items() if name != STORAGE_CONTAINER
    )


def waiting_problem(pods: Iterable[Manifest]) -> Problem | None:
    """Return what keeps a pod that is there from training, None where nothing does."""
    for pod in newest_first(pods):
        name = key_of(pod).name
        if text_at(pod, "status", "phase") in _ENDED or is_deleting(pod):
            continue
        if waits_for_a_node(pod):
            said = text_at(condition_of(pod, "PodScheduled"), "message") or "no reason given"
            return Problem(Reason.UNSCHEDULABLE, f"no node takes pod {name}: {said}", name)
        for status in _statuses(pod).values():
            waiting = container_problem(name, status) if object_at(status, "state", "waiting") else None
            if waiting is not None:
                return waiting
    return None


def ended_problem(pods: Iterable[Manifest]) -> Problem | None:
    """Return how the newest pod that failed ended, None where none has."""
    for pod in newest_first(pods):
        if text_at(pod, "status", "phase") == "Failed":
            return _ended(pod)
    return None


def result_of(pods: Iterable[Manifest], output: str) -> JsonObject:
    """Return what a pod that succeeded left of its model; what does not lie below `output` is not believed."""
    for pod in newest_first(pods):
        if text_at(pod, "status", "phase") != "Succeeded":
            continue
        for name in (OUTPUT_CONTAINER, TRAINING_CONTAINER):
            told = _word(object_at(_statuses(pod).get(name, {}), "state", "terminated"))
            artifact = object_at(told, "artifact")
            uri, digest = text_at(artifact, "uri"), text_at(artifact, "digest")
            below = bool(output) and uri.startswith(f"{output.rstrip('/')}/") and _PATH.fullmatch(uri)
            if below and _DIGEST.fullmatch(digest):
                return told
    return {}


def log_command(job: str, namespace: str, pods: Iterable[Manifest], container: str = TRAINING_CONTAINER) -> str:
    """Return the command that shows the log of the newest pod, or of the Job where no pod is known."""
    newest = next(iter(newest_first(pods)), None)
    what = f"pod/{key_of(newest).name}" if newest is not None else f"job/{job}"
    return f"kubectl logs -n {namespace} {what} -c {container}"


def newest_first(pods: Iterable[Manifest]) -> list[Manifest]:
    """Return the pods, those made last first."""
    return sorted(pods, key=lambda pod: (text_at(pod, "metadata", "creationTimestamp"), key_of(pod).name), reverse=True)


def word_of(pod: Manifest, container: str) -> JsonObject:
    """Return the last word of a container of the pod, empty where it has left none."""
    return _word(object_at(_statuses(pod).get(container, {}), "state", "terminated"))


def _statuses(pod: Manifest) -> dict[str, JsonObject]:
    found = [*objects_at(pod, "status", "initContainerStatuses"), *objects_at(pod, "status", "containerStatuses")]
    return {text_at(status, "name"): status for status in found}


def _ended(pod: Manifest) -> Problem:
    name, statuses = key_of(pod).name, _statuses(pod)
    taken = condition_of(pod, "DisruptionTarget")
    if taken.get("status") == "True":
        said = text_at(taken, "message") or text_at(taken, "reason") or "no reason given"
        return Problem(Reason.EVICTED, f"pod {name} was taken away: {said}", name)
    for container in _STEPS:
        ended = object_at(statuses.get(container, {}), "state", "terminated")
        if ended and number_at(ended, "exitCode") != 0:
            return _ended_step(name, container, ended, frozenset(statuses))
    said = text_at(pod, "status", "message") or text_at(pod, "status", "reason") or "no reason given"
    return Problem(Reason.EVICTED, f"pod {name} failed: {said}", name)


def _ended_step(pod: str, container: str, ended: JsonObject, containers: frozenset[str]) -> Problem:
    code, told = number_at(ended, "exitCode"), _word(ended)
    if text_at(ended, "reason") == "OOMKilled":
        text = f"container {container} of pod {pod} used more memory than its limit and was killed"
        return Problem(Reason.OOM_KILLED, text, pod, code, remedy="raise resources.limits.memory")
    reason, message = word_at(told, "reason"), text_at(told, "message")[:_TEXT]
    if reason:
        fetched = "model" if BATCH_CONTAINER in containers else "dataset"
        text = f"the {fetched} could not be fetched: {message}" if container == STORAGE_CONTAINER else message or reason
        return Problem(reason, text, pod, code, remedy=text_at(told, "remedy")[:_TEXT])
    line = last_line(text_at(ended, "message"))
    said = f"; its last line: {line}" if line else ""
    text = f"container {container} of pod {pod} ended with exit code {code}{said}"
    lost = Reason.BATCH_LOST if BATCH_CONTAINER in containers else Reason.TRAINING_LOST
    return Problem(lost, text, pod, code)


def _word(ended: JsonObject) -> JsonObject:
    """Return a container's last word, empty where it is no JSON object."""
    try:
        told = json.loads(text_at(ended, "message"))
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}
