"""What the operator reports. Names of KServe's status are kept where the meaning is the same."""

from typing import Annotated, Literal, TypeAlias

from annotated_types import MaxLen, MinLen
from pydantic import Field

from pillion.resources.annotations import AtomicOf, Count, ListMap, Name, Percent
from pillion.resources.base import ResourceModel

ConditionStatus: TypeAlias = Literal["True", "False", "Unknown"]


class Condition(ResourceModel):
    """One aspect of the object's state: whether it holds, why, and of which generation that is said."""

    type: Annotated[str, MinLen(1), MaxLen(316)]
    """The aspect: Ready, PredictorReady, TransformerReady, ExplainerReady, RoutesReady, ModelLoaded, FieldsHonoured,
    Progressing, Stopped, Reconciling, Stalled, where an autoscaler decides ScalingActive, or JobStoreReady where that
    is False."""

    status: ConditionStatus
    """Whether it holds."""

    reason: Annotated[str, MaxLen(1024)] | None = None
    """One word for why, for programs."""

    message: Annotated[str, MaxLen(32768)] | None = None
    """A sentence for people: what happened, where, and what to do."""

    last_transition_time: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    """When the status last changed."""

    observed_generation: Annotated[int, Field(ge=0)] | None = None
    """The generation of the object that this is said of."""


Conditions: TypeAlias = Annotated[list[Condition], MaxLen(64), ListMap(("type",))]


class Address(ResourceModel):
    """An address inside the cluster."""

    url: str | None = None
    """The URL."""

    name: str | None = None
    """A name for the address."""

    ca_certs: Annotated[str | None, Field(alias="CACerts")] = None
    """The certificates to trust, as PEM."""


class TrafficTarget(ResourceModel):
    """A share of the requests."""

    revision_name: str | None = None
    """The version that gets it."""

    latest_revision: bool | None = None
    """Whether that is the newest version."""

    percent: Percent | None = None
    """The percentage."""

    tag: str | None = None
    """A name for the share."""

    url: str | None = None
    """A URL that reaches this version only."""


class ComponentStatus(ResourceModel):
    """The state of one component."""

    url: str | None = None
    """Where the component answers."""

    rest_url: str | None = None
    """Where it answers HTTP."""

    grpc_url: str | None = None
    """Where it answers gRPC."""

    address: Address | None = None
    """Its address inside the cluster."""

    latest_created_revision: str | None = None
    """The newest version."""

    latest_ready_revision: str | None = None
    """The newest version that has been ready."""

    latest_rolledout_revision: str | None = None
    """The newest version that gets every request."""

    previous_rolledout_revision: str | None = None
    """The version that got every request before."""

    traffic: AtomicOf[TrafficTarget] | None = None
    """How requests are shared out."""


ModelState: TypeAlias = Literal["", "Pending", "Standby", "Loading", "Loaded", "FailedToLoad"]


class ModelStates(ResourceModel):
    """The model's state."""

    active_model_state: ModelState
    """The state of the model that answers now."""

    target_model_state: ModelState | None = None
    """The state of the model that is to answer next."""


class ModelCopies(ResourceModel):
    """How many pods hold the model."""

    failed_copies: Count
    """How many failed to load it."""

    total_copies: Count | None = None
    """How many there are in all."""


class FailureInfo(ResourceModel):
    """The last failure."""

    location: str | None = None
    """Where: usually a pod's name."""

    reason: str | None = None
    """One word for what failed."""

    message: str | None = None
    """What was said."""

    model_revision_name: str | None = None
    """The version of the model."""

    time: Annotated[str | None, Field(json_schema_extra={"format": "date-time"})] = None
    """When."""

    exit_code: int | None = None
    """The container's exit status."""


class Libraries(ResourceModel):
    """The versions of libraries that a model depends on."""

    saved: dict[str, str] | None = None
    """Those that saved the model, by name."""

    loading: dict[str, str] | None = None
    """Those that load it, by name."""


class ModelStatus(ResourceModel):
    """The state of the predictor's model."""

    transition_status: Literal["", "UpToDate", "InProgress", "BlockedByFailedLoad", "InvalidSpec"]
    """Whether what answers is what the spec asks for."""

    states: ModelStates | None = None
    """The model's state."""

    copies: ModelCopies | None = None
    """How many pods hold the model."""

    last_failure_info: FailureInfo | None = None
    """The last failure."""

    libraries: Libraries | None = None
    """The versions of libraries that the model depends on."""


class ModelReplicas(ResourceModel):
    """In how many pods the model is."""

    loaded: Count | None = None
    """Pods that serve it as it is declared now."""

    wanted: Count | None = None
    """Pods that should."""

    summary: str | None = None
    """Both, as `2/3`."""


class ModelInPod(ResourceModel):
    """The model in one pod."""

    name: Name
    """The pod."""

    state: Literal["Pending", "Fetching", "Loading", "Ready", "Failed", "Unknown"]
    """How far it is; Pending: the pod has not seen the declaration yet, Unknown: the pod was not reached."""

    reason: str | None = None
    """One word for why it is not Ready."""

    message: Annotated[str, MaxLen(2048)] | None = None
    """A sentence for people."""

    digest: str | None = None
    """The sha256 digest of what it serves."""


class OwnModelStatus(ResourceModel):
    """One of `predictor.models`."""

    name: str
    """Its name."""

    state: Literal["Pending", "Fetching", "Loading", "Ready", "Failed", "Unknown"]
    """How far it is; Ready: every pod serves it."""

    reason: str | None = None
    """One word for why it Failed."""

    message: Annotated[str, MaxLen(2048)] | None = None
    """A sentence for people."""

    replicas: ModelReplicas | None = None
    """In how many pods it is."""

    pods: Annotated[list[ModelInPod], MaxLen(100), ListMap(("name",))] | None = None
    """The model in each pod; of many those that are not Ready first."""


class PodPlacement(ResourceModel):
    """What one pod has of the models that are spread over the pods."""

    name: str
    """The pod's name."""

    models: Count
    """Models that it is to have."""

    ready: Count
    """Those of them that it serves."""

    memory: Annotated[int, Field(ge=0)]
    """Bytes that they take, as far as is known."""


class PlacementStatus(ResourceModel):
    """How models are spread over the pods, where `modelPlacement` asks for it."""

    models: Count
    """Models that are declared, of `predictor.models` and of Model objects."""

    ready: Count
    """Those that as many pods serve as are to."""

    missing: Count
    """Copies of models that no pod has room for."""

    summary: str
    """`ready/models`."""

    pods: Annotated[list[PodPlacement], MaxLen(100), ListMap(("name",))] | None = None
    """Each pod; of many the first by name."""


class ReplicasStatus(ResourceModel):
    """How many pods there are."""

    ready: Count
    """Pods that are ready."""

    desired: Count
    """Pods that are wanted."""

    updated: Count | None = None
    """Pods of the newest version."""

    summary: str
    """`ready/desired`, for the column."""


class CanaryState(ResourceModel):
    """How requests are shared with the newest version."""

    requested: Percent
    """The percentage asked for."""

    actual: Percent
    """The percentage that it gets."""

    mechanism: str | None = None
    """What shares them out: weights of a route, or numbers of pods."""

    step: str | None = None
    """The step of the rollout, such as `2 of 3`."""

    analysis: str | None = None
    """What the analysis said when its verdict last changed, with its figures."""


class RuntimeChoice(ResourceModel):
    """The runtime that was chosen, and why."""

    kind: Literal["ServingRuntime", "ClusterServingRuntime"]
    """Its kind."""

    name: str
    """Its name."""

    reason: str | None = None
    """Why it and no other."""


class FollowedTraining(ResourceModel):
    """The training whose model is served."""

    training_job: str
    """The TrainingJob's name."""

    uri: str
    """Where its model is."""

    digest: str
    """The digest of its model."""


class InferenceServiceStatus(ResourceModel):
    """What the operator last saw and did."""

    observed_generation: Annotated[int, Field(ge=-1)] | None = None
    """The generation of the spec that this status is about; -1 while the operator has not seen the object yet."""

    conditions: Conditions | None = None
    """The aspects of the state."""

    url: str | None = None
    """Where the service answers."""

    address: Address | None = None
    """Its address inside the cluster."""

    components: dict[str, ComponentStatus] | None = None
    """The state of each component, by its name."""

    model_status: ModelStatus | None = None
    """The state of the predictor's model."""

    models: Annotated[list[OwnModelStatus], MaxLen(64), ListMap(("name",))] | None = None
    """Each of `predictor.models`."""

    model_placement: PlacementStatus | None = None
    """How declared models are spread over the pods."""

    replicas: ReplicasStatus | None = None
    """How many pods the predictor has."""

    canary: CanaryState | None = None
    """How requests are shared with the newest version."""

    runtime: RuntimeChoice | None = None
    """The runtime that was chosen, and why."""

    serving_runtime_name: str | None = None
    """The ServingRuntime in use."""

    cluster_serving_runtime_name: str | None = None
    """The ClusterServingRuntime in use."""

    training: FollowedTraining | None = None
    """The training whose model is served, where the service follows trainings."""

    deployment_mode: str | None = None
    """How pods are run; always `Standard`, a Deployment."""
