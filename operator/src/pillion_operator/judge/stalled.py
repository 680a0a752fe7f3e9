"""Stalled: whether somebody has to act before anything gets better. Source: kstatus, "Stalled"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pillion_operator.judge import routes_ready
from pillion_operator.judge.beside import component_facts
from pillion_operator.judge.facts import Verdict
from pillion_operator.state.reasons import Reason

if TYPE_CHECKING:
    from pillion_operator.judge.facts import Facts

TYPE: Final = "Stalled"


def judge(facts: Facts) -> Verdict:
    """Judge: a problem that cannot pass by itself, or a rollout beyond its deadline."""
    beside = component_facts(facts)
    told = (*facts.problems, *routes_ready.route_problems(facts))
    lasting = next((problem for problem in told if not problem.transient), None)
    lasting = lasting or next((found.lasting for found in beside if found.lasting is not None), None)
    if lasting is None and facts.deployment.deadline_exceeded and facts.problems:
        lasting = facts.problems[0]
    if lasting is not None:
        return Verdict(TYPE, "True", lasting.reason, lasting.sentence)
    if facts.deployment.deadline_exceeded or any(found.overdue for found in beside):
        text = "The rollout has made no progress within its deadline."
        return Verdict(TYPE, "True", Reason.PROGRESS_DEADLINE_EXCEEDED, text)
    return Verdict(TYPE, "False", Reason.SETTLED, "Nothing needs anybody's help.")
