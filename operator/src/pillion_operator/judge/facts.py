"""What the conditions are judged from: the observation, digested once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from pillion_operator.state.kinds import DEPLOYMENT, ENDPOINT_SLICE, SERVICE
from pillion_operator.state.manifest import (
    Manifest,
    condition_of,
    generation_of,
    is_deleting,
    number_at,
    object_at,
    objects_at,
    revision,
    text_at,
)
from pillion_operator.state.names import RUNTIME_CONTAINER, activator_slice_name, component_name, predictor_name
from pillion_operator.state.plan import Problem
from pillion_operator.state.reasons import Reason

if TYPE_CHECKING:
    from pillion.resources import InferenceService
    from pillion_operator.judge.own_models import OwnModelFacts
    from pillion_operator.state.observed import Observed, Outcome
    from pillion_operator.state.plan import Desired

__all__ = [
    "DeploymentFacts",
    "Facts",
    "Verdict",
    "deployment_facts",
    "facts_of_deployment",
    "is_ready",
    "said_meanwhile",
]

Truth: TypeAlias = Literal["True", "False", "Unknown"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One condition as judged now; when it last changed is the report's matter."""

    type: str
    status: Truth
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class DeploymentFacts:
    """The Deployment's own account of itself; zeros where there is none."""

    exists: bool = False
    current: bool = False
    """Whether its status speaks of its newest spec."""
    wanted: int = 0
    updated: int = 0
    ready: int = 0
    available: int = 0
    total: int = 0
    deadline_exceeded: bool = False
    pods_refused: str = ""
    revision: str = ""

    @property
    def surging(self) -> bool:
        """Whether a rollout has added pods before removing others."""
        return self.current and self.total > self.wanted > 0

    @property
    def rolled_out(self) -> bool:
        """Whether every pod is of the newest version and available, and no older one is left."""
        settled = self.updated >= self.wanted and self.total <= self.updated and self.available >= self.wanted
        return self.exists and self.current and settled

    def available_of(self, digest: str) -> int:
        """Return how many pods of that revision are available for certain.

        While a changed template is rolled out, those that are available may be of the one before.
        """
        older = max(0, self.total - self.updated)
        return max(0, self.available - older) if self.current and self.revision == digest else 0


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that the judges see.

    `problems` are ordered: what most explains the state comes first. `models` are those of `predictor.models`.
    """

    service: InferenceService
    observed: Observed
    desired: Desired
    outcome: Outcome
    deployment: DeploymentFacts
    canary: DeploymentFacts
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...] = ()
    models: tuple[OwnModelFacts, ...] = ()

    @property
    def newest(self) -> str:
        """The revision that the manifest asks for, also where another serves in its place."""
        back, shares = self.desired.rolled_back, self.desired.split
        if back is not None:
            return back.failed.digest
        return self.deployment.revision if shares is None or not shares.canary else self.desired.revision

    @property
    def tells_of_models(self) -> bool:
        """Whether the pods say which models they have: those that the operator gives a model, and own images of ours.

        An image made on Pillion's runtime brings its models along, and is known by its container's name.
        """
        predictor = self.service.spec.predictor
        container = predictor.serving_container
        named = container is not None and container.name == RUNTIME_CONTAINER
        return predictor.serving_model is not None or bool(predictor.models) or named

    @property
    def asleep(self) -> bool:
        """Whether there are to be no pods, since nobody asks."""
        return self.desired.replicas.to_zero_after is not None and self.deployment.exists and not self.deployment.wanted

    @property
    def waking(self) -> bool:
        """Whether whoever asks is held until the first pod takes requests."""
        may_rest = self.desired.replicas.to_zero_after is not None
        return may_rest and self.deployment.wanted > 0 and not self.deployment.available and self.led

    @property
    def led(self) -> bool:
        """Whether the Service leads to the activator."""
        name = activator_slice_name(self.service.metadata.name or "")
        return bool(objects_at(self.observed.children.get(ENDPOINT_SLICE, {}).get(name, {}), "endpoints"))

    @property
    def has_service(self) -> bool:
        """Whether the Service of the predictor is there and ours."""
        return predictor_name(self.service.metadata.name or "") in self.observed.children.get(SERVICE, {})

    @property
    def leads(self) -> bool:
        """Whether the Service is there and ours that callers are led to."""
        name = component_name(self.service.metadata.name or "", self.desired.entry)
        return name in self.observed.children.get(SERVICE, {})


def deployment_facts(observed: Observed, name: str) -> DeploymentFacts:
    """Digest the Deployment. Source: apps/v1 DeploymentStatus."""
    found = observed.children.get(DEPLOYMENT, {}).get(name)
    return DeploymentFacts() if found is None else facts_of_deployment(found)


def facts_of_deployment(found: Manifest) -> DeploymentFacts:
    """Digest one that there is."""
    progressing = condition_of(found, "Progressing")
    failure = condition_of(found, "ReplicaFailure")
    return DeploymentFacts(
        exists=True,
        current=number_at(found, "status", "observedGeneration") >= generation_of(found),
        wanted=number_at(found, "spec", "replicas", default=1),
        updated=number_at(found, "status", "updatedReplicas"),
        ready=number_at(found, "status", "readyReplicas"),
        available=number_at(found, "status", "availableReplicas"),
        total=number_at(found, "status", "replicas"),
        deadline_exceeded=text_at(progressing, "reason") == "ProgressDeadlineExceeded",
        pods_refused=text_at(failure, "message") if failure.get("status") == "True" else "",
        revision=revision(object_at(found, "spec", "template")),
    )


def refused_pods(message: str) -> Problem:
    """Return the problem of a Deployment whose pods the API server does not admit."""
    quota = "exceeded quota" in message
    reason = Reason.QUOTA_EXCEEDED if quota else Reason.PODS_REFUSED
    return Problem(reason, f"pods cannot be created: {message}")


def said_meanwhile(problem: Problem, deployment: DeploymentFacts) -> str:
    """Return what is wrong with the newest pods, and how many serve on."""
    text, serving = problem.sentence[:1].upper() + problem.sentence[1:], deployment.available
    if not serving or not deployment.current:
        return text
    return f"{text} Meanwhile {'1 pod serves' if serving == 1 else f'{serving} pods serve'} on."


def is_ready(pod: Manifest) -> bool:
    """Whether the pod is ready and stays."""
    return condition_of(pod, "Ready").get("status") == "True" and not is_deleting(pod)
