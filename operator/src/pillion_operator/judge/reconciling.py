"""Reconciling: whether the cluster is still on its way to what the manifest says. Source: kstatus, "Reconciling"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pillion_operator.judge import canary, ready, stalled
from pillion_operator.judge.beside import late_beside, pods_left
from pillion_operator.judge.facts import Verdict
from pillion_operator.judge.own_models import coming
from pillion_operator.state.reasons import Reason

if TYPE_CHECKING:
    from pillion_operator.judge.facts import Facts

TYPE: Final = "Reconciling"


def judge(facts: Facts) -> Verdict:
    """Judge: True until rolled out and ready, unless somebody's help is needed first."""
    stuck = stalled.judge(facts)
    if stuck.status == "True":
        return Verdict(TYPE, "False", stuck.reason, "Waiting for somebody to act; see Stalled.")
    if facts.desired.replicas.most == 0:
        left = pods_left(facts)
        text = f"{left} pods are left." if left else "Stopped."
        return Verdict(TYPE, "True" if left else "False", Reason.STOPPING if left else Reason.STOPPED, text)
    whole = ready.judge(facts)
    if whole.status != "True":
        return Verdict(TYPE, "True", whole.reason, whole.message)
    if not facts.deployment.rolled_out or canary.waits(facts) or late_beside(facts) is not None:
        return Verdict(TYPE, "True", Reason.PROGRESSING, "A rollout is on its way.")
    late = coming(facts.models)
    if late and not facts.asleep:
        names = ", ".join(repr(model.name) for model in late)
        return Verdict(TYPE, "True", Reason.PROGRESSING, f"Not every pod serves {names} yet.")
    return Verdict(TYPE, "False", Reason.SETTLED, "The cluster is as the manifest says.")
