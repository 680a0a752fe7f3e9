"""RoutesReady: whether there is an address that leads to the service, and the way in that the manifest asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pillion_operator.judge.facts import Verdict
from pillion_operator.judge.routes import concerns, ways
from pillion_operator.state.kinds import SERVICE
from pillion_operator.state.reasons import Reason

if TYPE_CHECKING:
    from pillion_operator.judge.facts import Facts
    from pillion_operator.state.plan import Problem

TYPE: Final = "RoutesReady"


def judge(facts: Facts) -> Verdict:
    """Judge: the Service is there and ours."""
    in_the_way = next((p for p in facts.outcome.problems if p.location.startswith(f"{SERVICE.name}/")), None)
    if in_the_way is not None:
        return Verdict(TYPE, "False", in_the_way.reason, in_the_way.sentence)
    if not (facts.has_service and facts.leads):
        return Verdict(TYPE, "False", Reason.STARTING, "The Service has not been made yet.")
    inside, entry = facts.desired.front.url, facts.desired.entry
    if facts.desired.routes is None:
        return Verdict(TYPE, "True", Reason.SERVICE_APPLIED, f"The {entry} answers at {inside}.")
    problem = next(iter(route_problems(facts)), None)
    if problem is not None:
        return Verdict(TYPE, "False", problem.reason, f"{problem.sentence} Inside the cluster it answers at {inside}.")
    found = [way.url for way in ways(facts) if way.url]
    if not found:
        text = f"The route is taken up; at which URL cannot be told: {_untold(facts)}. "
        return Verdict(TYPE, "True", Reason.ROUTED, f"{text}Inside the cluster the {entry} answers at {inside}.")
    return Verdict(TYPE, "True", Reason.ROUTED, f"The {entry} answers at {' and '.join(found)}.")


def route_problems(facts: Facts) -> tuple[Problem, ...]:
    """Return what keeps the way in from being as it was asked for."""
    plan = facts.desired.routes
    if plan is None:
        return ()
    refused = [problem for problem in facts.outcome.problems if concerns(problem)]
    found = [way.problem for way in ways(facts) if way.problem is not None]
    return tuple(dict.fromkeys([*plan.problems, *refused, *found]))


def _untold(facts: Facts) -> str:
    gateway, plan = facts.observed.gateway, facts.desired.routes
    if plan is not None and plan.gateway is None:
        return "its hosts are wildcards"
    if gateway is None or not gateway.found:
        return "the Gateway is not there" if gateway is None or not gateway.forbidden else gateway.forbidden
    return "no listener of the Gateway fits its hosts, they are wildcards, or the Gateway has no address"
