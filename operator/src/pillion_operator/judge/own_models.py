"""The models of `predictor.models`: in which pods each serves, and what keeps it from serving in the others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from pillion_operator.judge.in_pods import failure_of, in_pods
from pillion_operator.judge.placement import holding, room_problem, wanted_of
from pillion_operator.state.manifest import array

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pydantic import JsonValue

    from pillion.placementfile import PlacementFile
    from pillion.resources import JsonObject
    from pillion_operator.judge.in_pods import InPod
    from pillion_operator.state.declared import OwnModel, PodReport
    from pillion_operator.state.plan import Problem

__all__ = ["OwnModelFacts", "coming", "next_look", "own_model_facts", "own_problems", "statuses"]

#: Entries for pods in one status, of all models together: it is written whole with every change.
_MOST_PODS: Final = 600
_UNDERWAY: Final = frozenset({"Pending", "Fetching", "Loading"})


@dataclass(frozen=True, slots=True)
class OwnModelFacts:
    """What is known of one of them.

    Attributes:
        name: what requests call it.
        wanted: pods that should serve it.
        pods: those that are there, those in which it is not Ready first.
        problem: what keeps it from serving, in all pods or in some.
        kept: whether pods serve it as it was before the problem.
    """

    name: str
    wanted: int
    pods: tuple[InPod, ...] = ()
    problem: Problem | None = None
    kept: bool = False

    @property
    def loaded(self) -> int:
        """In how many pods it serves as it is declared now."""
        return sum(pod.state == "Ready" for pod in self.pods)

    @property
    def state(self) -> str:
        """How far it is, in the words of a Model's pods."""
        if self.problem is not None:
            return "Failed"
        if self.wanted and self.loaded >= self.wanted:
            return "Ready"
        underway = (pod.state for pod in self.pods if pod.state in _UNDERWAY)
        return next(underway, "Unknown" if any(pod.state == "Unknown" for pod in self.pods) else "Pending")


def own_model_facts(
    models: Sequence[OwnModel],
    reports: Sequence[PodReport],
    wanted: int,
    leaving: Collection[str] = (),
    placement: PlacementFile | None = None,
) -> tuple[OwnModelFacts, ...]:
    """Return what is known of each model of the manifest, in its order.

    A pod that does not answer is no problem of theirs: it may be starting, or hidden from the operator.

    Args:
        models: as they are planned.
        reports: what pods say.
        wanted: pods that should serve them.
        leaving: names of pods that are replaced. What they cannot serve is no problem of the model: they may lack the
            volume that it is on, or have one of its name from the version before.
        placement: where each is to be; None where every pod has every model.
    """
    found = []
    for model in models:
        placed = None if placement is None else placement.models.get(model.name)
        asked = reports if placed is None else holding(placed, reports)
        pods = in_pods(model.id, asked) if model.id else ()
        pods = tuple(pod for pod in pods if pod.state != "Failed" or pod.pod not in leaving)
        kept = bool(model.id) and model.problem is not None
        problem = model.problem or failure_of(pods)
        if problem is None and placement is not None:
            problem = room_problem(model.name, placement)
        copies = wanted if placed is None else wanted_of(placed)
        found.append(OwnModelFacts(model.name, copies, pods, problem, kept))
    return tuple(found)


def own_problems(models: Sequence[OwnModelFacts]) -> list[Problem]:
    """Return what is wrong with each, with its name."""
    return [
        replace(model.problem, text=f"the model {model.name!r} {_how(model)}{model.problem.text}")
        for model in models
        if model.problem is not None
    ]


def _how(model: OwnModelFacts) -> str:
    if model.kept:
        return "stays as it was: "
    return "is " if model.pods else "is left out: "


def coming(models: Sequence[OwnModelFacts]) -> list[OwnModelFacts]:
    """Return those that pods are on the way to serve, as far as pods can be asked."""
    late = (model for model in models if model.problem is None and model.loaded < model.wanted)
    return [model for model in late if model.state != "Unknown"]


def statuses(models: Sequence[OwnModelFacts]) -> list[JsonValue]:
    """Return them in wire form."""
    most = min(100, _MOST_PODS // max(1, len(models)))
    return array(_status(model, most) for model in models)


def _status(model: OwnModelFacts, most: int) -> JsonObject:
    loaded, wanted = model.loaded, model.wanted
    status: JsonObject = {
        "name": model.name,
        "state": model.state,
        "replicas": {"loaded": loaded, "wanted": wanted, "summary": f"{loaded}/{wanted}"},
        "pods": array(pod.to_status() for pod in sorted(model.pods[:most], key=lambda pod: pod.pod)),
    }
    if model.problem is not None:
        status |= {"reason": str(model.problem.reason), "message": model.problem.sentence[:2048]}
    return status


def next_look(models: Sequence[OwnModelFacts]) -> float | None:
    """Return the seconds after which pods should be asked again; None where the manifest declares no such models."""
    if not models:
        return None
    states = {pod.state for model in models for pod in model.pods}
    if states & _UNDERWAY:
        return 1.5
    return 10.0 if any(model.problem is not None or model.loaded < model.wanted for model in models) else 60.0
