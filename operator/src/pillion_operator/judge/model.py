"""The status of a Model: in which pods it serves, and what keeps it from serving in the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pillion_operator.judge.facts import Verdict
from pillion_operator.judge.in_pods import InPod, failure_of, in_pods, not_served
from pillion_operator.judge.status import conditions_of
from pillion_operator.state.manifest import array, generation_of
from pillion_operator.state.reasons import Reason

if TYPE_CHECKING:
    from pillion.resources import JsonObject
    from pillion_operator.state.manifest import Manifest
    from pillion_operator.state.plan import Problem

__all__ = ["InPod", "ModelFacts", "in_pods", "model_status", "next_look"]

_MOST_PODS: Final = 100


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What is known of one Model.

    Attributes:
        model: the object as stored.
        served_name: the name by which requests call it.
        url: where, empty where nothing serves it.
        problem: why it is no part of the service at all, where it is not.
        wanted: pods that should serve it.
        pods: those that are there.
    """

    model: Manifest
    served_name: str
    url: str = ""
    problem: Problem | None = None
    wanted: int = 0
    pods: tuple[InPod, ...] = ()

    @property
    def loaded(self) -> int:
        """In how many pods it serves as it is declared now."""
        return sum(pod.state == "Ready" for pod in self.pods)


def model_status(facts: ModelFacts, timestamp: str) -> JsonObject:
    """Return the status to write; conditions that did not change keep the time of their last change."""
    loaded, wanted = facts.loaded, facts.wanted
    status: JsonObject = {
        "observedGeneration": generation_of(facts.model),
        "conditions": conditions_of(facts.model, _verdicts(facts), timestamp),
        "replicas": {"loaded": loaded, "wanted": wanted, "summary": f"{loaded}/{wanted}"},
        "pods": array(pod.to_status() for pod in sorted(facts.pods[:_MOST_PODS], key=lambda pod: pod.pod)),
    }
    if facts.served_name:
        status["servedName"] = facts.served_name
    if facts.url and facts.problem is None:
        status["url"] = facts.url
    return status


def _verdicts(facts: ModelFacts) -> tuple[Verdict, Verdict, Verdict]:
    problem = facts.problem or _worst(facts)
    if problem is not None:
        reason, text = problem.reason, problem.sentence
        stalled = not problem.transient
        return (
            Verdict("Ready", "False", reason, text),
            Verdict("Reconciling", "False" if stalled else "True", reason, text),
            Verdict("Stalled", "True" if stalled else "False", reason, text),
        )
    calm = Verdict("Stalled", "False", Reason.SETTLED, "Nothing needs anybody's help.")
    nothing = Verdict("Reconciling", "False", Reason.SETTLED, "There is nothing to wait for.")
    if facts.wanted == 0:
        text = "The InferenceService has no pods now; the model comes with them."
        return Verdict("Ready", "False", Reason.STOPPED, text), nothing, calm
    if facts.loaded >= facts.wanted:
        text = f"Served as {facts.served_name!r} by {facts.loaded} {'pod' if facts.loaded == 1 else 'pods'}."
        return Verdict("Ready", "True", Reason.SERVED, text), nothing, calm
    text = f"Served by {facts.loaded} of {facts.wanted} pods; {_progress(facts)}."
    return (
        Verdict("Ready", "False", Reason.PROGRESSING, text),
        Verdict("Reconciling", "True", Reason.PROGRESSING, text),
        calm,
    )


def _worst(facts: ModelFacts) -> Problem | None:
    """Return what to tell first of the pods in which it does not serve; pods beyond those wanted count as well."""
    failed = failure_of(facts.pods)
    unknown = [pod for pod in facts.pods if pod.state == "Unknown"]
    if failed is not None or not unknown or facts.wanted == 0 or facts.loaded >= facts.wanted:
        return failed
    return not_served(unknown)


def _progress(facts: ModelFacts) -> str:
    states = {"Pending": "have not seen it yet", "Fetching": "fetch it", "Loading": "load it"}
    told = [
        f"{number} {words}"
        for state, words in states.items()
        if (number := sum(pod.state == state for pod in facts.pods))
    ]
    return ", ".join(told) or "the others are not there yet"


def next_look(facts: ModelFacts) -> float:
    """Return the seconds after which pods should be asked again, since nothing tells of what happens in them."""
    if facts.problem is not None:
        return 60.0
    states = {pod.state for pod in facts.pods}
    if states & {"Pending", "Fetching", "Loading"}:
        return 1.5
    if facts.loaded < facts.wanted or states - {"Ready"}:
        return 10.0
    return 60.0
