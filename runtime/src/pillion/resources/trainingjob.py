"""TrainingJob: a training that runs once, to its end, in pods of a Kubernetes Job."""

from typing import Annotated, ClassVar, Literal, TypeAlias

from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import Field

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
    EnvFromSource,
    EnvVar,
    LocalObjectReference,
    PullPolicy,
    ResourceRequirements,
    Toleration,
    VolumeMounts,
)
from pillion.resources.inferenceservice import NAME_LIMIT
from pillion.resources.metadata import ObjectMeta
from pillion.resources.model import Digest, StorageUri
from pillion.resources.pod import SpreadConstraints
from pillion.resources.rules import Rule, TextRule, matches
from pillion.resources.status import Conditions
from pillion.resources.training_places import CheckpointSpec, OutputSpec

Moment: TypeAlias = Annotated[str, Field(json_schema_extra={"format": "date-time"})]

ModuleName: TypeAlias = Annotated[
    str,
    MaxLen(512),
    TextRule(
        pattern=r"^([A-Za-z_][A-Za-z0-9_.]*|/?[A-Za-z0-9_./-]+[.]py)(:[A-Za-z_][A-Za-z0-9_]*)?$",
        message="module is a file or a module and a class, such as /code/digits.py:Digits or shop.digits:Digits",
    ),
]

QueueName: TypeAlias = Annotated[
    str, MaxLen(63), TextRule(pattern="^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", message="queueName is a LocalQueue's name")
]


class DatasetSpec(ResourceModel):
    """The data that is learnt from."""

    uri: StorageUri
    """Where the data are: a file (JSONL, JSON, CSV, Parquet) or a folder of such files."""

    digest: Digest | None = None
    """The sha256 digest that the data must have."""

    parameter: Annotated[str, MinLen(1), MaxLen(128)] | None = None
    """The training's parameter that takes them. Default: its only `Stream`, or the one that has no default."""


class DeploySpec(ResourceModel):
    """What happens with the model of a training that has completed."""

    inference_service: Name
    """The InferenceService of this namespace that serves it. That service must say `predictor.followTrainings: true`;
    its spec is not written."""

    canary_traffic_percent: Percent | None = None
    """The percentage of requests that the model gets, beside the one that was served before. Default: all, or what the
    service's own canaryTrafficPercent says. Setting it to 100 promotes the model."""


def _module_xor_command(spec: "TrainingJobSpec") -> bool:
    return (spec.module is not None) != (spec.command is not None)


def _checkpoint_is_mountable(spec: "TrainingJobSpec") -> bool:
    return spec.module is not None or spec.checkpoint is None or spec.checkpoint.uri.startswith("pvc://")


class TrainingJobSpec(ResourceModel):
    """What to train, on what, and where the model goes."""

    module: ModuleName | None = None
    """The class that learns: `module:Class`, or `file.py:Class` where the pod has the file. Its method marked with
    `@train` is called."""

    image: Annotated[str, MinLen(1), MaxLen(1024)] | None = None
    """The image of the pod. Default with `module`: the runtime's."""

    image_pull_policy: PullPolicy | None = None
    """When the image is pulled."""

    command: Annotated[Texts, MinLen(1), MaxLen(64)] | None = None
    """A program that trains, in place of `module`. It finds its places in PILLION_DATASET, PILLION_OUTPUT,
    PILLION_CHECKPOINTS and PILLION_PARAMETERS."""

    args: Annotated[Texts, MaxLen(256)] | None = None
    """Arguments of `command`."""

    working_dir: Annotated[str, MaxLen(1024)] | None = None
    """The working directory."""

    task: Annotated[str, MinLen(1), MaxLen(253)] | None = None
    """The training's name, such as `RecognizeDigitsTrain`, to be sure that the class still has that one."""

    parameters: Open | None = None
    """The parameters of the training, checked against its signature before it begins."""

    dataset: DatasetSpec | None = None
    """The data that is learnt from."""

    output: OutputSpec | None = None
    """Where the model goes."""

    checkpoint: CheckpointSpec | None = None
    """Where a training that is killed goes on from. Absent: it begins anew."""

    resources: ResourceRequirements | None = None
    """What the training asks for, and may use at most."""

    backoff_limit: Annotated[int, Ge(0), Le(100)] | None = None
    """How many pods may be lost before the training is given up. Default: 6. Pods that the cluster itself takes away
    (drained nodes, preemption) do not count, and a training that fails by itself is not tried again."""

    active_deadline_seconds: Positive | None = None
    """The seconds after which the training is given up. Time in which it is suspended does not count."""

    ttl_seconds_after_finished: Annotated[int, Ge(60)] | None = None
    """The seconds after which the Job and its pods, with their logs, are removed. Default: they stay."""

    suspend: bool | None = None
    """Whether the training rests: its pods end, after a checkpoint where the code makes one, and it goes on later."""

    cancel: bool | None = None
    """Whether the training is ended for good. The object stays, as CANCELED."""

    queue_name: QueueName | None = None
    """The LocalQueue of Kueue that decides when the training begins."""

    parallelism: Annotated[int, Ge(1), Le(1000)] | None = None
    """How many pods train together, each with JOB_COMPLETION_INDEX; the first one's output counts. Default: 1."""

    deploy: DeploySpec | None = None
    """What serves the model when it is there."""

    labels: TextMap | None = None
    """Labels of the pods."""

    annotations: TextMap | None = None
    """Annotations of the pods."""

    env: NamedList[EnvVar] | None = None
    """Variables of the training, and of the steps that fetch and store for it."""

    env_from: AtomicOf[EnvFromSource] | None = None
    """Further variables of the training, from ConfigMaps and Secrets."""

    volumes: NamedList[NamedOpen] | None = None
    """Volumes of the pod."""

    volume_mounts: VolumeMounts | None = None
    """Where the training sees them."""

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

    termination_grace_period_seconds: Annotated[int, Ge(5), Le(86400)] | None = None
    """The seconds that a pod that is told to end has for a last checkpoint and its upload. Default: 60."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="has(self.module) != has(self.command)",
            message="set module, or image and command, and only one of them",
            field="module",
            holds=_module_xor_command,
        ),
        Rule(
            cel="!has(self.command) || has(self.image)",
            message="a command needs the image that it is in",
            field="image",
            holds=lambda spec: spec.command is None or spec.image is not None,
        ),
        Rule(
            cel="!has(self.args) || has(self.command)",
            message="args belong to command; the parameters of a module are spec.parameters",
            field="args",
            holds=lambda spec: spec.args is None or spec.command is not None,
        ),
        Rule(
            cel="!has(self.task) || has(self.module)",
            message="task names a training of a module",
            field="task",
            holds=lambda spec: spec.task is None or spec.module is not None,
        ),
        Rule(
            cel="!has(self.module) || has(self.output)",
            message="a module's training needs output.uri, where its model goes",
            field="output",
            holds=lambda spec: spec.module is None or spec.output is not None,
        ),
        Rule(
            cel="!has(self.deploy) || has(self.output)",
            message="there is nothing to deploy without output.uri",
            field="deploy",
            holds=lambda spec: spec.deploy is None or spec.output is not None,
        ),
        Rule(
            cel="!has(self.parallelism) || self.parallelism == 1 || has(self.command)",
            message="a module is trained in one pod; several train together by image and command",
            field="parallelism",
            holds=lambda spec: spec.parallelism in (None, 1) or spec.command is not None,
        ),
        Rule(
            cel="!has(self.checkpoint) || has(self.module) || self.checkpoint.uri.startsWith('pvc://')",
            message="a command keeps its checkpoints on a volume claim: pvc://CLAIM/FOLDER",
            field="checkpoint.uri",
            holds=_checkpoint_is_mountable,
        ),
        Rule(
            cel="!has(self.queueName) || !has(self.suspend) || !self.suspend",
            message="with queueName it is Kueue that suspends and resumes; remove one of them",
            field="suspend",
            holds=lambda spec: spec.queue_name is None or not spec.suspend,
        ),
    )


TrainingState: TypeAlias = Literal["QUEUED", "RUNNING", "COMPLETED", "CANCELED", "ERRORED"]


class TrainedArtifact(ResourceModel):
    """The model that was made."""

    uri: str
    """Where it is, as a `storageUri`."""

    digest: str
    """Its sha256 digest, as the field `digest` of a model."""

    bytes: Count | None = None
    """Its size."""

    data_digest: str | None = None
    """The digest of the data that it was made of."""

    code_digest: str | None = None
    """The digest of the code that made it."""


class TrainingJobStatus(ResourceModel):
    """What the operator last saw and did."""

    observed_generation: Annotated[int, Ge(-1)] | None = None
    """The generation of the spec that this status is about; -1 while the operator has not seen the object yet."""

    conditions: Conditions | None = None
    """The aspects of the state: Ready, Complete, Failed, Suspended, Deployed where asked for, FieldsHonoured,
    Reconciling and Stalled."""

    state: TrainingState | None = None
    """QUEUED, RUNNING, or how it ended, which never changes again: COMPLETED, CANCELED, ERRORED."""

    progress: Percent | None = None
    """How far the training says it is, in percent."""

    metrics: dict[str, float] | None = None
    """The numbers that it logged last, by name."""

    checkpoint: Count | None = None
    """The number of the newest checkpoint that a killed training goes on from."""

    attempts: Count | None = None
    """How many pods were started."""

    start_time: Moment | None = None
    """When the Job began."""

    completion_time: Moment | None = None
    """When it ended."""

    job_name: str | None = None
    """The Job's name."""

    artifact: TrainedArtifact | None = None
    """The model that was made."""

    reason: str | None = None
    """One word for why it is as it is."""

    message: Annotated[str, MaxLen(4096)] | None = None
    """The same in a sentence."""

    log: str | None = None
    """The command that shows the whole log."""


class TrainingJob(ResourceModel):
    """A training that runs once, to its end, in pods, and goes on from its last checkpoint where they are lost."""

    api_version: Literal["serving.pillion.dev/v1beta1"]
    kind: Literal["TrainingJob"]
    metadata: ObjectMeta
    spec: TrainingJobSpec
    """What to train, on what, and where the model goes."""

    status: TrainingJobStatus | None = None
    """What the operator last saw and did."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel=f"self.metadata.name.size() <= {NAME_LIMIT}",
            message=f"the name is longer than {NAME_LIMIT} characters, which leaves no room for the suffixes of the "
            "Job's and its pods' names; choose a shorter one",
            field="metadata.name",
            holds=lambda job: len(job.metadata.name or "") <= NAME_LIMIT,
        ),
        Rule(
            cel=f"self.metadata.name.matches('{LABEL_PATTERN}')",
            message=LABEL_MESSAGE,
            field="metadata.name",
            holds=lambda job: job.metadata.name is None or matches(LABEL_PATTERN, job.metadata.name),
        ),
    )
