"""The three components of an InferenceService: predictor, transformer, explainer."""

from typing import Annotated, ClassVar, Literal

from annotated_types import MaxLen, MinLen

from pillion.resources.annotations import Count, Name, NamedList, NamedOpen, Percent, Positive, Shallow, TextMap
from pillion.resources.base import ResourceModel
from pillion.resources.core import Container, DeploymentStrategy, SmallContainerFields
from pillion.resources.execution import ExecutionSpec
from pillion.resources.model import (
    FormatSpec,
    ModelSpec,
    ModelStorageSpec,
    NamedModel,
    SklearnSpec,
    StorageUri,
    StorageUris,
)
from pillion.resources.placement import ModelPlacementSpec
from pillion.resources.pod import PodFields, PodFieldsWithoutContainers
from pillion.resources.rollout import ArtifactStorage, DrainSpec, RolloutSpec
from pillion.resources.rules import Rule, TextRule
from pillion.resources.scaling import ScalingFields
from pillion.resources.traffic import (
    Applications,
    BatcherSpec,
    HttpSpec,
    LoggerSpec,
    ManagementSpec,
    MetricsSpec,
    NetworkPolicySpec,
    TlsSpec,
)
from pillion.resources.training_places import JobsSpec

#: The containers that serve predictions: KServe's name, and ours.
SERVING_CONTAINERS = ("kserve-container", "runtime")

#: The formats that may stand as a field of the predictor, in the order of the manual.
FORMAT_SHORTHANDS = (
    "sklearn", "xgboost", "lightgbm", "onnx", "pytorch", "tensorflow",
    "huggingface", "mlflow", "triton", "paddle", "pmml",
)  # fmt: skip

LABEL_PATTERN = "^[a-z]([-a-z0-9]*[a-z0-9])?$"
LABEL_MESSAGE = "a name has lower case letters, digits and '-', begins with a letter and ends with a letter or digit"

_ROUTES_UNIQUE = (
    "!has(self.applications) || self.applications.all(a, self.applications.exists_one(b, "
    "(has(a.routePrefix) ? a.routePrefix : '/') == (has(b.routePrefix) ? b.routePrefix : '/')))"
)


def _route_prefixes_are_unique(component: "ComponentSpec") -> bool:
    prefixes = [application.route_prefix or "/" for application in component.applications or []]
    return len(prefixes) == len(set(prefixes))


class ComponentSpec(ScalingFields, PodFields):
    """What every component has: scaling, requests, pods, certificates."""

    container_concurrency: Count | None = None
    """How many requests a pod works on at a time. Zero or absent: as many as the runtime decides."""

    timeout: Positive | None = None
    """The seconds after which a request is answered 504."""

    canary_traffic_percent: Percent | None = None
    """The percentage of requests that go to the newest version; the rest stay with the last one that was ready."""

    logger: LoggerSpec | None = None
    """Sends requests and responses to a sink."""

    batcher: BatcherSpec | None = None
    """Bounds the calls that requests share."""

    labels: TextMap | None = None
    """Labels of the pods."""

    annotations: TextMap | None = None
    """Annotations of the pods."""

    deployment_strategy: DeploymentStrategy | None = None
    """How new pods replace old ones. Default: one is added before one is removed."""

    storage_uris: StorageUris | None = None
    """Several places that files come from, each placed at its own path. The first is the model's."""

    storage_container_name: Name | None = None
    """The ClusterStorageContainer that fetches the files, as in KServe."""

    tls: Annotated[TlsSpec, Shallow()] | None = None
    """Serves HTTPS and gRPC over TLS."""

    rollout: RolloutSpec | None = None
    """How a new version takes over."""

    applications: Applications | None = None
    """Python applications that answer requests, each below its own path."""

    http: HttpSpec | None = None
    """Settings of the HTTP server."""

    drain: DrainSpec | None = None
    """How a pod leaves without a failed request."""

    network_policy: NetworkPolicySpec | None = None
    """Which pods may connect. Absent: no NetworkPolicy is made."""

    metrics: MetricsSpec | None = None
    """Metrics for Prometheus."""

    storage: ArtifactStorage | None = None
    """How the model's files are fetched, and where they are kept."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.minReplicas) || !has(self.maxReplicas) || self.maxReplicas == 0 || "
            "self.minReplicas <= self.maxReplicas",
            message="minReplicas is greater than maxReplicas; lower one or raise the other",
            field="minReplicas",
            holds=lambda component: (component.min_replicas or 0) <= (component.max_replicas or 2**31),
        ),
        Rule(
            cel=_ROUTES_UNIQUE,
            message="two applications have the same routePrefix (absent means /); give each its own",
            field="applications",
            holds=_route_prefixes_are_unique,
        ),
    )


_OTHERS = (*FORMAT_SHORTHANDS, "model", "models")
_SET = ", ".join(f"has(self.{name})" for name in _OTHERS)
#: Beside `models` a container with our name is the one that serves them.
_NAMED = (
    f"has(self.containers) && self.containers.exists(c, c.name == '{SERVING_CONTAINERS[0]}' || "
    f"(c.name == '{SERVING_CONTAINERS[1]}' && !has(self.models)))"
)
_ANY = (
    "(has(self.containers) && self.containers.size() > 0) || (has(self.applications) && self.applications.size() > 0)"
)
_STORAGE_URI_SET = " || ".join(
    f"(has(self.{name}) && has(self.{name}.storageUri))" for name in (*FORMAT_SHORTHANDS, "model")
)


def _exactly_one_implementation(predictor: "PredictorSpec") -> bool:
    given = sum(getattr(predictor, name) is not None for name in _OTHERS)
    containers = predictor.containers or []
    serving = SERVING_CONTAINERS[:1] if predictor.models is not None else SERVING_CONTAINERS
    given += any(container.name in serving for container in containers)
    return given == 1 or (given == 0 and bool(containers or predictor.applications))


def _storage_uri_once(predictor: "PredictorSpec") -> bool:
    model = predictor.serving_model
    return predictor.storage_uris is None or model is None or model.storage_uri is None


class WorkerSpec(PodFieldsWithoutContainers):
    """The further pods of a model that is spread over several nodes."""

    containers: NamedList[NamedOpen] | None = None
    """The containers of the pod."""

    init_containers: NamedList[NamedOpen] | None = None
    """Containers that run before the others start."""

    pipeline_parallel_size: Positive | None = None
    """How many pods share the model's layers, the first one included."""

    tensor_parallel_size: Positive | None = None
    """How many accelerators of a pod share each layer."""


class PredictorSpec(ComponentSpec):
    """The component that answers predictions: a model of some format, or containers of one's own."""

    name: Annotated[str, MaxLen(40), TextRule(pattern=LABEL_PATTERN, message=LABEL_MESSAGE)] | None = None
    """The variant's name. The children are then named `{service}-{name}-predictor`. A canary needs one."""

    sklearn: SklearnSpec | None = None
    """A scikit-learn model."""

    xgboost: FormatSpec | None = None
    """An XGBoost model."""

    lightgbm: FormatSpec | None = None
    """A LightGBM model."""

    onnx: FormatSpec | None = None
    """An ONNX model."""

    pytorch: FormatSpec | None = None
    """A PyTorch model."""

    tensorflow: FormatSpec | None = None
    """A TensorFlow model."""

    huggingface: FormatSpec | None = None
    """A Hugging Face model."""

    mlflow: FormatSpec | None = None
    """An MLflow model of any flavour."""

    triton: FormatSpec | None = None
    """A model repository in Triton's layout."""

    paddle: FormatSpec | None = None
    """A PaddlePaddle model."""

    pmml: FormatSpec | None = None
    """A PMML model."""

    model: ModelSpec | None = None
    """A model of any format."""

    models: Annotated[NamedList[NamedModel], MinLen(1), MaxLen(64)] | None = None
    """Several models that one runtime serves, each under its own name. A container `runtime` beside them is it."""

    model_placement: ModelPlacementSpec | None = None
    """Spreads declared models, of `models` and of Model objects, over the pods, each in some of them. Every pod
    answers for all, and passes requests on. Absent: every pod has every model."""

    execution: ExecutionSpec | None = None
    """Where the model's calls run."""

    tls: TlsSpec | None = None
    """Serves HTTPS and gRPC over TLS."""

    worker_spec: Annotated[WorkerSpec, Shallow()] | None = None
    """The further pods of a model that is spread over several nodes."""

    jobs: JobsSpec | None = None
    """Trainings that are started through the service's own API, as TrainingJob objects beside it."""

    follow_trainings: bool | None = None
    """Whether the model of the newest completed TrainingJob that names this service is served in place of `storageUri`
    and `digest`. Default: false."""

    management: ManagementSpec | None = None
    """Whether models may be managed through the data ports."""

    rules: ClassVar[tuple[Rule, ...]] = (
        *ComponentSpec.rules,
        Rule(
            cel=f"[[{_SET}, {_NAMED}].filter(x, x).size()].all(n, n == 1 || (n == 0 && ({_ANY})))",
            message="set exactly one of model, models, a format such as sklearn, or containers of your own",
            holds=_exactly_one_implementation,
        ),
        Rule(
            cel=f"!has(self.storageUris) || !({_STORAGE_URI_SET})",
            message="storageUri of the model and storageUris exclude each other; move the former into the list",
            field="storageUris",
            holds=_storage_uri_once,
        ),
        Rule(
            cel="!has(self.modelPlacement) || !has(self.tls)",
            message="modelPlacement and tls exclude each other: pods pass requests on to each other without TLS; serve "
            "TLS at a Gateway, or leave modelPlacement out",
            field="modelPlacement",
            holds=lambda predictor: predictor.model_placement is None or predictor.tls is None,
        ),
        Rule(
            cel="!has(self.storageUris) || !has(self.followTrainings) || !self.followTrainings",
            message="followTrainings and storageUris exclude each other; the training says where the files are",
            field="storageUris",
            holds=lambda predictor: not (predictor.storage_uris and predictor.follow_trainings),
        ),
    )

    @property
    def own_trainings(self) -> JobsSpec | None:
        """What the service says of trainings through its own API; None where there are none, or something lacks."""
        return self.jobs if self.jobs is not None and self.jobs.enabled and not self.trainings_lack else None

    @property
    def trainings_lack(self) -> str:
        """What trainings through the service's own API lack; empty where nothing does, or none are asked for.

        No rule of the schema: manifests of versions that did nothing with `jobs` stay valid.
        """
        if self.jobs is None or not self.jobs.enabled:
            return ""
        if self.jobs.output is None:
            return "jobs.output.uri, where their models go"
        if (self.service_account_name or self.service_account or "default") == "default":
            return "a serviceAccountName other than 'default': whatever runs with it may create TrainingJobs"
        return ""

    @property
    def format_shorthand(self) -> tuple[str, FormatSpec] | None:
        """The format that stands as a field, by name, where one does."""
        for name in FORMAT_SHORTHANDS:
            given: FormatSpec | None = getattr(self, name)
            if given is not None:
                return name, given
        return None

    @property
    def serving_container(self) -> Container | None:
        """The container of the manifest that serves where it has no model: the one that is named so, else the first."""
        containers = self.containers or []
        named = (container for container in containers if container.name in SERVING_CONTAINERS)
        return next(named, containers[0] if containers else None)

    @property
    def serving_model(self) -> ModelSpec | None:
        """The model to serve, a shorthand spelled out in full; None for containers, applications and `models`."""
        if self.model is not None or self.format_shorthand is None:
            return self.model
        name, given = self.format_shorthand
        return ModelSpec.from_api({**given.to_api(), "modelFormat": {"name": name}})


#: Fields of every component, in wire form, that have no effect on one beside the predictor: its server brings its own
#: files, and shares and certificates are the predictor's.
PREDICTORS_ALONE = ("canaryTrafficPercent", "batcher", "tls", "storage", "storageUris", "storageContainerName")


def _in_the_predictors_place(component: ComponentSpec) -> PredictorSpec:
    given = {field: value for field, value in component.to_api().items() if field not in PREDICTORS_ALONE}
    return PredictorSpec.from_api(given)


_SERVES = "has(self.containers) && self.containers.size() > 0"


class TransformerSpec(ComponentSpec):
    """The component that changes requests before, and answers after, the predictor."""

    rules: ClassVar[tuple[Rule, ...]] = (
        *ComponentSpec.rules,
        Rule(
            cel=f"({_SERVES}) || (has(self.applications) && self.applications.size() > 0)",
            message="a transformer needs containers with the one that transforms, or applications",
            field="containers",
            holds=lambda transformer: bool(transformer.containers or transformer.applications),
        ),
    )

    @property
    def as_predictor(self) -> PredictorSpec:
        """What of it means the same in the predictor's place."""
        return _in_the_predictors_place(self)


class ArtExplainerSpec(SmallContainerFields):
    """An explainer of the Adversarial Robustness Toolbox, as in KServe."""

    type: Literal["SquareAttack"]
    """The kind of explainer."""

    name: Annotated[str, MaxLen(63)] | None = None
    """The container's name."""

    storage_uri: StorageUri | None = None
    """Where the explainer's files are."""

    runtime_version: Annotated[str, MaxLen(128)] | None = None
    """The tag of the explainer's image."""

    config: TextMap | None = None
    """Settings of the explainer."""

    storage: ModelStorageSpec | None = None
    """The explainer as an object in a store known by the Secret `storage-config`."""


class ExplainerSpec(ComponentSpec):
    """The component that explains predictions."""

    art: ArtExplainerSpec | None = None
    """An explainer of the Adversarial Robustness Toolbox."""

    rules: ClassVar[tuple[Rule, ...]] = (
        *ComponentSpec.rules,
        Rule(
            cel=f"has(self.art) != ({_SERVES})",
            message="set exactly one of art and containers",
            field="containers",
            holds=lambda explainer: (explainer.art is not None) != bool(explainer.containers),
        ),
    )

    @property
    def as_predictor(self) -> PredictorSpec | None:
        """What of it means the same in the predictor's place; None for a kind of KServe's that has no image here."""
        return None if self.art is not None else _in_the_predictors_place(self)


class CanarySpec(ResourceModel):
    """A second predictor that gets a share of the requests."""

    predictor: Annotated[PredictorSpec, Shallow(keeping=("name",))]
    """The predictor; its `name` tells it from the others."""

    traffic_percent: Percent
    """The percentage of requests that it gets. Zero: it runs, and gets none."""
