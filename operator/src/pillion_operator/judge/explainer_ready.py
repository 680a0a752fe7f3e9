"""ExplainerReady: whether the explainer answers, as the manifest asks; there only where it asks for one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pillion_operator.judge.beside import judged
from pillion_operator.state.names import EXPLAINER

if TYPE_CHECKING:
    from pillion_operator.judge.facts import Facts, Verdict

TYPE: Final = "ExplainerReady"


def judge(facts: Facts) -> Verdict | None:
    """Judge by its own Deployment and pods."""
    return judged(facts, EXPLAINER, TYPE)
