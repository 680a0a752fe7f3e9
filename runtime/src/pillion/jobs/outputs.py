"""What a training made: its model becomes a version in the model store, with what it was made of."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pillion.authoring.checkpoints import digest_of
from pillion.durable import sync_folder, sync_tree
from pillion.jobs.places import check_place
from pillion.modelstore import ModelStore, Trained

if TYPE_CHECKING:
    from pillion.jobs.states import Job
    from pillion.jobs.training_order import Finished, TrainingOrder

__all__ = ["keep_output"]

_JOB: Final = "training_id"


def keep_output(root: Path, job: Job, folder: Path, made: Finished, order: TrainingOrder) -> dict[str, str]:
    """Register the model in ``output`` of the job's folder; what is told of it. The same job again registers nothing.

    Args:
        root: of the model store.
        job: that made it.
        folder: of the job.
        made: what its process said.
        order: that it was given.

    Raises:
        ValueError: the files are not those that the process wrote.
        PillionError: the store refuses them.
        OSError: no room, or ``output_path`` cannot be written.
    """
    output = folder / "output"
    if digest_of(output) != made.digest:
        raise ValueError(f"the files in {output} are not those that the training wrote")
    store = ModelStore(root)
    lineage = {
        _JOB: job.id,
        "training": job.task,
        "data_digest": made.data_digest,
        "code_digest": made.code_digest,
        "parent": job.details.get("parent", ""),
        "parameters": order.parameters,
    }
    # The server may have ended between the registration and the job's end.
    trained = Trained(job.task, job.id)
    former = [one for one in store.versions(job.model) if one.trained == trained]
    version = former[0] if former else store.register(job.model, output, lineage, trained=trained)
    wanted = job.details.get("output_path", "")
    if wanted:
        check_place(Path(wanted), order.roots, "output_path")  # again: links on the way may have changed
        _copy(output, Path(wanted))
    return {
        "version": version.version,
        "path": wanted or str(version.path),
        "digest": version.digest,
        "data_digest": made.data_digest,
        "code_digest": made.code_digest,
    }


def _copy(output: Path, wanted: Path) -> None:
    """A copy where the caller wants one: all of it or nothing; the same copy again is none."""
    if wanted.exists():
        if digest_of(wanted) == digest_of(output):
            return
        raise FileExistsError(f"output_path {wanted} is there already")
    partial = wanted.with_name(f".{wanted.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(output, partial)
    sync_tree(partial)
    partial.rename(wanted)
    sync_folder(wanted.parent)
