"""What the pods of a batch prediction say: which of them predict, and what their shares come to. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pillion_operator.judge.training_pods import newest_first, word_of
from pillion_operator.state.manifest import (
    Manifest,
    annotations_of,
    is_deleting,
    key_of,
    labels_of,
    number_at,
    object_at,
    objects_at,
    text_at,
)
from pillion_operator.state.names import BATCH_CONTAINER
from pillion_operator.state.observed import BatchReport

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pillion.resources import JsonObject

__all__ = ["index_of", "is_predicting", "report_in", "shares_of", "whole_of"]

_INDEX: Final = "batch.kubernetes.io/job-completion-index"
_MOST: Final = 1 << 53


def is_predicting(pod: Manifest) -> bool:
    """Whether the pod's container runs."""
    # What was last heard of a lost node's containers may be that they run.
    over = is_deleting(pod) or text_at(pod, "status", "phase") in {"Failed", "Succeeded"}
    return not over and any(
        text_at(status, "name") == BATCH_CONTAINER and bool(object_at(status, "state", "running"))
        for status in objects_at(pod, "status", "containerStatuses")
    )


def index_of(pod: Manifest) -> str:
    """Return which of the pods it is. Source: batch/v1, Indexed completion mode."""
    return annotations_of(pod).get(_INDEX) or labels_of(pod).get(_INDEX) or "0"


def report_in(told: JsonObject) -> BatchReport | None:
    """Return what a pod says of its share, None where it says nothing; what is not as documented counts as nothing."""
    share = object_at(told, "batch")
    if not share:
        return None
    shards, rows = object_at(share, "shards"), object_at(share, "rows")
    numbers = [
        *(number_at(shards, name) for name in ("total", "done")),
        *(number_at(rows, name) for name in ("read", "written", "failed")),
    ]
    return BatchReport(*numbers) if all(0 <= number < _MOST for number in numbers) else None


def whole_of(pods: Iterable[Manifest]) -> BatchReport | None:
    """Return what all shards came to, as a pod said that saw all of them done; None where none did."""
    for pod in newest_first(pods):
        told = object_at(word_of(pod, BATCH_CONTAINER), "batch", "all")
        shards = number_at(told, "shards", default=-1)
        rows = object_at(told, "rows")
        report = report_in({"batch": {"shards": {"total": shards, "done": shards}, "rows": rows}})
        if report is not None and told:
            return report
    return None


def shares_of(pods: Iterable[Manifest], reports: Mapping[str, BatchReport]) -> dict[str, BatchReport]:
    """Return the newest word of each index: of a pod that runs, or that has ended; indexes without one are left out.

    A pod counts what those before it at its index have completed, so of each index only one word counts.
    """
    found: dict[str, BatchReport] = {}
    for pod in newest_first(pods):
        index = index_of(pod)
        if index in found:
            continue
        told = word_of(pod, BATCH_CONTAINER)
        report = reports.get(key_of(pod).name) or report_in(told)
        # Before the plan is there a pod says nothing of others either; one that is done may have had no rows.
        if report is not None and (report.total or text_at(told, "reason") == "Completed"):
            found[index] = report
    return found
