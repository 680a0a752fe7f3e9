"""Files of jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pillion.jobs.folders import JobFolders
from pillion.jobs.store import JobStoreError

if TYPE_CHECKING:
    from pathlib import Path


def test_what_a_disk_refuses_is_an_error_of_the_store_so_that_the_end_of_a_job_is_tried_again(tmp_path: Path) -> None:
    folders = JobFolders(tmp_path, inline=0)
    (tmp_path / "a").write_text("where the job's folder should be")

    with pytest.raises(JobStoreError, match="cannot be written"):
        folders.keep("a", "result", b"1")
