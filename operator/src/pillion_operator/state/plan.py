"""What a service should consist of, and what stands in the way of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pillion_operator.state.names import PREDICTOR
from pillion_operator.state.policies import ConsentRule
from pillion_operator.state.reasons import Reason, sentence

if TYPE_CHECKING:
    from pillion_operator.state.declared import OwnModel
    from pillion_operator.state.kinds import Kind
    from pillion_operator.state.manifest import Manifest
    from pillion_operator.state.placement import Placement
    from pillion_operator.state.revisions import RolledBack
    from pillion_operator.state.routes import RoutePlan
    from pillion_operator.state.scaling import PodScaling

__all__ = [
    "Child",
    "ComponentPlan",
    "Desired",
    "Endpoints",
    "Followed",
    "Note",
    "PlanError",
    "Problem",
    "Progress",
    "ReplicaBounds",
    "RuntimeChoice",
    "Split",
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
    """The training whose model a service serves, and the percentage of requests it is to have, None for what the
    service itself says.
    """

    training: str
    uri: str
    digest: str
    share: int | None = None


@dataclass(frozen=True, slots=True)
class ReplicaBounds:
    """How many pods there may be; `most` is None where only others set a limit.

    `autoscaled` says that an autoscaler of ours decides in between: by `by_pods` where that is set, the operator itself
    by what the pods count, else a HorizontalPodAutoscaler. `to_zero_after` is set where there may be none below the
    least: once nothing was asked for so many seconds.
    """

    least: int
    most: int | None
    autoscaled: bool = False
    by_pods: PodScaling | None = None
    to_zero_after: float | None = None

    @property
    def left_to_scalers(self) -> bool:
        """Whether the count is nobody's in between: whoever scales writes it and does not own it."""
        return self.autoscaled or self.to_zero_after is not None


@dataclass(frozen=True, slots=True)
class Split:
    """How pods are shared out between the last good revision and the newest.

    Attributes:
        percent: what was asked for the newest; 100 while it takes over, or the manifest has gone back.
        canary: the number of pods in the Deployment beside the last good one's.
        stable: the least of the last good one's.
        weight: the percentage of requests that a Gateway gives the pods of the Deployment beside.
        stands_in: whether these are more than was asked for, until the last good one has its pods back.
    """

    percent: int
    canary: int
    stable: int
    weight: int = 0
    stands_in: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the newest revision is in the steps and the analysis of its rollout.

    Attributes:
        percent: its share now; 100 once every step has passed.
        step: from 1 on, zero where the manifest has no steps.
        steps: their number.
        since: when it reached the share of this step, zero before.
        analysis: what the analysis says, empty where there is none.
        failed: whether that is to take its share away.
        news: what just happened, for an event.
        wait: seconds after which to look again.
    """

    percent: int
    step: int = 0
    steps: int = 0
    since: float = 0.0
    analysis: str = ""
    failed: bool = False
    news: str = ""
    wait: float | None = None


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the service answers inside the cluster."""

    url: str
    grpc_url: str

    @property
    def secure(self) -> bool:
        """Whether the pods speak TLS."""
        return self.url.startswith("https:")


@dataclass(frozen=True, slots=True)
class Child:
    """One object to apply."""

    kind: Kind
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class ComponentPlan:
    """The plan of a component beside the predictor.

    Attributes:
        component: which one.
        children: objects to apply, in this order.
        replicas: bounds of its Deployment's count.
        endpoints: where it answers inside the cluster.
        revision: the digest of its pod template; empty where it could not be planned.
        problem: what kept it from being planned: what runs of it then stays.
        notes: what of it has no effect.
    """

    component: str
    children: tuple[Child, ...]
    replicas: ReplicaBounds
    endpoints: Endpoints
    revision: str = ""
    problem: Problem | None = None
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class Desired:
    """The whole plan.

    Attributes:
        children: objects to apply, in this order.
        replicas: bounds of the Deployment's count, which is never part of its manifest.
        pickle: the policy for formats that can run code that it was made under.
        models_digest: of the file of declared models that the pods are to see; empty where there is none.
        models: those of them that the manifest itself declares, `predictor.models`, in its order.
        placement: which pods have which of the declared models; None where all have all.
        lead: the EndpointSlice that may lead to the activator, without what is known only as it runs.
        followed: the training whose model is served.
        revision: the digest of the pod template that the manifest asks for.
        split: set where that one gets a share and the last good one the rest.
        rolled_back: set where that one failed and children are of another.
        progress: how far that share is in the steps of the rollout, where there are any.
        routes: the way in from outside, None where none is asked for.
        spared: children that are not planned any more, and stay while a route or a revision may need them.
        components: the plans of those beside the predictor, which nothing above is about.
        entry: the component that callers are led to.
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
    models: tuple[OwnModel, ...] = ()
    placement: Placement | None = None
    lead: Manifest | None = None
    followed: Followed | None = None
    revision: str = ""
    rolled_back: RolledBack | None = None
    split: Split | None = None
    progress: Progress | None = None
    routes: RoutePlan | None = None
    spared: frozenset[tuple[Kind, str]] = frozenset()
    components: tuple[ComponentPlan, ...] = ()
    entry: str = PREDICTOR

    @property
    def complete(self) -> bool:
        """Whether everything could be planned."""
        return self.problem is None

    @property
    def all_children(self) -> tuple[Child, ...]:
        """The objects of every component; what leads to them comes last."""
        return (*(child for one in self.components for child in one.children), *self.children)

    @property
    def front(self) -> Endpoints:
        """Where the component answers that callers are led to."""
        plan = self.beside(self.entry)
        return self.endpoints if plan is None else plan.endpoints

    def beside(self, component: str) -> ComponentPlan | None:
        """Return the plan of that component, None where there is none of it."""
        return next((one for one in self.components if one.component == component), None)
