"""The whole status: every condition, and the facts that columns and clients read."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pillion_operator.judge import (
    canary,
    explainer_ready,
    fields_honoured,
    job_store_ready,
    model_loaded,
    predictor_ready,
    progressing,
    ready,
    reconciling,
    routes_ready,
    scaling_active,
    stalled,
    stopped,
    transformer_ready,
)
from pillion_operator.judge.beside import component_facts, concerns_beside, status_of_component
from pillion_operator.judge.certificates import certificate_problems
from pillion_operator.judge.deadline import overdue
from pillion_operator.judge.facts import DeploymentFacts, Facts, Verdict, deployment_facts, is_ready, refused_pods
from pillion_operator.judge.model_loaded import active_state, newest_pods, target_state
from pillion_operator.judge.own_models import own_model_facts, own_problems, statuses
from pillion_operator.judge.placement import placement_status
from pillion_operator.judge.pods import pod_problems
from pillion_operator.judge.progressing import went_back
from pillion_operator.judge.reports import mismatch_warnings, report_problems
from pillion_operator.judge.routes import Way, concerns, ways
from pillion_operator.state.kinds import DEPLOYMENT
from pillion_operator.state.manifest import array, generation_of, key_of, object_at, objects_at, revision, text_at
from pillion_operator.state.names import PREDICTOR, canary_name, predictor_name
from pillion_operator.state.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import JsonValue

    from pillion.resources import InferenceService, JsonObject
    from pillion_operator.state.observed import ModelReport, Observed, Outcome
    from pillion_operator.state.plan import Desired, Problem
    from pillion_operator.state.revisions import RolledBack

__all__ = ["JUDGES", "conditions_of", "facts_of", "status_of", "verdicts"]

JUDGES: Final = (
    ready, predictor_ready, transformer_ready, explainer_ready, routes_ready, model_loaded, progressing, stopped,
    reconciling, stalled, fields_honoured, scaling_active, job_store_ready,
)  # fmt: skip


def facts_of(service: InferenceService, observed: Observed, desired: Desired, outcome: Outcome) -> Facts:
    """Digest what was observed and done. What explains the state best comes first among the problems."""
    name = predictor_name(service.metadata.name or "")
    late = overdue(observed.children.get(DEPLOYMENT, {}).get(name), observed.pods, observed.now)
    deployment = replace(deployment_facts(observed, name), deadline_exceeded=late)
    certificates = certificate_problems(observed.certificates, observed.now)
    # What is missing keeps new pods from starting; pods that run already have it mounted.
    healthy = deployment.rolled_out and deployment.wanted > 0
    blocking = [p for p in certificates if not healthy or p.reason == Reason.CERTIFICATE_EXPIRED]
    stopped_ = desired.replicas.most == 0
    beside = deployment_facts(observed, canary_name(service.metadata.name or ""))
    stay = {deployment.revision, beside.revision}
    leaving = {key_of(pod).name for pod in observed.pods if revision(pod) not in stay}
    wanted = deployment.wanted + beside.wanted
    placement = None if desired.placement is None else desired.placement.file
    models = own_model_facts(desired.models, observed.declared, wanted, leaving, placement)
    facts = Facts(service, observed, desired, outcome, deployment, beside, (), models=models)
    newest = newest_pods(facts)
    in_pods = pod_problems(newest, surge=deployment.surging)
    # What keeps pods from starting that an autoscaler adds on top is worth a word, and no reason to be not ready.
    bounds = desired.replicas
    scaled = bounds.autoscaled and bounds.least <= sum(is_ready(pod) for pod in newest)
    refused = [refused_pods(deployment.pods_refused)] if deployment.pods_refused else []
    problems: list[Problem] = [desired.problem] if desired.problem else []
    problems += [] if desired.rolled_back is None else [_went_back(desired.rolled_back, observed, deployment)]
    written = [one for one in outcome.problems if not concerns(one) and not concerns_beside(one, desired)]
    # Pods that serve do so without what is beside them, too.
    beside_them = [p for p in written if healthy and p.reason == Reason.KIND_UNAVAILABLE]
    problems += (problem for problem in written if problem not in beside_them)
    if not stopped_:
        problems += blocking
        # Who cannot know callers turns them away, however well the pods are.
        problems += (p for p in observed.missing if not healthy or p.reason == Reason.CALLERS_NOT_REVIEWED)
        # A pod's own account is more exact than the storm of restarts that follows from it.
        problems += report_problems(observed.reports, desired.pickle)
        problems += [] if scaled else in_pods
        problems += [] if scaled else refused
        problems += own_problems(models)
    mismatched = mismatch_warnings(_of(newest, observed.reports))
    of_scaled = (*in_pods, *refused) if scaled and not stopped_ else ()
    warned = (*beside_them, *certificates, *observed.missing, *mismatched, *of_scaled)
    warnings = tuple(p for p in warned if p not in problems)
    return replace(facts, problems=tuple(problems), warnings=warnings)


def _went_back(back: RolledBack, observed: Observed, deployment: DeploymentFacts) -> Problem:
    ours = [pod for pod in observed.pods if revision(pod) == back.guards.digest]
    return went_back(back, deployment, (*observed.missing, *pod_problems(ours)))


def verdicts(facts: Facts) -> tuple[Verdict, ...]:
    """Return every condition that bears on the service."""
    found = (module.judge(facts) for module in JUDGES)
    return tuple(verdict for verdict in found if verdict is not None)


def status_of(facts: Facts, timestamp: str) -> JsonObject:
    """Return the status to write; conditions that did not change keep the time of their last change."""
    generation = generation_of(facts.observed.service)
    deployment, front = facts.deployment, facts.desired.front
    status: JsonObject = {
        "observedGeneration": generation,
        "conditions": conditions_of(facts.observed.service, verdicts(facts), timestamp),
        "deploymentMode": "Standard",
        "replicas": {
            "ready": deployment.ready,
            "desired": deployment.wanted,
            "updated": deployment.updated,
            "summary": f"{deployment.ready}/{deployment.wanted}",
        },
        "components": {PREDICTOR: _component(facts), **_beside(facts)},
    }
    if facts.leads:
        # Outside only what a route's own status says; the address is always the one inside.
        status |= {"url": ways(facts)[0].url or front.url, "address": {"url": front.url}}
    model = _model_status(facts, timestamp)
    if model:
        status["modelStatus"] = model
    if facts.models:
        status["models"] = statuses(facts.models)
    if facts.desired.placement is not None:
        status["modelPlacement"] = placement_status(facts.desired.placement, facts.observed.declared)
    shared = canary.status_of(facts)
    if shared:
        status["canary"] = shared
    followed = facts.desired.followed
    if followed is not None and facts.desired.rolled_back is None:
        status["training"] = {"trainingJob": followed.training, "uri": followed.uri, "digest": followed.digest}
    choice = facts.desired.choice
    if choice is not None:
        status["runtime"] = {"kind": choice.kind, "name": choice.name, "reason": choice.why}
        field = "clusterServingRuntimeName" if choice.kind == "ClusterServingRuntime" else "servingRuntimeName"
        status[field] = choice.name
    return status


def conditions_of(stored: JsonObject, judged: Iterable[Verdict], timestamp: str) -> list[JsonValue]:
    """Return the verdicts as conditions of the stored object's generation; what did not change keeps its time."""
    generation = generation_of(stored)
    before = {text_at(c, "type"): c for c in objects_at(stored, "status", "conditions")}
    return array(_condition(verdict, before.get(verdict.type), generation, timestamp) for verdict in judged)


def _condition(verdict: Verdict, before: JsonObject | None, generation: int, timestamp: str) -> JsonObject:
    unchanged = before is not None and before.get("status") == verdict.status
    since = text_at(before, "lastTransitionTime") if before is not None and unchanged else timestamp
    return {
        "type": verdict.type,
        "status": verdict.status,
        "reason": str(verdict.reason),
        "message": verdict.message[:1].upper() + verdict.message[1:],
        "lastTransitionTime": since or timestamp,
        "observedGeneration": generation,
    }


def _beside(facts: Facts) -> JsonObject:
    told = object_at(facts.observed.service, "status", "components")
    found: JsonObject = {}
    for one in component_facts(facts):
        name = one.plan.component
        found[name] = status_of_component(one, object_at(told, name), _outside(facts, name))
    return found


def _outside(facts: Facts, component: str) -> tuple[str, str]:
    """Return the URLs at which that component answers from outside: it is the one in front that does."""
    http, grpc = ways(facts) if component == facts.desired.entry else (Way(), Way())
    return http.url, grpc.url


def _component(facts: Facts) -> JsonObject:
    endpoints = facts.desired.endpoints
    component: JsonObject = {}
    if facts.has_service:
        http, grpc = _outside(facts, PREDICTOR)
        url = http or endpoints.url
        component |= {"url": url, "restUrl": url, "address": {"url": endpoints.url}}
        component |= {"grpcUrl": grpc or endpoints.grpc_url} if endpoints.grpc_url else {}
    if facts.newest:
        component["latestCreatedRevision"] = facts.newest
    ready_revision = facts.newest if any(is_ready(pod) for pod in newest_pods(facts)) else ""
    before = facts.service.status.components if facts.service.status else None
    if not ready_revision and before and "predictor" in before:
        ready_revision = before["predictor"].latest_ready_revision or ""
    if ready_revision:
        component["latestReadyRevision"] = ready_revision
    return component


def _model_status(facts: Facts, timestamp: str) -> JsonObject:
    if not facts.tells_of_models or facts.desired.replicas.most == 0:
        return {}
    target, active = target_state(facts), active_state(facts)
    invalid = facts.desired.problem is not None
    failed = target == "FailedToLoad"
    done = target in {"Loaded", "Standby"} and facts.deployment.rolled_out
    transition = "InvalidSpec" if invalid else "BlockedByFailedLoad" if failed else "UpToDate" if done else "InProgress"
    pods = newest_pods(facts)
    status: JsonObject = {
        "transitionStatus": transition,
        "states": {"activeModelState": active, "targetModelState": target},
        "copies": {
            "totalCopies": sum(is_ready(pod) for pod in pods),
            "failedCopies": len({p.location for p in facts.problems if p.location in {_name(pod) for pod in pods}}),
        },
    }
    if facts.problems:
        status["lastFailureInfo"] = _failure(facts, facts.problems[0], timestamp)
    libraries = next((report.libraries for report in _of(pods, facts.observed.reports) if report.libraries), {})
    if libraries:
        status["libraries"] = {which: dict(versions) for which, versions in libraries.items() if versions}
    return status


def _failure(facts: Facts, problem: Problem, timestamp: str) -> JsonObject:
    failure: JsonObject = {"reason": str(problem.reason), "message": problem.sentence}
    if problem.location:
        failure["location"] = problem.location
    if problem.exit_code is not None:
        failure["exitCode"] = problem.exit_code
    before = facts.service.status.model_status if facts.service.status else None
    known = before.last_failure_info if before else None
    same = known is not None and known.reason == problem.reason and known.message == problem.sentence
    failure["time"] = known.time if known is not None and same and known.time else timestamp
    return failure


def _of(pods: Iterable[JsonObject], reports: Iterable[ModelReport]) -> tuple[ModelReport, ...]:
    """Return what those pods report."""
    names = {_name(pod) for pod in pods}
    return tuple(report for report in reports if report.pod in names)


def _name(pod: JsonObject) -> str:
    return text_at(pod, "metadata", "name")
