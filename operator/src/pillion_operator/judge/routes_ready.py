"""RoutesReady: whether there is an address that leads to the predictor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pillion_operator.judge.facts import Verdict
from pillion_operator.state.kinds import SERVICE
from pillion_operator.state.reasons import Reason

if TYPE_CHECKING:
    from pillion_operator.judge.facts import Facts

TYPE: Final = "RoutesReady"


def judge(facts: Facts) -> Verdict:
    """Judge: the Service is there and ours."""
    in_the_way = next((p for p in facts.outcome.problems if p.location.startswith(f"{SERVICE.name}/")), None)
    if in_the_way is not None:
        return Verdict(TYPE, "False", in_the_way.reason, in_the_way.sentence)
    if not facts.has_service:
        return Verdict(TYPE, "False", Reason.STARTING, "The Service has not been made yet.")
    return Verdict(TYPE, "True", Reason.SERVICE_APPLIED, f"The predictor answers at {facts.desired.endpoints.url}.")
