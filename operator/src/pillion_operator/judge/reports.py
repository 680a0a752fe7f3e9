"""What the runtimes say about their models, as problems."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from pillion.libraries import image_variant, mismatches
from pillion_operator.state.plan import Problem
from pillion_operator.state.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pillion_operator.state.observed import ModelReport
    from pillion_operator.state.policies import ConsentRule

__all__ = ["mismatch_warnings", "report_problems"]

#: What the runtime tells apart by a word, `pillion.backends.api.LoadFailure`.
_CAUSES: Final = frozenset(
    {Reason.UNSAFE_FORMAT, Reason.UNTRUSTED_TYPES, Reason.UNTRUSTED_CODE, Reason.LIBRARY_MISMATCH}
)

#: A runtime's reason is a sentence that may end in its remedy, in brackets.
_REMEDY: Final = re.compile(r"^(?P<text>.*\S)\s*\((?P<remedy>[^()]*(?:\([^()]*\)[^()]*)*)\)\.?$", re.DOTALL)


def report_problems(reports: Iterable[ModelReport], pickle: ConsentRule) -> tuple[Problem, ...]:
    """Return why models could not be loaded, each kind once."""
    found: dict[str, Problem] = {}
    for report in reports:
        if report.state == "UNAVAILABLE" and report.reason:
            problem = _problem(report, pickle)
            found.setdefault(problem.reason, problem)
    return tuple(found.values())


def mismatch_warnings(reports: Iterable[ModelReport]) -> tuple[Problem, ...]:
    """Return what to know of models that are loaded by another version of a library than saved them, each once."""
    found: dict[str, Problem] = {}
    for report in reports:
        for mismatch in mismatches(report.libraries.get("saved", {}), report.libraries.get("loading", {})):
            text = f"the model was {mismatch}: results may differ"
            remedy = f"set runtimeVersion: {image_variant(mismatch)}, or save it again with {mismatch.name} "
            remedy += mismatch.loading
            found.setdefault(text, Problem(Reason.LIBRARY_MISMATCH, text, remedy=remedy))
    return tuple(found.values())


def _problem(report: ModelReport, pickle: ConsentRule) -> Problem:
    if report.cause == Reason.UNHEALTHY:
        return Problem(Reason.UNHEALTHY, f"the model {report.model!r} is {report.reason}", report.pod)
    match = _REMEDY.match(report.reason)
    text, remedy = (match["text"], match["remedy"]) if match else (report.reason, "")
    reason = Reason(report.cause) if report.cause in _CAUSES else Reason.MODEL_LOAD_FAILED
    if reason is Reason.UNSAFE_FORMAT and pickle.denies:
        text += f", by {pickle.said_by}"
    # What has a cause of its own needs a decision or another file; it does not pass by itself.
    lasting = reason is not Reason.MODEL_LOAD_FAILED
    return Problem(reason, f"the model could not be loaded: {text}", report.pod, transient=not lasting, remedy=remedy)
