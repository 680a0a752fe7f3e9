"""BatchPrediction: predictions for all rows of files, once, in pods of a Kubernetes Job."""

from typing import Annotated, ClassVar, Literal, TypeAlias

from annotated_types import Ge, Le, MaxLen, MinLen

from pillion.resources.annotations import (
    AtomicOf,
    Count,
    Name,
    NamedList,
    NamedOpen,
    Open,
    Percent,
    Positive,
    TextMap,
    Texts,
)
from pillion.resources.base import ResourceModel
from pillion.resources.component import LABEL_MESSAGE, LABEL_PATTERN
from pillion.resources.core import (
    EnvVar,
    LocalObjectReference,
    PullPolicy,
    ResourceRequirements,
    Toleration,
    VolumeMounts,
)
from pillion.resources.inferenceservice import NAME_LIMIT
from pillion.resources.metadata import ObjectMeta
from pillion.resources.model import Digest, ModelFormat, StorageUri, TypeName
from pillion.resources.pod import SpreadConstraints
from pillion.resources.rules import Rule, TextRule, matches
from pillion.resources.status import Conditions
from pillion.resources.trainingjob import Moment, QueueName

FileFormat: TypeAlias = Literal["jsonl", "csv", "parquet"]

RowsUri: TypeAlias = Annotated[
    str,
    MaxLen(1024),
    TextRule(
        pattern=r"^((s3|gs|az|pvc)://[^ @/]+(/[^ @]*)?|file:///[^ @]*)$",
        message="rows are read and written at s3:// gs:// az:// or pvc://, or on one machine at file:///",
    ),
]


class BatchInputSpec(ResourceModel):
    """The rows that are predicted."""

    uri: RowsUri
    """A file, a folder that ends in `/`, or a pattern with `*`, such as `s3://data/2026-11/*.csv`. Of a folder
    all files of a known ending are read, but for hidden ones and those that begin with `_`."""

    format: FileFormat | None = None
    """The format of every file. Default: by each file's ending, `.jsonl`, `.ndjson`, `.csv` or `.parquet`."""

    id_field: Annotated[str, MinLen(1), MaxLen(253)] | None = None
    """The field of each row that names it. It is in the output as `id`, and is not sent to the model."""

    exclude: Annotated[Texts, MaxLen(256)] | None = None
    """Further fields that are not sent to the model."""

    split_bytes: Annotated[int, Ge(1 << 20), Le(1 << 40)] | None = None
    """Files above so many bytes become several shards, cut between rows; of Parquet between row groups. A pod that is
    lost repeats the shard that it was at. Default: 67108864."""

    max_row_bytes: Annotated[int, Ge(1024), Le(1 << 28)] | None = None
    """A longer row is an error of that row. Default: 8388608."""


class BatchOutputSpec(ResourceModel):
    """Where the predictions go."""

    uri: RowsUri
    """A prefix. Files are at `{uri}/{name}/part-00000.jsonl` and so on, one for each shard; the rows that failed, with
    their reasons, at `{uri}/{name}/_errors/`."""

    format: FileFormat | None = None
    """The format of the files. Default: that of the input."""


class BatchModelSpec(ResourceModel):
    """A model that each pod loads itself."""

    storage_uri: StorageUri
    """Where the model's files are."""

    digest: Digest | None = None
    """The sha256 digest that the files must have."""

    model_format: ModelFormat | None = None
    """The format of the files; default: found from them."""

    allow_pickle: bool | None = None
    """Whether formats that run code while loading (pickle, joblib, PyTorch) may be loaded. Default: false."""

    trust_code: bool | None = None
    """Whether a folder of the format `python` may run the class that it holds. Default: false."""

    trusted_types: Annotated[AtomicOf[TypeName], MaxLen(16)] | None = None
    """Types, as `package.module.Name`, that a skops file may hold besides scikit-learn's own."""


class BatchTlsSpec(ResourceModel):
    """What the pods show to a service that asks who they are."""

    secret_name: Name
    """The Secret with `tls.crt` and `tls.key` of a client."""


class BatchPredictionSpec(ResourceModel):
    """What predicts, which rows, and where the predictions go."""

    model: BatchModelSpec | None = None
    """The model, which each pod loads itself: no row is sent over the network."""

    inference_service: Name | None = None
    """The InferenceService of this namespace that is asked, by its own name for the model."""

    input: BatchInputSpec
    """The rows that are predicted."""

    output: BatchOutputSpec
    """Where the predictions go."""

    parallelism: Annotated[int, Ge(1), Le(1000)] | None = None
    """How many pods share the shards. Default: 1."""

    max_failures: Count | None = None
    """How many rows may fail before it is given up. Default: any number."""

    batch_size: Annotated[int, Ge(1), Le(65536)] | None = None
    """How many rows are predicted together. Default: 128."""

    concurrency: Annotated[int, Ge(1), Le(256)] | None = None
    """How many batches each pod has on their way at a time. Default: 4."""

    tls: BatchTlsSpec | None = None
    """What the pods show to a service with mutual TLS."""

    image: Annotated[str, MinLen(1), MaxLen(1024)] | None = None
    """The image of the pods. Default: the runtime's, which has no Parquet."""

    image_pull_policy: PullPolicy | None = None
    """When the image is pulled."""

    resources: ResourceRequirements | None = None
    """What a pod asks for, and may use at most."""

    backoff_limit: Annotated[int, Ge(0), Le(100)] | None = None
    """How many pods may be lost before it is given up. Default: 6. Pods that the cluster itself takes away (drained
    nodes, preemption) do not count, and what fails by itself is not tried again."""

    active_deadline_seconds: Positive | None = None
    """The seconds after which it is given up. Time in which it is suspended does not count."""

    ttl_seconds_after_finished: Annotated[int, Ge(60)] | None = None
    """The seconds after which the Job and its pods, with their logs, are removed. Default: they stay."""

    suspend: bool | None = None
    """Whether it rests: its pods end, and it goes on later with the shards that are left."""

    queue_name: QueueName | None = None
    """The LocalQueue of Kueue that decides when it begins."""

    labels: TextMap | None = None
    """Labels of the pods."""

    annotations: TextMap | None = None
    """Annotations of the pods."""

    env: NamedList[EnvVar] | None = None
    """Variables of the pods, such as PILLION_API_KEY for a service that asks for a key."""

    volumes: NamedList[NamedOpen] | None = None
    """Volumes of the pod."""

    volume_mounts: VolumeMounts | None = None
    """Where the container sees them."""

    service_account_name: Name | None = None
    """The ServiceAccount, whose Secrets are the credentials of the storage."""

    automount_service_account_token: bool | None = None
    """Whether the pod gets the ServiceAccount's token. Default: false."""

    image_pull_secrets: NamedList[LocalObjectReference] | None = None
    """Secrets for pulling the image."""

    node_selector: TextMap | None = None
    """Labels that a node must have."""

    affinity: Open | None = None
    """Which nodes are preferred."""

    tolerations: AtomicOf[Toleration] | None = None
    """Taints that are tolerated."""

    topology_spread_constraints: SpreadConstraints | None = None
    """How pods are spread."""

    priority_class_name: Name | None = None
    """The PriorityClass."""

    runtime_class_name: Name | None = None
    """The RuntimeClass."""

    scheduler_name: Name | None = None
    """The scheduler."""

    security_context: Open | None = None
    """The pod's security context, such as `fsGroup` for a volume claim that is written to."""

    termination_grace_period_seconds: Annotated[int, Ge(1), Le(86400)] | None = None
    """The seconds from a pod's being told to end to its being killed. Default: 30."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="has(self.model) != has(self.inferenceService)",
            message="set model, which the pods load, or inferenceService, which they ask, and only one of them",
            field="model",
            holds=lambda spec: (spec.model is not None) != (spec.inference_service is not None),
        ),
        Rule(
            cel="!has(self.tls) || has(self.inferenceService)",
            message="tls is what is shown to an inferenceService",
            field="tls",
            holds=lambda spec: spec.tls is None or spec.inference_service is not None,
        ),
        Rule(
            cel="!self.output.uri.contains('*')",
            message="an output is one place; a pattern with '*' is for input.uri",
            field="output.uri",
            holds=lambda spec: "*" not in spec.output.uri,
        ),
        Rule(
            cel="!has(self.queueName) || !has(self.suspend) || !self.suspend",
            message="with queueName it is Kueue that suspends and resumes; remove one of them",
            field="suspend",
            holds=lambda spec: spec.queue_name is None or not spec.suspend,
        ),
    )


BatchState: TypeAlias = Literal["QUEUED", "RUNNING", "COMPLETED", "ERRORED"]


class BatchShards(ResourceModel):
    """Parts of the input."""

    total: Count | None = None
    """All of them."""

    done: Count | None = None
    """Those whose predictions are in the output."""

    summary: str | None = None
    """Both, as `3/8`."""


class BatchRows(ResourceModel):
    """Rows, as far as they were read."""

    read: Count | None = None
    """All of them."""

    written: Count | None = None
    """Those that have a prediction."""

    failed: Count | None = None
    """Those that have a reason in `_errors` instead."""


class BatchPredictionStatus(ResourceModel):
    """What the operator last saw and did."""

    observed_generation: Annotated[int, Ge(-1)] | None = None
    """The generation of the spec that this status is about; -1 while the operator has not seen the object yet."""

    conditions: Conditions | None = None
    """The aspects of the state: Ready, Complete, Failed, Suspended, Reconciling and Stalled."""

    state: BatchState | None = None
    """QUEUED, RUNNING, or how it ended, which never changes again: COMPLETED, ERRORED."""

    progress: Percent | None = None
    """The percentage of shards that are done."""

    shards: BatchShards | None = None
    """Parts of the input."""

    rows: BatchRows | None = None
    """Rows, as far as they were read."""

    output: str | None = None
    """Where the predictions are."""

    start_time: Moment | None = None
    """When the Job began."""

    completion_time: Moment | None = None
    """When it ended."""

    job_name: str | None = None
    """The Job's name."""

    reason: str | None = None
    """One word for why it is as it is."""

    message: Annotated[str, MaxLen(4096)] | None = None
    """The same in a sentence."""

    log: str | None = None
    """The command that shows the log."""


class BatchPrediction(ResourceModel):
    """Predictions for all rows of files, once, in pods that go on where they were lost."""

    api_version: Literal["serving.pillion.dev/v1beta1"]
    kind: Literal["BatchPrediction"]
    metadata: ObjectMeta
    spec: BatchPredictionSpec
    """What predicts, which rows, and where the predictions go."""

    status: BatchPredictionStatus | None = None
    """What the operator last saw and did."""

    @property
    def destination(self) -> str:
        """Where the predictions are."""
        return f"{self.spec.output.uri.rstrip('/')}/{self.metadata.name}"

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel=f"self.metadata.name.size() <= {NAME_LIMIT}",
            message=f"the name is longer than {NAME_LIMIT} characters, which leaves no room for the suffixes of the "
            "Job's and its pods' names; choose a shorter one",
            field="metadata.name",
            holds=lambda batch: len(batch.metadata.name or "") <= NAME_LIMIT,
        ),
        Rule(
            cel=f"self.metadata.name.matches('{LABEL_PATTERN}')",
            message=LABEL_MESSAGE,
            field="metadata.name",
            holds=lambda batch: batch.metadata.name is None or matches(LABEL_PATTERN, batch.metadata.name),
        ),
    )
