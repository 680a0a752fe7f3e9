"""How requests are shared between the last good revision and the newest: what was asked for, and what is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pillion_operator.judge.routes import share_in_effect, weighed
from pillion_operator.state.manifest import object_at, text_at

if TYPE_CHECKING:
    from pillion.resources import JsonObject
    from pillion_operator.judge.facts import Facts

__all__ = ["sharing", "status_of", "waits"]


def status_of(facts: Facts) -> JsonObject:
    """Return `status.canary`; empty where the manifest shares nothing."""
    split = facts.desired.split
    if split is None or split.percent == 100:
        return {}
    ours, others = facts.canary.available, facts.deployment.available
    actual = round(100 * ours / (ours + others)) if ours else 0
    mechanism = f"replicas: {ours} of {ours + others} pods"
    weight = share_in_effect(facts)
    if weight is not None:
        mechanism = f"weights: {weight} of 100 at the Gateway; by cluster DNS {mechanism}"
        return {"requested": split.percent, "actual": weight, "mechanism": mechanism, **_progress(facts)}
    if split.canary and actual != split.percent:
        whole = 100 // math.gcd(split.percent, 100)
        mechanism += f"; {split.percent} % exactly needs a multiple of {whole} pods"
    mechanism += _without_weights(facts)
    return {"requested": split.percent, "actual": actual, "mechanism": mechanism, **_progress(facts)}


def _progress(facts: Facts) -> JsonObject:
    """Return the step, and what the analysis said when its verdict last changed: figures that only move are no news."""
    progress = facts.desired.progress
    if progress is None:
        return {}
    found: JsonObject = {"step": f"{progress.step} of {progress.steps}"} if progress.steps else {}
    if progress.analysis:
        before = object_at(facts.observed.service, "status", "canary")
        known = text_at(before, "analysis")
        word = progress.analysis.partition(":")[0]
        same = before.get("step") == found.get("step") and known.startswith(f"{word}:")
        found["analysis"] = known if same else progress.analysis
    return found


def _without_weights(facts: Facts) -> str:
    """Say why a Gateway that the manifest names shares nothing out."""
    routes, split = facts.desired.routes, facts.desired.split
    if routes is None or routes.gateway is None or split is None or not split.canary:
        return ""
    if weighed(facts):
        return "; the Gateway has not taken the weights up yet"
    if routes.settles:
        return "; the Gateway is told the weights once the Services of the two revisions have endpoints"
    if routes.problems:
        return "; no weights, see RoutesReady"
    return "; no weights, since the last good revision is of a former release, whose pods a Service cannot tell apart"


def waits(facts: Facts) -> bool:
    """Whether pods of the newest revision are still to come."""
    split = facts.desired.split
    return split is not None and facts.canary.available < split.canary


def sharing(facts: Facts) -> str:
    """Return in words how far the newest revision is."""
    split = facts.desired.split
    assert split is not None  # noqa: S101 - asked only where there is one
    if split.percent == 0:
        return "The newest version gets no requests, as canaryTrafficPercent asks; the last good one serves."
    text = f"The newest version has {facts.canary.available} of {split.canary} pods that are to be available"
    return f"{text}, beside {facts.deployment.available} of the last good one."
