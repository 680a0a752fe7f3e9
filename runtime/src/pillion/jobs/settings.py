"""What the job engine is told by the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["JobSettings"]


class JobSettings(msgspec.Struct, frozen=True):
    """Bounds and places."""

    folder: Path | None
    """Of the store and the jobs' files; None where they are in a database that several servers share."""
    models: Path
    """Of the model store: that of ``models.store``, where there is one."""
    roots: tuple[Path, ...] = ()
    """Folders that trainings may read data from, and write below, besides the jobs' and their code's."""
    max_queued: int = 100_000
    """Jobs of a kind that may wait; one more is answered "queue full"."""
    max_attempts: int = 3
    """Runs that may be lost in a row before a job is ERRORED."""
    predictions: int = 2
    """Prediction jobs that run at a time."""
    trainings: int = 1
    """Trainings that run at a time."""
    prediction_seconds: float = 3600.0
    """Deadline of a prediction job, from when it begins to run."""
    keep_seconds: float = 7 * 86400.0
    """How long jobs are kept after their end."""
    keep_jobs: int = 10_000
    """Ended jobs that are kept at most."""
    inline_bytes: int = 64 * 1024
    """Inputs and results of at most so many bytes are kept in the store itself, larger ones as files."""
    max_result_bytes: int = 256 * 1024 * 1024
    """Largest result of a prediction job whose task gives items one by one."""
    max_stored_bytes: int = 16 * 1024**3
    """Inputs and results of all jobs that are kept; a job that would go beyond is refused."""
    cancel_grace_seconds: float = 10.0
    """How long a training that is told to stop may take before its processes are killed."""
    max_memory_bytes: int = 0
    """Memory (address space) of a training's process; 0: as much as there is."""
    max_cpu_seconds: int = 0
    """Processor time of a training's process; 0: as much as it takes."""
    max_log_bytes: int = 16 * 1024 * 1024
    """Output of a training that is kept: of more the oldest goes."""
