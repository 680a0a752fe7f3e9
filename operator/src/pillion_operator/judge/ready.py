"""Ready: whether the service answers as the manifest asks. The condition that people wait for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pillion_operator.judge import predictor_ready, routes_ready
from pillion_operator.judge.facts import Verdict
from pillion_operator.state.reasons import Reason

if TYPE_CHECKING:
    from pillion_operator.judge.facts import Facts

TYPE: Final = "Ready"


def judge(facts: Facts) -> Verdict:
    """Judge: the first part that is not ready speaks for the whole."""
    for part in (predictor_ready.judge(facts), routes_ready.judge(facts)):
        if part.status != "True":
            return Verdict(TYPE, part.status, part.reason, part.message)
    part = predictor_ready.judge(facts)
    loaded = facts.tells_of_models and part.reason == Reason.READY
    return Verdict(TYPE, "True", Reason.LOADED if loaded else part.reason, part.message)
