"""PredictorReady: whether the predictor answers, as the manifest asks."""

from __future__ import annotations

from typing import Final

from pillion_operator.judge.facts import Facts, Verdict, said_meanwhile
from pillion_operator.state.reasons import Reason, sentence

TYPE: Final = "PredictorReady"


def judge(facts: Facts) -> Verdict:
    """Judge: any problem of the newest version makes it False, even while an older version serves on."""
    deployment = facts.deployment
    if facts.desired.replicas.most == 0:
        return Verdict(TYPE, "False", Reason.STOPPED, "Stopped by the annotation; remove it to start again.")
    if facts.problems:
        return Verdict(TYPE, "False", facts.problems[0].reason, said_meanwhile(facts.problems[0], deployment))
    if facts.asleep and not facts.led:
        text = "no pod runs, and no replica of the activator takes requests that would start one"
        return Verdict(TYPE, "False", Reason.ACTIVATOR_UNAVAILABLE, sentence(text, Reason.ACTIVATOR_UNAVAILABLE))
    if facts.asleep:
        text = (
            f"No pod runs, as nothing was asked for {facts.desired.replicas.to_zero_after:g} s; a request starts one."
        )
        return Verdict(TYPE, "True", Reason.SCALED_TO_ZERO, text)
    if facts.waking:
        return Verdict(TYPE, "True", Reason.WAKING, "The first pod starts; requests wait for it in the activator.")
    if not deployment.exists or not deployment.current:
        return Verdict(TYPE, "False", Reason.STARTING, "The Deployment has been applied; no pod has been made yet.")
    # Pods that a scaler adds on top are its business: while they start, the service answers as the manifest asks.
    needed = min(deployment.wanted, max(1, facts.desired.replicas.least))
    if deployment.available < needed or deployment.wanted == 0:
        text = f"{deployment.available} of {deployment.wanted} pods are available."
        return Verdict(TYPE, "False", Reason.STARTING, text)
    text = f"{deployment.available} of {deployment.wanted} pods are available"
    text += f"; note that {facts.warnings[0].sentence}" if facts.warnings else "."
    return Verdict(TYPE, "True", Reason.READY, text)
