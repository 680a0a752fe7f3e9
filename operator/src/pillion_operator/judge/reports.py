"""What the runtimes say about their models, as problems."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from pillion_operator.state.plan import Problem
from pillion_operator.state.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pillion_operator.state.observed import ModelReport

__all__ = ["report_problems"]

#: A runtime's reason is a sentence that may end in its remedy, in brackets.
_REMEDY: Final = re.compile(r"^(?P<text>.*\S)\s*\((?P<remedy>[^()]*(?:\([^()]*\)[^()]*)*)\)\.?$", re.DOTALL)


def report_problems(reports: Iterable[ModelReport]) -> tuple[Problem, ...]:
    """Return why models could not be loaded, each kind once."""
    found: dict[str, Problem] = {}
    for report in reports:
        if report.state == "UNAVAILABLE" and report.reason:
            problem = _problem(report)
            found.setdefault(problem.reason, problem)
    return tuple(found.values())


def _problem(report: ModelReport) -> Problem:
    match = _REMEDY.match(report.reason)
    text, remedy = (match["text"], match["remedy"]) if match else (report.reason, "")
    unsafe = "can run any code" in text
    reason = Reason.UNSAFE_FORMAT if unsafe else Reason.MODEL_LOAD_FAILED
    # A file that is refused for its format is refused again; one that fails to load may be waiting for something.
    return Problem(reason, f"the model could not be loaded: {text}", report.pod, transient=not unsafe, remedy=remedy)
