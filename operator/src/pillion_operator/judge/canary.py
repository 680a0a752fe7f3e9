"""How requests are shared between the last good revision and the newest: what was asked for, and what is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pillion_operator.judge.pods import unplaced
from pillion_operator.judge.routes import share_in_effect, weighed
from pillion_operator.state.manifest import object_at, revision, text_at

if TYPE_CHECKING:
    from pillion.resources import JsonObject
    from pillion_operator.judge.facts import Facts
    from pillion_operator.state.plan import Split

__all__ = ["sharing", "status_of", "waits"]


def status_of(facts: Facts) -> JsonObject:
    """Return `status.canary`; empty where one revision has all pods, or the manifest shares nothing."""
    split = facts.desired.split
    if split is None:
        return {}
    ours, everyone = _newest(facts, split), facts.canary.available + facts.deployment.available
    actual = round(100 * ours / everyone) if ours else 0
    mechanism = f"replicas: {ours} of {everyone} pods"
    weight = share_in_effect(facts)
    if weight is not None:
        mechanism = f"weights: {weight} of 100 at the Gateway; by cluster DNS {mechanism}{_standing_in(facts, split)}"
        return {"requested": split.percent, "actual": weight, "mechanism": mechanism, **_progress(facts)}
    mechanism += _standing_in(facts, split) or _to_be_exact(facts, split, actual)
    mechanism += _without_weights(facts)
    return {"requested": split.percent, "actual": actual, "mechanism": mechanism, **_progress(facts)}


def _newest(facts: Facts, split: Split) -> int:
    """Return how many available pods are of the newest revision, and of the one that has to go where there is none."""
    if split.percent == 0:
        return facts.canary.available
    digest = facts.desired.revision
    return facts.canary.available_of(digest) + facts.deployment.available_of(digest)


def _standing_in(facts: Facts, split: Split) -> str:
    if split.percent == 100 and not split.stands_in:
        return "; the newest version takes over"
    if not split.stands_in:
        return ""
    needed = max(facts.deployment.wanted, split.stable)
    others = "1 pod beside it stays" if split.canary == 1 else f"{split.canary} pods beside it stay"
    text = f"; {others} until {needed} of the last good revision are available (now {facts.deployment.available}"
    ours = (pod for pod in facts.observed.pods if revision(pod) == facts.deployment.revision)
    return (
        f"{text}; no node takes its next pod: make room for one more)"
        if unplaced(ours, facts.observed.now)
        else f"{text})"
    )


def _to_be_exact(facts: Facts, split: Split, actual: int) -> str:
    """Say with how many pods the share would be what was asked for."""
    if not split.canary or actual == split.percent or waits(facts):
        return ""
    if facts.desired.replicas.autoscaled and split.percent > 50:
        return "; a half is the most, since an autoscaler decides how many pods the last good revision has"
    common = math.gcd(split.percent, 100)
    # What comes on top is up to a half the newest revision's, and above it the last good one's.
    least = (100 - split.percent if split.percent <= 50 else split.percent) // common
    text = f"; {split.percent} % exactly needs a multiple of {100 // common} pods, by minReplicas "
    return f"{text}{least} or a multiple of it"


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
    if routes is None or routes.gateway is None or split is None or not split.canary or split.percent == 100:
        return ""
    if weighed(facts):
        return "; the Gateway has not taken the weights up yet"
    if routes.settles:
        return "; the Gateway is told the weights once the Services of the two revisions have endpoints"
    if routes.problems:
        return "; no weights, see RoutesReady"
    return "; no weights, since the last good revision is of a former release, whose pods a Service cannot tell apart"


def waits(facts: Facts) -> bool:
    """Whether pods of either revision are still to come."""
    split = facts.desired.split
    return split is not None and (split.stands_in or facts.canary.available < split.canary)


def sharing(facts: Facts) -> str:
    """Return in words how far the newest revision is."""
    split = facts.desired.split
    assert split is not None  # noqa: S101 - asked only where there is one
    if split.stands_in:
        return f"The last good revision gets its pods back{_standing_in(facts, split)}."
    if split.percent == 0:
        return "The newest version gets no requests, as canaryTrafficPercent asks; the last good one serves."
    text = f"The newest version has {_newest(facts, split)} of {split.canary} pods that are to be available"
    return f"{text}, beside {facts.deployment.available} of the last good one."
