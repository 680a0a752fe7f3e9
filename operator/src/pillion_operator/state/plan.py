"""What a service should consist of, and what stands in the way of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pillion_operator.state.policies import ConsentRule
from pillion_operator.state.reasons import Reason, sentence

if TYPE_CHECKING:
    from pillion_operator.state.kinds import Kind
    from pillion_operator.state.manifest import Manifest

__all__ = [
    "Child",
    "Desired",
    "Endpoints",
    "Followed",
    "Note",
    "PlanError",
    "Problem",
    "ReplicaBounds",
    "RuntimeChoice",
]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that keeps a service from being ready.

    Attributes:
        reason: why, in one word: a `Reason`, or a reason of the storage step.
        text: what happened, in words.
        location: where: a pod, a field.
        exit_code: of the container, where one ended.
        transient: whether it may pass without anybody's help; one that does not makes the object Stalled.
        remedy: what to do, where the reason's own remedy is not it.
    """

    reason: str
    text: str
    location: str = ""
    exit_code: int | None = None
    transient: bool = True
    remedy: str = ""

    @property
    def sentence(self) -> str:
        """What happened and what to do, for people."""
        return sentence(self.text, self.reason, self.remedy)


class PlanError(Exception):
    """The plan cannot be made; carries the problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.text)
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Note:
    """Something that works, and that the author of the manifest should know."""

    reason: Reason
    text: str


@dataclass(frozen=True, slots=True)
class RuntimeChoice:
    """The serving runtime in use and why it was chosen."""

    kind: str
    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Followed:
    """The training whose model a service serves."""

    training: str
    uri: str
    digest: str


@dataclass(frozen=True, slots=True)
class ReplicaBounds:
    """How many pods there may be; `most` is None where only others set a limit.

    `autoscaled` says that an autoscaler of ours decides in between.
    """

    least: int
    most: int | None
    autoscaled: bool = False


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the service answers inside the cluster."""

    url: str
    grpc_url: str


@dataclass(frozen=True, slots=True)
class Child:
    """One object to apply."""

    kind: Kind
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Desired:
    """The whole plan.

    Attributes:
        children: objects to apply, in this order.
        replicas: bounds of the Deployment's count, which is never part of its manifest.
        pickle: the policy for formats that can run code that it was made under.
        models_digest: of the file of declared models that the pods are to see; empty where there is none.
        followed: the training whose model is served.
        complete: False where a problem kept a child from being planned: what runs then stays, nothing is pruned.
    """

    children: tuple[Child, ...]
    replicas: ReplicaBounds
    endpoints: Endpoints
    choice: RuntimeChoice | None = None
    problem: Problem | None = None
    notes: tuple[Note, ...] = ()
    pickle: ConsentRule = field(default_factory=ConsentRule)
    models_digest: str = ""
    followed: Followed | None = None

    @property
    def complete(self) -> bool:
        """Whether everything could be planned."""
        return self.problem is None
