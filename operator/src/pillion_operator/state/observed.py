"""What is known of one InferenceService and its surroundings at one moment, and what was done about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pillion_operator.state.policies import NamespaceRules

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pillion_operator.state.declared import PodReport
    from pillion_operator.state.kinds import Kind
    from pillion_operator.state.manifest import Manifest
    from pillion_operator.state.plan import Problem
    from pillion_operator.state.revisions import Revision
    from pillion_operator.state.routes import GatewayFacts
    from pillion_operator.state.scaling import ScalingReport

__all__ = ["CertificateFacts", "ModelReport", "Observed", "ObservedTraining", "Outcome", "TrainingReport"]


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """What a TLS Secret holds, without the key itself."""

    secret: str
    found: bool
    missing_keys: tuple[str, ...] = ()
    invalid: str = ""
    not_after: float | None = None
    """End of validity, in seconds since 1970."""
    certificate: str = ""
    """Of cert-manager the Certificate that the Secret was made for; empty for any other Secret."""


@dataclass(frozen=True, slots=True)
class ModelReport:
    """What one pod's runtime says about one of its models at `/status`."""

    pod: str
    state: str
    reason: str = ""
    libraries: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    cause: str = ""
    """One word for `reason`: a reason of ours, empty where the runtime has none."""
    model: str = ""


@dataclass(frozen=True, slots=True)
class Observed:
    """The object, its children and what they refer to.

    Attributes:
        service: the InferenceService as stored.
        children: objects of ours in the caches, by kind; of a kind each by its name.
        pods: the pods of the predictor, also those of older versions.
        certificates: facts about the TLS Secrets that the manifest names.
        missing: problems with objects that the pods refer to and that are not there.
        reports: what the pods' runtimes say.
        scaling: what the operator's own autoscaler says, where it has looked.
        resting: what keeps a service that may have no pods from having none.
        now: seconds since 1970.
        revisions: what was rolled out or failed before, the oldest first.
        gateway: the Gateway that routes are attached to, where one is named.
        declared: what pods say of the models that the manifest declares, where it declares several.
        rules: what the platform's policies say in its namespace.
        beside: the pods of the components beside the predictor.
    """

    service: Manifest
    children: Mapping[Kind, Mapping[str, Manifest]]
    pods: tuple[Manifest, ...] = ()
    certificates: tuple[CertificateFacts, ...] = ()
    missing: tuple[Problem, ...] = ()
    reports: tuple[ModelReport, ...] = ()
    now: float = 0.0
    revisions: tuple[Revision, ...] = ()
    scaling: ScalingReport | None = None
    resting: ScalingReport | None = None
    gateway: GatewayFacts | None = None
    declared: tuple[PodReport, ...] = ()
    rules: NamespaceRules = field(default_factory=NamespaceRules)
    beside: tuple[Manifest, ...] = ()


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """What a running training says of itself at `/status`."""

    progress: float | None = None
    """From 0 to 1."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    checkpoint: int | None = None
    warning: str = ""


@dataclass(frozen=True, slots=True)
class ObservedTraining:
    """A TrainingJob and what there is of it.

    Attributes:
        training: the TrainingJob as stored.
        job: its Job, None where there is none.
        pods: the pods of that very Job.
        missing: objects that its pods refer to and that are not there.
        report: what the running pod says.
        service: the InferenceService that it is deployed to, None where there is none.
        followed: the training whose model that service is to serve.
        now: seconds since 1970.
    """

    training: Manifest
    job: Manifest | None
    pods: tuple[Manifest, ...] = ()
    missing: tuple[Problem, ...] = ()
    report: TrainingReport | None = None
    service: Manifest | None = None
    followed: str = ""
    now: float = 0.0


@dataclass(frozen=True, slots=True)
class BatchReport:
    """What one pod of a batch prediction says of its share: at `/status` while it runs, and with its last word.

    Attributes:
        total: shards of all pods.
        done: of its own.
        read, written, failed: rows of its own.
    """

    total: int = 0
    done: int = 0
    read: int = 0
    written: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class ObservedBatch:
    """A BatchPrediction and what there is of it.

    Attributes:
        batch: the BatchPrediction as stored.
        job: its Job, None where there is none.
        pods: the pods of that very Job.
        missing: objects that its pods refer to and that are not there.
        reports: what running pods say, by their names.
    """

    batch: Manifest
    job: Manifest | None
    pods: tuple[Manifest, ...] = ()
    missing: tuple[Problem, ...] = ()
    reports: Mapping[str, BatchReport] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What applying the plan came to.

    Attributes:
        problems: what the API server refused, or what stands in the way under the same name.
        repaired: sentences about drift that was undone, for events.
        created: names of children that were not there before.
        writes: how many write requests were sent.
        given_up: names of models that the pods were told to serve, and are told no more.
        news: what happened to the steps of a rollout.
    """

    problems: tuple[Problem, ...] = ()
    repaired: tuple[str, ...] = ()
    created: tuple[str, ...] = ()
    writes: int = 0
    given_up: tuple[str, ...] = ()
    news: str = ""
