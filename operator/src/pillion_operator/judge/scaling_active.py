"""ScalingActive: whether the autoscaler can decide. Only on services that ask for one.

Source: autoscaling/v2 HorizontalPodAutoscalerConditionType, and the reasons that its controller gives.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from pillion.resources.autoscaling import metric_plan
from pillion_operator.judge.facts import Verdict
from pillion_operator.state.kinds import HORIZONTAL_POD_AUTOSCALER
from pillion_operator.state.manifest import condition_of, seconds_at, text_at
from pillion_operator.state.names import predictor_name
from pillion_operator.state.reasons import Reason, sentence

if TYPE_CHECKING:
    from pillion.resources import JsonObject
    from pillion_operator.judge.facts import Facts
    from pillion_operator.state.manifest import Manifest
    from pillion_operator.state.observed import Observed

__all__ = ["TYPE", "first_metrics_wait", "judge", "undecided", "without_pod"]

TYPE: Final = "ScalingActive"
#: Metrics of a pod that has just started come with the second scrape of metrics-server.
_FIRST_METRICS_SECONDS: Final = 90.0
#: What the controller says where nobody serves `metrics.k8s.io`, and where the one that does is down.
#: Source: `calculatePodRequests` of Kubernetes' replica calculator.
_POD: Final = re.compile(r" of Pod [a-z0-9](?:[-.a-z0-9]*[a-z0-9])?")
_NO_METRICS_API: Final = ("could not find the requested resource", "the server is currently unable to handle")


def judge(facts: Facts) -> Verdict | None:
    """Judge by the autoscaler's own conditions; None where the manifest asks for none."""
    bounds = facts.desired.replicas
    if not bounds.left_to_scalers:
        return None
    resting = facts.observed.resting
    if facts.asleep:
        return Verdict(TYPE, "True", Reason.SCALED_TO_ZERO, "No pod runs, and the next request starts one.")
    if bounds.to_zero_after is not None and resting is not None:
        return Verdict(TYPE, "False", resting.reason, sentence(resting.text, resting.reason))
    if not bounds.autoscaled:
        text = f"No pod once nothing was asked for {bounds.to_zero_after:g} s."
        return Verdict(TYPE, "True", Reason.AUTOSCALING, text)
    if bounds.by_pods is not None:
        return _by_pods(facts.observed)
    named = f"{HORIZONTAL_POD_AUTOSCALER.name}/{predictor_name(facts.service.metadata.name or '')}"
    refused = next((p for p in facts.outcome.problems if p.location == named), None)
    if refused is not None:
        return Verdict(TYPE, "False", refused.reason, refused.sentence)
    found = facts.observed.children.get(HORIZONTAL_POD_AUTOSCALER, {})
    own = found.get(predictor_name(facts.service.metadata.name or ""), {})
    resources = metric_plan(facts.service.spec.predictor).resources
    text = f"Between {bounds.least} and {bounds.most} pods, by {resources}."
    waits = undecided(own, facts.observed.now, available=facts.deployment.available)
    return waits or Verdict(TYPE, "True", Reason.AUTOSCALING, text)


def undecided(found: Manifest, now: float, *, available: int) -> Verdict | None:
    """Say why that autoscaler cannot decide, None where it can: Unknown while it may just have started.

    Args:
        found: the autoscaler.
        now: the time.
        available: how many of its pods are.
    """
    able, active = condition_of(found, "AbleToScale"), condition_of(found, "ScalingActive")
    if able.get("status") == "False":
        return _failed(Reason.AUTOSCALER_FAILED, able)
    if active.get("status") == "True":
        return None
    if not active:
        return Verdict(TYPE, "Unknown", Reason.STARTING, "The autoscaler has not looked yet.")
    return _inactive(active, waits=available == 0 or _first_wait(found, now) is not None)


def _by_pods(observed: Observed) -> Verdict:
    """Judge by what the operator's own autoscaler says; one that has just become the leader says nothing yet."""
    report, before = observed.scaling, condition_of(observed.service, TYPE)
    if report is not None:
        active = report.reason == Reason.AUTOSCALING
        unheard = report.reason == Reason.METRICS_UNAVAILABLE
        text = report.text if active else sentence(report.text, Reason.POD_NOT_REACHED if unheard else report.reason)
        return Verdict(TYPE, "True" if active else "False", report.reason, text)
    if before.get("status") == "True":
        return Verdict(TYPE, "True", text_at(before, "reason"), text_at(before, "message"))
    return Verdict(TYPE, "Unknown", Reason.STARTING, "The autoscaler has not looked yet, or no pod is Ready.")


def first_metrics_wait(observed: Observed) -> float | None:
    """Return the seconds after which the next autoscaler that waits for its first metrics counts as failed."""
    found = observed.children.get(HORIZONTAL_POD_AUTOSCALER, {}).values()
    waits = (_first_wait(one, observed.now) for one in found)
    return min((wait for wait in waits if wait is not None), default=None)


def without_pod(message: str) -> str:
    """Return what the controller says, without the pod that it happened to look at first.

    It names any one of them, another one every fifteen seconds, and the same is true of all.
    """
    return _POD.sub("", message)


def _first_wait(found: Manifest, now: float) -> float | None:
    active = condition_of(found, "ScalingActive")
    if active.get("status") != "False":
        return None
    left = seconds_at(active, "lastTransitionTime") + _FIRST_METRICS_SECONDS - now
    return left if left > 0 else None


def _inactive(active: JsonObject, *, waits: bool) -> Verdict:
    said = text_at(active, "message")
    if "missing request for" in said:
        return _failed(Reason.REQUESTS_MISSING, active)
    if any(sign in said for sign in _NO_METRICS_API):
        return _failed(Reason.METRICS_UNAVAILABLE, active)
    if waits and text_at(active, "reason").startswith("FailedGet"):
        return Verdict(TYPE, "Unknown", Reason.STARTING, "The pods have no metrics yet.")
    metrics = text_at(active, "reason").startswith("FailedGet")
    return _failed(Reason.METRICS_UNAVAILABLE if metrics else Reason.AUTOSCALER_FAILED, active)


def _failed(reason: Reason, condition: JsonObject) -> Verdict:
    said = without_pod(text_at(condition, "message")) or text_at(condition, "reason") or "it gives no reason"
    text = f"the number of pods stays as it is, since the autoscaler cannot decide: {said}"
    return Verdict(TYPE, "False", reason, sentence(text, reason))
