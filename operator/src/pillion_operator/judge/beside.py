"""How the components beside the predictor are: what TransformerReady and ExplainerReady are judged from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pillion_operator.judge.deadline import overdue
from pillion_operator.judge.facts import (
    DeploymentFacts,
    Verdict,
    deployment_facts,
    is_ready,
    refused_pods,
    said_meanwhile,
)
from pillion_operator.judge.pods import pod_problems
from pillion_operator.judge.scaling_active import undecided
from pillion_operator.state.kinds import DEPLOYMENT, HORIZONTAL_POD_AUTOSCALER, SERVICE
from pillion_operator.state.manifest import key_of, labels_of, revision
from pillion_operator.state.names import COMPONENT_LABEL, component_name
from pillion_operator.state.reasons import Reason

if TYPE_CHECKING:
    from pillion.resources import JsonObject
    from pillion_operator.judge.facts import Facts
    from pillion_operator.state.plan import ComponentPlan, Desired, Problem

__all__ = [
    "ComponentFacts",
    "component_facts",
    "concerns_beside",
    "judged",
    "late_beside",
    "pods_left",
    "status_of_component",
]


@dataclass(frozen=True, slots=True)
class ComponentFacts:
    """One component that the manifest asks for.

    Attributes:
        plan: what it should consist of.
        deployment: the account of its Deployment.
        problems: what keeps it from being ready, the most telling first.
        has_service: whether its Service is there and ours.
        serves: whether a pod of the newest version is ready.
        overdue: whether its rollout has used up its time.
        warnings: what is worth a word while it serves, in sentences.
    """

    plan: ComponentPlan
    deployment: DeploymentFacts
    problems: tuple[Problem, ...]
    has_service: bool
    serves: bool
    overdue: bool
    warnings: tuple[str, ...] = ()

    @property
    def lasting(self) -> Problem | None:
        """What somebody has to act on before it gets better."""
        lasting = next((problem for problem in self.problems if not problem.transient), None)
        return self.problems[0] if lasting is None and self.overdue and self.problems else lasting


def component_facts(facts: Facts) -> tuple[ComponentFacts, ...]:
    """Digest each of them."""
    return tuple(_facts(facts, plan) for plan in facts.desired.components)


def concerns_beside(problem: Problem, desired: Desired) -> bool:
    """Whether a problem is about an object of a component beside the predictor."""
    return any(problem.location in _places(plan) for plan in desired.components)


def late_beside(facts: Facts) -> ComponentFacts | None:
    """Return the first of which not every pod is of the newest version and available."""
    return next((found for found in component_facts(facts) if not found.deployment.rolled_out), None)


def pods_left(facts: Facts) -> int:
    """Return the number of pods of all components, as their Deployments count them."""
    return facts.deployment.total + sum(found.deployment.total for found in component_facts(facts))


def judged(facts: Facts, component: str, kind: str) -> Verdict | None:
    """Return the verdict on one of them, None where the manifest does not ask for it."""
    found = next((one for one in component_facts(facts) if one.plan.component == component), None)
    if found is None:
        return None
    deployment = found.deployment
    if found.plan.replicas.most == 0:
        return Verdict(kind, "False", Reason.STOPPED, "Stopped by the annotation; remove it to start again.")
    if found.problems:
        return Verdict(kind, "False", found.problems[0].reason, said_meanwhile(found.problems[0], deployment))
    if not deployment.exists or not deployment.current:
        return Verdict(kind, "False", Reason.STARTING, "The Deployment has been applied; no pod has been made yet.")
    needed = min(deployment.wanted, max(1, found.plan.replicas.least))
    text = f"{deployment.available} of {deployment.wanted} pods are available."
    if deployment.available < needed or deployment.wanted == 0:
        return Verdict(kind, "False", Reason.STARTING, f"The {component}: {text}")
    if found.warnings:
        text = f"{text.removesuffix('.')}; note that {found.warnings[0]}"
    return Verdict(kind, "True", Reason.READY, text)


def status_of_component(found: ComponentFacts, before: JsonObject, outside: tuple[str, str]) -> JsonObject:
    """Return what the status tells of it.

    Args:
        found: the component.
        before: what the status told of it last.
        outside: the URLs of HTTP and gRPC that lead to it from outside the cluster, empty ones where none do.
    """
    endpoints = found.plan.endpoints
    status: JsonObject = {}
    if found.has_service:
        url = outside[0] or endpoints.url
        status |= {"url": url, "restUrl": url, "address": {"url": endpoints.url}}
        status |= {"grpcUrl": outside[1] or endpoints.grpc_url} if endpoints.grpc_url else {}
    newest = found.deployment.revision
    status |= {"latestCreatedRevision": newest} if newest else {}
    served = newest if found.serves else before.get("latestReadyRevision")
    return status | ({"latestReadyRevision": served} if served else {})


def _facts(facts: Facts, plan: ComponentPlan) -> ComponentFacts:
    observed, name = facts.observed, component_name(facts.service.metadata.name or "", plan.component)
    deployment = deployment_facts(observed, name)
    ours = [pod for pod in observed.beside if labels_of(pod).get(COMPONENT_LABEL) == plan.component]
    newest = [pod for pod in ours if revision(pod) == deployment.revision]
    ready = sum(map(is_ready, newest))
    late = overdue(observed.children.get(DEPLOYMENT, {}).get(name), ours, observed.now)
    problems = [] if plan.problem is None else [plan.problem]
    written = [problem for problem in facts.outcome.problems if problem.location in _places(plan)]
    # Pods that serve do so without what is beside them, too.
    healthy = deployment.rolled_out and deployment.wanted > 0
    warnings = [problem for problem in written if healthy and problem.reason == Reason.KIND_UNAVAILABLE]
    problems += (problem for problem in written if problem not in warnings)
    if plan.replicas.most != 0:
        of_pods = [*pod_problems(newest, surge=deployment.surging)]
        of_pods += [refused_pods(deployment.pods_refused)] if deployment.pods_refused else []
        # What keeps pods from starting that an autoscaler adds on top is worth a word, and no reason to be not ready.
        scaled = plan.replicas.autoscaled and ready >= plan.replicas.least
        (warnings if scaled else problems).extend(of_pods)
    told = [problem.sentence for problem in warnings]
    scaler = observed.children.get(HORIZONTAL_POD_AUTOSCALER, {}).get(name)
    if scaler is not None and plan.replicas.autoscaled:
        stuck = undecided(scaler, observed.now, available=deployment.available)
        told += [stuck.message] if stuck is not None and stuck.status == "False" else []
    has_service = name in observed.children.get(SERVICE, {})
    return ComponentFacts(plan, deployment, tuple(problems), has_service, ready > 0, late, tuple(told))


def _places(plan: ComponentPlan) -> frozenset[str]:
    return frozenset(f"{child.kind.name}/{key_of(child.manifest).name}" for child in plan.children)
