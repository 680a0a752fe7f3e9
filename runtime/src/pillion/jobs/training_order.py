"""What a training's process is told, and what it says: the values that cross between it and the server.

The order is a file in the job's folder, so that a run that begins again reads the same. Reports are lines of JSON in a
pipe.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from pillion.runtimefile import Code  # noqa: TC001 - msgspec reads annotations at run time

__all__ = [
    "ORDER",
    "REPORT",
    "Checkpointed",
    "DataSource",
    "Finished",
    "Metrics",
    "Progress",
    "Refused",
    "Report",
    "TrainingOrder",
    "TrainingRequest",
    "UncheckedData",
    "encode",
]


class DataSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Data that lies elsewhere."""

    uri: str
    """A file (JSONL, JSON, CSV, Parquet) or a folder of such files, in any storage."""
    file: str = ""
    """Name of a file in the job's folder, where it came with the request."""


class TrainingRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of ``POST /api/v1/{Task}{Class}Train``."""

    model_name: str
    parameters: dict[str, Any] = {}
    output_path: str = ""
    """A folder to write the model into as well; it must not be there."""
    deploy: bool = False
    """Whether the version is served, instead of the one before it, when it is there."""


class UncheckedData(msgspec.Struct, frozen=True):
    """The data of a training whose class is known to its own process only."""

    uri: str = ""
    """Where they came from; empty where there are none."""
    file: str = ""
    """Name of the file or folder in the job's folder."""
    parameter: str = ""
    """That takes them; by default the only one, or the one that has no default."""


class TrainingOrder(msgspec.Struct, frozen=True):
    """All that the process needs to know."""

    code: Code
    route: str
    """Name of the training, as its class must still have it; empty for the one that it has."""
    parameters: dict[str, Any]
    """As JSON, without data that lies elsewhere."""
    sources: dict[str, DataSource]
    """Data that lies elsewhere, by the parameter's name."""
    folder: str
    """Of the job: checkpoints and the result go there."""
    roots: list[str] = []
    """Folders of this machine that data may be read from."""
    device: str = "cpu"
    max_memory_bytes: int = 0
    max_cpu_seconds: int = 0
    unchecked: UncheckedData | None = None
    """Where nobody has looked at the parameters yet: the process does, with the class at hand."""


class Metrics(msgspec.Struct, frozen=True, tag="metrics"):
    """It logged numbers."""

    at: float
    values: dict[str, float | None]


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """It is so far."""

    fraction: float


class Checkpointed(msgspec.Struct, frozen=True, tag="checkpoint"):
    """It has something that a next run goes on from."""

    number: int


class Finished(msgspec.Struct, frozen=True, tag="finished"):
    """The model is in ``output``, on disk."""

    digest: str
    data_digest: str
    code_digest: str
    cut_short: bool = False
    """Whether the code had seen that it was to stop: the model may be half of one."""


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """It cannot be done."""

    code: str
    message: str


Report = Metrics | Progress | Checkpointed | Finished | Refused
ORDER: Final = msgspec.json.Decoder(TrainingOrder)
REPORT: Final = msgspec.json.Decoder(Report)
encode: Final = msgspec.json.Encoder().encode
