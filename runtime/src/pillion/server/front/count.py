"""How many front workers there are, and which settings mean one process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pillion.execution.cgroup import available_cpus
from pillion.server.failures import ExitCode, StartError

if TYPE_CHECKING:
    from pillion.server.settings import Settings

__all__ = ["count", "counted"]


def counted(settings: Settings) -> tuple[Settings, int]:
    """The settings with the number of front workers in the place of ``auto``, and that number.

    Raises:
        StartError: as :func:`count`.
    """
    workers = count(settings, available_cpus())
    return msgspec.structs.replace(settings, workers=workers), workers


def count(settings: Settings, cpus: int) -> int:
    """The number of front workers; 1 is none beside this process.

    Args:
        settings: all of them.
        cpus: processors of the quota.

    Raises:
        StartError: another setting means one process.
    """
    workers = cpus if settings.workers == "auto" else settings.workers
    if workers == 1:
        return 1
    if settings.management.enabled:
        raise StartError(
            ExitCode.USAGE,
            f"management.enabled changes the models of one process, and these are {workers} (workers): declare models "
            "in runtime.yaml, which every worker follows, or set workers to 1",
        )
    if settings.jobs.folder:
        raise StartError(
            ExitCode.USAGE,
            f"jobs.folder is one process's, and these are {workers} (workers): leave it out, name a database"
            " (jobs.database), or set workers to 1",
        )
    if settings.metrics.on_data_port:
        raise StartError(
            ExitCode.USAGE,
            f"metrics.on_data_port would show the counts of one of {workers} workers: scrape the admin port, which has "
            "those of all, or set workers to 1",
        )
    return workers
