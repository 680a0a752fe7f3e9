"""ServingRuntime and ClusterServingRuntime: how models of some formats are served. The contract is KServe's."""

from typing import Annotated, ClassVar, Literal

from annotated_types import MaxLen, MinLen

from pillion.resources.annotations import AtomicOf, Count, ListMap, NamedList, Positive, TextMap
from pillion.resources.base import ResourceModel
from pillion.resources.component import SERVING_CONTAINERS, WorkerSpec
from pillion.resources.core import Container, EnvVar
from pillion.resources.metadata import ObjectMeta
from pillion.resources.model import ProtocolVersion
from pillion.resources.pod import SchedulingFields
from pillion.resources.rules import Rule
from pillion.resources.status import Conditions


class SupportedModelFormat(ResourceModel):
    """A format that the runtime serves."""

    name: Annotated[str, MinLen(1), MaxLen(63)]
    """The format's name."""

    version: Annotated[str, MaxLen(63)] | None = None
    """The format's version: major, major.minor or major.minor.patch."""

    auto_select: bool | None = None
    """Whether the runtime may be chosen for models that name none. Default: false."""

    priority: Positive | None = None
    """Which runtime is chosen among several that fit: the greatest."""


class StorageHelper(ResourceModel):
    """Whether model files are fetched before the runtime starts."""

    disabled: bool | None = None
    """True: the runtime fetches them itself."""


class BuiltInAdapter(ResourceModel):
    """ModelMesh's adapter. It is accepted with KServe's manifests and has no effect."""

    server_type: str | None = None
    """The model server."""

    runtime_management_port: int | None = None
    """Its management port."""

    mem_buffer_bytes: int | None = None
    """Memory kept free."""

    model_loading_timeout_millis: int | None = None
    """How long a model may take to load."""

    env: NamedList[EnvVar] | None = None
    """The adapter's environment."""


class ServingRuntimeSpec(SchedulingFields):
    """How models are served: for which formats, over which protocols, in which containers."""

    supported_model_formats: AtomicOf[SupportedModelFormat] | None = None
    """The formats that the runtime serves."""

    multi_model: bool | None = None
    """Whether one pod serves several models, as ModelMesh does."""

    disabled: bool | None = None
    """Whether the runtime is out of use. Default: false."""

    protocol_versions: AtomicOf[ProtocolVersion] | None = None
    """The protocols that the runtime speaks."""

    containers: Annotated[list[Container], MinLen(1), MaxLen(20), ListMap(("name",))]
    """The containers. The one named `kserve-container` or `runtime` is merged with the predictor's model. In `args` and
    `env`, `{{.Name}}`, `{{.Namespace}}`, `{{.Labels.x}}` and `{{.Annotations.x}}` stand for the InferenceService's."""

    labels: TextMap | None = None
    """Labels of the pods."""

    annotations: TextMap | None = None
    """Annotations of the pods."""

    worker_spec: WorkerSpec | None = None
    """The further pods of a model that is spread over several nodes."""

    grpc_endpoint: str | None = None
    """ModelMesh's management endpoint; accepted, without effect."""

    grpc_data_endpoint: str | None = None
    """ModelMesh's gRPC endpoint; accepted, without effect."""

    http_data_endpoint: str | None = None
    """ModelMesh's HTTP endpoint; accepted, without effect."""

    replicas: Count | None = None
    """ModelMesh's number of pods; accepted, without effect."""

    storage_helper: StorageHelper | None = None
    """Whether model files are fetched before the runtime starts."""

    built_in_adapter: BuiltInAdapter | None = None
    """ModelMesh's adapter; accepted, without effect."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel=f"self.containers.exists_one(c, c.name in {list(SERVING_CONTAINERS)})"
            " || (has(self.multiModel) && self.multiModel)",
            message="name the container that serves 'kserve-container' or 'runtime', and only that one",
            field="containers",
            holds=lambda runtime: (
                runtime.multi_model is True
                or sum(container.name in SERVING_CONTAINERS for container in runtime.containers) == 1
            ),
        ),
    )

    @property
    def serving_container(self) -> Container | None:
        """The container that serves predictions, by its name."""
        return next((container for container in self.containers if container.name in SERVING_CONTAINERS), None)


class ServingRuntimeStatus(ResourceModel):
    """What the operator says of the runtime."""

    observed_generation: int | None = None
    """The generation of the spec that this status is about."""

    conditions: Conditions | None = None
    """The aspects of the state."""


class _Runtime(ResourceModel):
    api_version: Literal["serving.pillion.dev/v1beta1"]
    metadata: ObjectMeta
    spec: ServingRuntimeSpec
    """How models are served."""

    status: ServingRuntimeStatus | None = None
    """What the operator says of the runtime."""


class ServingRuntime(_Runtime):
    """How models of some formats are served in one namespace."""

    kind: Literal["ServingRuntime"]


class ClusterServingRuntime(_Runtime):
    """How models of some formats are served in every namespace."""

    kind: Literal["ClusterServingRuntime"]
