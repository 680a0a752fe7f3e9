"""Progressing: whether a rollout is on its way. A pod that no node takes holds it up until somebody acts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pillion.resources.conventions import is_paused
from pillion_operator.judge import canary
from pillion_operator.judge.beside import late_beside
from pillion_operator.judge.facts import Verdict
from pillion_operator.judge.model_loaded import newest_pods
from pillion_operator.judge.pods import unplaced
from pillion_operator.state.plan import Problem
from pillion_operator.state.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pillion_operator.judge.facts import DeploymentFacts, Facts
    from pillion_operator.state.revisions import Guards, RolledBack

TYPE: Final = "Progressing"


def judge(facts: Facts) -> Verdict:
    """Judge by the Deployment: pods still to be replaced, or still to become available."""
    deployment = facts.deployment
    if facts.desired.rolled_back is not None:
        back = next(problem for problem in facts.problems if problem.reason == Reason.ROLLED_BACK)
        return Verdict(TYPE, "False", Reason.ROLLED_BACK, back.sentence)
    told = (*facts.problems, *facts.warnings)
    homeless = next((problem for problem in told if problem.reason == Reason.UNSCHEDULABLE), None)
    if homeless is not None and unplaced(newest_pods(facts), facts.observed.now):
        return Verdict(TYPE, "False", homeless.reason, homeless.sentence)
    if deployment.deadline_exceeded:
        text = "The rollout has made no progress within its deadline."
        return Verdict(TYPE, "False", Reason.PROGRESS_DEADLINE_EXCEEDED, text)
    if facts.desired.problem is not None and not deployment.exists:
        return Verdict(TYPE, "False", facts.desired.problem.reason, facts.desired.problem.sentence)
    if facts.desired.split is not None and facts.desired.split.percent < 100:
        text = canary.sharing(facts)
        coming = canary.waits(facts)
        return Verdict(TYPE, "True" if coming else "False", Reason.PROGRESSING if coming else Reason.SHARED, text)
    late = late_beside(facts)
    if deployment.rolled_out and late is not None:
        pods, component = late.deployment, late.plan.component
        text = f"{pods.updated} of {pods.wanted} pods of the {component} are of its newest version, "
        text += f"{pods.available} available."
        if is_paused(facts.service.metadata):
            return Verdict(TYPE, "False", Reason.PAUSED, text)
        return Verdict(TYPE, "True", Reason.PROGRESSING, text)
    if deployment.rolled_out:
        return Verdict(TYPE, "False", Reason.ROLLED_OUT, "Every pod is of the newest version.")
    if is_paused(facts.service.metadata):
        text = "The rollout is paused; resume it with 'pillion rollout resume', or remove the annotation."
        return Verdict(TYPE, "False", Reason.PAUSED, text)
    text = (
        f"{deployment.updated} of {deployment.wanted} pods are of the newest version, {deployment.available} available."
    )
    return Verdict(TYPE, "True", Reason.PROGRESSING, text)


def went_back(back: RolledBack, deployment: DeploymentFacts, trouble: Iterable[Problem] = ()) -> Problem:
    """Return what became of the newest revision, as a problem.

    Args:
        back: from which revision to which.
        deployment: of the one that serves.
        trouble: what keeps pods from starting.
    """
    judged = back.failed.judged
    why = "did not do as well as asked" if judged else "did not become ready in its time"
    text = f"revision {back.failed.number} ({back.failed.digest}) {why} and was rolled back "
    text += f"to revision {back.serving.number} ({back.serving.digest}): {judged or back.failed.message}"
    text += _guards(back.guards, deployment, trouble)
    return Problem(Reason.ROLLED_BACK, text, transient=False)


def _guards(guards: Guards, deployment: DeploymentFacts, trouble: Iterable[Problem]) -> str:
    """Say who may ask the pods that serve: that of it which the manifest says, and which of them do not hold to it."""
    text = ""
    if guards.taken:
        fields = " and ".join(guards.taken)
        if deployment.rolled_out and deployment.revision == guards.digest:
            text += f"; its pods have {fields} of the manifest"
        else:
            text += f"; its pods get {fields} of the manifest, and until they are ready others may serve without"
            found = next(iter(trouble), None)
            text += "" if found is None else f" ({found.text})"
    if guards.refused:
        text += f"; its new pods load no {' and no '.join(guards.refused)}"
    if guards.lacking:
        text += f"; ATTENTION: it serves without {' and '.join(guards.lacking)} of the manifest ({guards.why})"
    return text
