"""Ready: whether the service answers as the manifest asks. The condition that people wait for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pillion_operator.judge import explainer_ready, predictor_ready, routes_ready, transformer_ready
from pillion_operator.judge.facts import Verdict
from pillion_operator.state.reasons import Reason

if TYPE_CHECKING:
    from pillion_operator.judge.facts import Facts

TYPE: Final = "Ready"


def judge(facts: Facts) -> Verdict:
    """Judge: the first part that is not ready speaks for the whole."""
    parts = (module.judge(facts) for module in (predictor_ready, transformer_ready, explainer_ready, routes_ready))
    for part in parts:
        if part is not None and part.status != "True":
            return Verdict(TYPE, part.status, part.reason, part.message)
    part = predictor_ready.judge(facts)
    loaded = facts.tells_of_models and part.reason == Reason.READY
    return Verdict(TYPE, "True", Reason.LOADED if loaded else part.reason, part.message)
