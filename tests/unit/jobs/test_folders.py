"""Files of jobs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pillion.jobs.folders import JobFolders
from pillion.jobs.sqlite_store import SqliteJobStore
from pillion.jobs.states import Job, JobKind
from pillion.jobs.store import JobStoreError

if TYPE_CHECKING:
    from pathlib import Path


def test_what_a_disk_refuses_is_an_error_of_the_store_so_that_the_end_of_a_job_is_tried_again(tmp_path: Path) -> None:
    folders = JobFolders(tmp_path, inline=0)
    (tmp_path / "a").write_text("where the job's folder should be")

    with pytest.raises(JobStoreError, match="cannot be written"):
        folders.keep("a", "result", b"1")


def test_folders_and_the_store_are_for_this_user_alone_also_in_a_folder_that_is_not(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    former = os.umask(0o022)
    try:
        store = SqliteJobStore(tmp_path)
        job = Job(id="a", kind=JobKind.PREDICTION, model="m", task="t", submitted=1.0)
        store.submit(job, JobFolders(tmp_path / "files", inline=0).keep("a", "request", b"secret"), 9, 9)
        modes = {one.name: one.stat().st_mode & 0o077 for one in tmp_path.rglob("*")}
        store.close()
    finally:
        os.umask(former)

    assert {"jobs.sqlite", "jobs.sqlite-wal", "jobs.sqlite-shm", "lock", "files", "a", "request"} == modes.keys()
    assert {0} == set(modes.values()), modes


def test_a_folder_is_made_with_those_above_it_and_one_that_is_there_is_closed(tmp_path: Path) -> None:
    root = tmp_path / "state" / "pillion" / "jobs"
    SqliteJobStore(root).close()
    (root / "files").mkdir(mode=0o755)
    assert [] == JobFolders(root / "files", inline=0).there()
    folders = (tmp_path / "state", tmp_path / "state" / "pillion", root, root / "files")

    assert [0o700] * 4 == [one.stat().st_mode & 0o777 for one in folders]
