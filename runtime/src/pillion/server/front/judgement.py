"""From what is known of each front worker to what is said of all. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Standing", "replaceable", "status", "unready_reason"]

_WORST_DECLARED_FIRST: Final = ("Failed", "Fetching", "Loading", "Leaving", "Ready")
_WORST_FIRST: Final = ("UNAVAILABLE", "LOADING", "UNLOADING", "READY")


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """One worker, as it is now."""

    number: int
    pid: int
    """0 while there is none."""
    starts: int
    """Times that a process was started for this place."""
    settled: bool
    """Whether its first models are loaded or have failed."""
    accepting: bool
    """Whether it takes connections."""
    ready: bool
    reason: str = ""
    """Why it is not ready."""


def unready_reason(standings: Sequence[Standing]) -> str:
    """Why these workers together should not get requests; empty when they should.

    When the server starts, every worker takes connections while it loads, as one process does, so each has to have
    come to its end. After that one that is ready is enough: a worker that replaces another takes no connections before
    its models are loaded.
    """
    starting = [standing for standing in standings if standing.accepting and not standing.settled]
    if not starting and any(standing.ready for standing in standings):
        return ""
    reasons: dict[str, list[str]] = {}
    for standing in starting or standings:
        reasons.setdefault(standing.reason or "is starting", []).append(str(standing.number))
    if len(reasons) == 1:
        return next(iter(reasons))
    return "; ".join(f"worker {', '.join(numbers)}: {reason}" for reason, numbers in reasons.items())


def replaceable(standings: Sequence[Standing]) -> list[int]:
    """Workers whose first models have failed although another has them: they are started again."""
    if not any(standing.ready for standing in standings):
        return []
    return [standing.number for standing in standings if standing.settled and not standing.ready]


def status(standings: Sequence[Standing], views: Sequence[Mapping[str, Any]], own: Mapping[str, Any]) -> dict[str, Any]:
    """The ``/status`` of all: each model version as it is in the worker where it is worst, and the workers.

    Args:
        standings: of the workers.
        views: the ``/status`` of each worker that has answered.
        own: what the supervisor says itself: ``version``, ``ready``, ``draining``.
    """
    models: dict[tuple[str, str], Mapping[str, Any]] = {}
    for view in views:
        for model in view["models"]:
            key = (model["name"], model["version"])
            models[key] = min(models.get(key, model), model, key=_badness)
    merged: dict[str, Any] = {
        **own,
        "models": list(models.values()),
        "workers": [
            {
                "worker": standing.number,
                "pid": standing.pid,
                "ready": standing.ready,
                "reason": standing.reason,
                "starts": standing.starts,
            }
            for standing in standings
        ],
    }
    merged |= _declared(views)
    error = next((view["configError"] for view in views if view.get("configError")), None)
    if error is not None:
        merged["configError"] = error
    return merged


def _declared(views: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Each declared model as it is in the worker where it is worst; Ready is one that all have, as one declaration."""
    told = [view["declared"] for view in views if "declared" in view]
    if not told:
        return {}
    models: dict[str, list[Mapping[str, Any]]] = {}
    for declared in told:
        for model in declared:
            models.setdefault(model["name"], []).append(model)
    error = next((view["declaredError"] for view in views if view.get("declaredError")), None)
    merged = [_worst_declared(found, len(told)) for found in models.values()]
    return {"declared": merged} | ({} if error is None else {"declaredError": error})


def _worst_declared(found: Sequence[Mapping[str, Any]], workers: int) -> Mapping[str, Any]:
    worst = min(found, key=lambda one: _WORST_DECLARED_FIRST.index(one["state"]))
    # Each worker follows the file in its own time: one may not have seen yet what the others serve.
    agreed = len(found) == workers and len({one.get("id") for one in found}) == 1
    return worst if agreed or worst["state"] != "Ready" else {**worst, "state": "Fetching"}


def _badness(model: Mapping[str, Any]) -> int:
    state = model["state"]
    return _WORST_FIRST.index(state) if state in _WORST_FIRST else -1
