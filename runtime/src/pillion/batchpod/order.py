"""What a pod is told by the operator: one variable with JSON, so that it is one value in the Job's template."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec
from msgspec import Meta

from pillion.errors import ErrorCode, PillionError
from pillion.policy import ConsentPolicy

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FORMATS", "SPLIT_BYTES", "VARIABLE", "BatchOrder", "Input", "Model", "Output", "Service", "read_order"]

VARIABLE: Final = "PILLION_BATCH"
FORMATS: Final = ("jsonl", "csv", "parquet")
SPLIT_BYTES: Final = 64 << 20
"""Files above it become several shards."""
Format = Literal["jsonl", "csv", "parquet"]


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A part of the order. What is not asked for is left out, so that images of other versions read it."""


class Input(_Part, frozen=True):
    """Where the rows are."""

    at: str
    """A file, a prefix that ends in `/`, or a pattern with `*`: `s3:// gs:// az://`, or `file://` of a volume."""
    format: Format | None = None
    """Default: by the ending of each file."""
    id_field: str = ""
    """The field of each row that names it: it goes into the output, not to the model."""
    exclude: tuple[str, ...] = ()
    """Fields that do not go to the model."""
    split_bytes: Annotated[int, Meta(ge=1)] = SPLIT_BYTES
    max_row_bytes: Annotated[int, Meta(ge=1)] = 8 << 20


class Output(_Part, frozen=True):
    """Where the predictions go."""

    at: str
    format: Format | None = None
    """Default: that of the input."""


class Model(_Part, frozen=True):
    """The model that the pod loads itself."""

    path: str
    format: str | None = None
    format_version: str | None = None
    allow_pickle: bool = False
    pickle_policy: ConsentPolicy = ConsentPolicy.PER_OBJECT
    trust_code: bool = False
    code_policy: ConsentPolicy = ConsentPolicy.PER_OBJECT
    trusted_types: tuple[str, ...] = ()


class Service(_Part, frozen=True):
    """The service that is asked."""

    url: str
    """Scheme, host and port."""
    model: str
    ca: str = ""
    """A file with the authorities to believe; one that is not there, or empty: those of the system."""
    certificate: str = ""
    """A folder with `tls.crt` and `tls.key` to show."""
    timeout_seconds: float = 75.0
    """Of one request: longer than the service's own, so that the service says that it took too long."""
    patience_seconds: float = 300.0
    """How long it may be away, or turn requests away, before the pod gives up."""


class BatchOrder(_Part, frozen=True):
    """The share of one pod in a BatchPrediction."""

    name: Annotated[str, Meta(min_length=1)]
    uid: Annotated[str, Meta(min_length=1)]
    input: Input
    output: Output
    model: Model | None = None
    service: Service | None = None
    pods: Annotated[int, Meta(ge=1)] = 1
    """How many share the work; which of them this is, JOB_COMPLETION_INDEX says."""
    batch_size: Annotated[int, Meta(ge=1)] = 128
    """Rows that are predicted together."""
    concurrency: Annotated[int, Meta(ge=1)] = 4
    """Batches that are on their way at a time."""
    max_failures: Annotated[int, Meta(ge=0)] | None = None
    """Rows that may fail in all pods together; None: any number."""
    work: str = "/mnt/pillion/work"
    port: int = 8082
    """Of `/status`."""
    termination_log: str = "/dev/termination-log"


_ORDER: Final = msgspec.json.Decoder(BatchOrder)


def read_order(environment: Mapping[str, str]) -> BatchOrder:
    """Read the order from the variable.

    Raises:
        PillionError: it is not there, or not of this version.
    """
    try:
        order = _ORDER.decode(environment.get(VARIABLE, ""))
    except msgspec.MsgspecError as error:
        raise PillionError(ErrorCode.INVALID_ARGUMENT, f"the variable {VARIABLE} is no order: {error}") from None
    if (order.model is None) == (order.service is None):
        raise PillionError(ErrorCode.INVALID_ARGUMENT, f"the variable {VARIABLE} names no model, or two")
    return order
