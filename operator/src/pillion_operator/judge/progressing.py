"""Progressing: whether a rollout is on its way. A pod that no node takes holds it up until somebody acts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pillion_operator.judge.facts import Verdict
from pillion_operator.judge.model_loaded import newest_pods
from pillion_operator.judge.pods import unplaced
from pillion_operator.state.reasons import Reason

if TYPE_CHECKING:
    from pillion_operator.judge.facts import Facts

TYPE: Final = "Progressing"


def judge(facts: Facts) -> Verdict:
    """Judge by the Deployment: pods still to be replaced, or still to become available."""
    deployment = facts.deployment
    told = (*facts.problems, *facts.warnings)
    homeless = next((problem for problem in told if problem.reason == Reason.UNSCHEDULABLE), None)
    if homeless is not None and unplaced(newest_pods(facts), facts.observed.now):
        return Verdict(TYPE, "False", homeless.reason, homeless.sentence)
    if deployment.deadline_exceeded:
        text = "The rollout has made no progress within its deadline."
        return Verdict(TYPE, "False", Reason.PROGRESS_DEADLINE_EXCEEDED, text)
    if facts.desired.problem is not None and not deployment.exists:
        return Verdict(TYPE, "False", facts.desired.problem.reason, facts.desired.problem.sentence)
    if deployment.rolled_out:
        return Verdict(TYPE, "False", Reason.ROLLED_OUT, "Every pod is of the newest version.")
    text = (
        f"{deployment.updated} of {deployment.wanted} pods are of the newest version, {deployment.available} available."
    )
    return Verdict(TYPE, "True", Reason.PROGRESSING, text)
