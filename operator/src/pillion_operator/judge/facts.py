"""What the conditions are judged from: the observation, digested once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from pillion_operator.state.kinds import DEPLOYMENT, SERVICE
from pillion_operator.state.manifest import (
    Manifest,
    annotations_of,
    condition_of,
    generation_of,
    is_deleting,
    number_at,
    text_at,
)
from pillion_operator.state.names import REVISION_ANNOTATION, RUNTIME_CONTAINER, predictor_name
from pillion_operator.state.plan import Problem
from pillion_operator.state.reasons import Reason

if TYPE_CHECKING:
    from pillion.resources import InferenceService
    from pillion_operator.state.observed import Observed, Outcome
    from pillion_operator.state.plan import Desired

__all__ = ["DeploymentFacts", "Facts", "Verdict", "deployment_facts", "is_ready", "revision"]

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


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that the judges see. `problems` are ordered: what most explains the state comes first."""

    service: InferenceService
    observed: Observed
    desired: Desired
    outcome: Outcome
    deployment: DeploymentFacts
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...] = ()

    @property
    def tells_of_models(self) -> bool:
        """Whether the pods say which models they have: those that the operator gives a model, and own images of ours.

        An image made on Pillion's runtime brings its models along, and is known by its container's name.
        """
        predictor = self.service.spec.predictor
        container = predictor.serving_container
        return predictor.serving_model is not None or (container is not None and container.name == RUNTIME_CONTAINER)

    @property
    def has_service(self) -> bool:
        """Whether the Service of the predictor is there and ours."""
        return predictor_name(self.service.metadata.name or "") in self.observed.children.get(SERVICE, {})


def deployment_facts(observed: Observed, name: str) -> DeploymentFacts:
    """Digest the Deployment. Source: apps/v1 DeploymentStatus."""
    found = observed.children.get(DEPLOYMENT, {}).get(name)
    if found is None:
        return DeploymentFacts()
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
        revision=text_at(found, "spec", "template", "metadata", "annotations", REVISION_ANNOTATION),
    )


def refused_pods(message: str) -> Problem:
    """Return the problem of a Deployment whose pods the API server does not admit."""
    quota = "exceeded quota" in message
    reason = Reason.QUOTA_EXCEEDED if quota else Reason.PODS_REFUSED
    return Problem(reason, f"pods cannot be created: {message}")


def revision(pod: Manifest) -> str:
    """Return the version that the pod is of."""
    return annotations_of(pod).get(REVISION_ANNOTATION, "")


def is_ready(pod: Manifest) -> bool:
    """Whether the pod is ready and stays."""
    return condition_of(pod, "Ready").get("status") == "True" and not is_deleting(pod)
