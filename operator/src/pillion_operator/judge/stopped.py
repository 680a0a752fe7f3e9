"""Stopped: whether the author asked for no pods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pillion_operator.judge.beside import pods_left
from pillion_operator.judge.facts import Verdict
from pillion_operator.state.reasons import Reason

if TYPE_CHECKING:
    from pillion_operator.judge.facts import Facts

TYPE: Final = "Stopped"


def judge(facts: Facts) -> Verdict:
    """Judge by the annotation, and by whether pods are left."""
    if facts.desired.replicas.most != 0:
        return Verdict(TYPE, "False", Reason.RUNNING, "The service is meant to run.")
    left = pods_left(facts)
    if left:
        return Verdict(TYPE, "False", Reason.STOPPING, f"{left} pods are left.")
    return Verdict(TYPE, "True", Reason.STOPPED, "There are no pods, as the annotation asks.")
