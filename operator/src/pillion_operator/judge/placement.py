"""How far models are that are spread over the pods: what each pod has, and what no pod has room for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pillion_operator.state.manifest import array
from pillion_operator.state.plan import Problem
from pillion_operator.state.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pillion.placementfile import Placed, PlacementFile
    from pillion.resources import JsonObject
    from pillion_operator.state.declared import PodReport
    from pillion_operator.state.placement import Placement

__all__ = ["holding", "placement_look", "placement_status", "room_problem", "wanted_of"]

_MOST_PODS: Final = 100


def holding(placed: Placed, reports: Sequence[PodReport]) -> list[PodReport]:
    """Return the reports of the pods that have a model or are to have it."""
    return [report for report in reports if report.pod in placed.holders]


def wanted_of(placed: Placed) -> int:
    """Return how many pods should serve it."""
    return len(placed.pods) + placed.missing


def room_problem(name: str, file: PlacementFile) -> Problem | None:
    """Return why a model is in fewer pods than it should be, None where it is not."""
    placed = file.models.get(name)
    if placed is None or not placed.missing or not placed.why:
        return None
    return Problem(Reason.MODEL_DOES_NOT_FIT, placed.why, "spec.predictor.modelPlacement")


def placement_status(placement: Placement, reports: Sequence[PodReport]) -> JsonObject:
    """Return it in wire form."""
    file, serving = placement.file, _serving(placement, reports)
    ready = sum(
        not placed.missing and bool(placed.pods) and set(placed.pods) <= serving[name]
        for name, placed in file.models.items()
    )
    pods: list[JsonObject] = [
        {
            "name": pod,
            "models": len(inside),
            "ready": sum(pod in serving[name] for name in inside),
            "memory": sum(file.models[name].bytes for name in inside),
        }
        for pod in sorted(file.pods)
        for inside in [[name for name, placed in file.models.items() if pod in placed.holders]]
    ]
    return {
        "models": len(file.models),
        "ready": ready,
        "missing": sum(placed.missing for placed in file.models.values()),
        "summary": f"{ready}/{len(file.models)}",
        "pods": array(pods[:_MOST_PODS]),
    }


def placement_look(placement: Placement | None, reports: Sequence[PodReport]) -> float | None:
    """Return the seconds after which pods should be asked again; None where nothing is placed."""
    if placement is None:
        return None
    serving, models = _serving(placement, reports), placement.file.models
    if any(placed.until or not set(placed.pods) <= serving[name] for name, placed in models.items()):
        return 1.5
    return 10.0 if any(placed.missing for placed in models.values()) else 60.0


def _serving(placement: Placement, reports: Sequence[PodReport]) -> dict[str, set[str]]:
    """Pods that serve each model as it is declared now."""
    return {
        name: {
            report.pod
            for report in reports
            if (one := report.models.get(placement.ids[name])) is not None and one.state == "Ready"
        }
        for name in placement.file.models
    }
