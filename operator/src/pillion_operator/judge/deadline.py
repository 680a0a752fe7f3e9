"""Whether a rollout has used up its time. Files that are being fetched are progress."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pillion_operator.state.manifest import (
    Manifest,
    condition_of,
    generation_of,
    number_at,
    object_at,
    objects_at,
    revision,
    seconds_at,
    text_at,
)
from pillion_operator.state.names import FIELD_MANAGER, STORAGE_CONTAINER

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["overdue", "overdue_wait"]


def overdue(live: Manifest | None, pods: Iterable[Manifest], now: float) -> bool:
    """Whether the newest pods of the Deployment had their time, and did not become available in it.

    The Deployment's controller knows nothing of files that arrive, so its word alone does not count: while the storage
    step of a new pod runs, the rollout goes on (that step ends by itself where nothing arrives), and once it is done,
    the time begins anew. It also keeps its word until there is progress, so what it says of the template before
    does not count against this one.
    """
    left = _left(live, pods, now)
    return left is not None and left <= 0


def overdue_wait(live: Manifest | None, pods: Iterable[Manifest], now: float) -> float | None:
    """Return the seconds after which to judge again a rollout that its Deployment has given up, None for no need."""
    left = _left(live, pods, now)
    return left if left is not None and 0 < left < float("inf") else None


def _left(live: Manifest | None, pods: Iterable[Manifest], now: float) -> float | None:
    if live is None or number_at(live, "status", "observedGeneration") < generation_of(live):
        return None
    if text_at(condition_of(live, "Progressing"), "reason") != "ProgressDeadlineExceeded":
        return None
    since = _changed(live)
    newest = revision(object_at(live, "spec", "template"))
    for pod in pods:
        if revision(pod) != newest:
            continue
        for status in objects_at(pod, "status", "initContainerStatuses"):
            if text_at(status, "name") != STORAGE_CONTAINER:
                continue
            if object_at(status, "state", "running"):
                return float("inf")
            ended = object_at(status, "state", "terminated")
            if ended.get("exitCode") == 0:
                since = max(since, seconds_at(ended, "finishedAt"))
    return since + number_at(live, "spec", "progressDeadlineSeconds") - now


def _changed(live: Manifest) -> float:
    """Return when we last changed the Deployment itself."""
    ours = (
        entry
        for entry in objects_at(live, "metadata", "managedFields")
        if text_at(entry, "manager") == FIELD_MANAGER and not text_at(entry, "subresource")
    )
    return max((seconds_at(entry, "time") for entry in ours), default=0.0)
