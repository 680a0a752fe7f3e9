"""Where trainings keep what they make, and what the trainings of a service's own pods have."""

from typing import Annotated, TypeAlias

from annotated_types import MaxLen

from pillion.resources.base import ResourceModel
from pillion.resources.core import ResourceRequirements
from pillion.resources.rules import TextRule
from pillion.resources.traffic import Duration

WritableUri: TypeAlias = Annotated[
    str,
    MaxLen(1024),
    TextRule(
        pattern=r"^(s3|gs|az|pvc)://[^ @/]+(/[^ @]*)?$",
        message="a place to write to begins with s3:// gs:// az:// or pvc://, and has no digest",
    ),
]


class OutputSpec(ResourceModel):
    """Where the model goes."""

    uri: WritableUri
    """A prefix. The model is at `{uri}/{name}/{digest}/`, a record of how it was made beside it, and nothing that is
    there is ever overwritten."""


class CheckpointSpec(ResourceModel):
    """Where a training that is killed goes on from."""

    uri: WritableUri
    """A prefix in a bucket, or a folder of a volume claim. Each TrainingJob has a folder of its own there, which is
    removed when it has completed."""

    every: Duration | None = None
    """The least time between two uploads; what is made in between is passed over for the newest. Default: each is
    uploaded."""


class JobsSpec(ResourceModel):
    """Trainings that are started through the service's own API, as TrainingJob objects beside it."""

    enabled: bool | None = None
    """Whether the pods may create, read and cancel TrainingJobs in their namespace, so that every replica answers for
    every training. Those rights are given to the ServiceAccount that `serviceAccountName` names, which must not be
    `default`. Default: false."""

    output: OutputSpec | None = None
    """Where the models of these trainings go; without it there are none."""

    checkpoint: CheckpointSpec | None = None
    """Where a training that is killed goes on from. Absent: it begins anew."""

    resources: ResourceRequirements | None = None
    """What each training asks for, and may use at most."""
