"""How far pods are with a model that they were told of while they run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pillion_operator.state.plan import Problem
from pillion_operator.state.reasons import REMEDIES, Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pillion.resources import JsonObject
    from pillion_operator.state.declared import PodReport

__all__ = ["InPod", "failure_of", "in_pods", "not_served"]

_STATES: Final = frozenset({"Fetching", "Loading", "Ready", "Failed"})


@dataclass(frozen=True, slots=True)
class InPod:
    """The model in one pod."""

    pod: str
    state: str
    reason: str = ""
    message: str = ""
    digest: str = ""
    lasting: bool = False

    def to_status(self) -> JsonObject:
        """Return it in wire form."""
        told: JsonObject = {"name": self.pod, "state": self.state}
        for field, value in (("reason", self.reason), ("message", self.message), ("digest", self.digest)):
            if value:
                told[field] = value
        return told


def in_pods(declaration: str, reports: Sequence[PodReport]) -> tuple[InPod, ...]:
    """Return how far each pod is with a declaration, those that are not Ready first."""
    found = (_in_pod(declaration, report) for report in reports)
    return tuple(sorted(found, key=lambda pod: (pod.state == "Ready", pod.state != "Failed", pod.pod)))


def _in_pod(declaration: str, report: PodReport) -> InPod:
    if not report.reached:
        return InPod(report.pod, "Unknown", Reason.POD_NOT_REACHED, "its runtime did not answer the operator")
    if not report.supported:
        text = "its runtime cannot be told of models while it runs"
        return InPod(report.pod, "Failed", Reason.RUNTIME_NOT_SUPPORTED, text, lasting=True)
    found = report.models.get(declaration)
    if found is None and report.error:
        return InPod(report.pod, "Failed", Reason.RUNTIME_NOT_SUPPORTED, report.error, lasting=True)
    if found is None or found.state not in _STATES:
        return InPod(report.pod, "Pending", Reason.PROGRESSING, "it has not seen the declaration yet")
    if found.state == "Failed":
        return InPod(
            report.pod, "Failed", found.cause or Reason.MODEL_LOAD_FAILED, found.reason, found.digest, found.lasting
        )
    return InPod(report.pod, found.state, digest=found.digest if found.state == "Ready" else "")


def failure_of(pods: Sequence[InPod]) -> Problem | None:
    """Return what to tell first of the pods in which it failed, None where it failed in none."""
    failed = [pod for pod in pods if pod.state == "Failed"]
    return not_served(failed) if failed else None


def not_served(pods: Sequence[InPod]) -> Problem:
    """Return why it does not serve in the first of these pods, and in how many more."""
    worst, number = pods[0], len(pods)
    others = f" and in {number - 1} more {'pod' if number == 2 else 'pods'}" if number > 1 else ""
    # What the runtime says ends in a remedy of its own.
    text = f"not served in pod {worst.pod}{others}: {worst.message}"
    own = worst.reason in {Reason.POD_NOT_REACHED, Reason.RUNTIME_NOT_SUPPORTED}
    remedy = REMEDIES.get(worst.reason, "") if own else " "
    return Problem(worst.reason, text, worst.pod, transient=not worst.lasting, remedy=remedy)
