"""Jobs on a disk that fills up: a real one, of a few megabytes."""

from __future__ import annotations

import contextlib
import subprocess
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from pillion.jobs.log import JobLog, read_whole
from tests.integration.jobs.following import ended, served, state, submit, train
from tests.waiting import until_now

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.own_python.program import Program

_MIB = 1024 * 1024


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of eight megabytes, for three hundred files."""
    mount = tmp_path / "data"
    mount.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m,nr_inodes=300", "tmpfs", str(mount)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.strip()}")
    yield mount
    subprocess.run(["umount", "--lazy", str(mount)], check=True)


@contextlib.contextmanager
def full(disk: Path) -> Iterator[None]:
    """Nothing fits on it any more."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as out:
        size = _MIB
        while size:
            try:
                out.write(b"x" * size)
            except OSError:
                size //= 2
    try:
        yield
    finally:
        filler.unlink()


def handed_in(program: Program, text: str) -> tuple[int, dict[str, Any]]:
    """What a submission is answered, of any size."""
    answer = httpx.post(program.url("/api/v1/task/classify/job"), json={"inputs": text}, timeout=30)
    return answer.status_code, answer.json()


def test_a_full_disk_refuses_jobs_and_loses_none(tmp_path: Path, disk: Path) -> None:
    with served(tmp_path) as program:
        before = submit(program, "classify", "good")
        large = handed_in(program, "good " * 50_000)[1]["prediction_id"]
        assert {"COMPLETED"} == {ended(program, one)["state"] for one in (before, large)}
        runs = submit(program, "classify", "held good")
        until_now(lambda: state(program, runs)["state"] == "RUNNING")
        with full(disk):
            small, file = handed_in(program, "good " * 5000), handed_in(program, "good " * 50_000)
            for status, answer in (small, file):
                assert (507, 507) == (status, answer["code"]), answer
                assert "there is no room left on the disk of" in answer["details"]
            assert (200, 1) == program.curl("/classify", {"text": "good"})
            for one, expected in ((before, 1), (large, 50_000)):
                found = program.curl(f"/api/v1/task/classify/job/results?prediction_id={one}")
                assert (200, expected) == found
            (tmp_path / "release").touch()
            program.wait_for("its end cannot be kept yet")
        job = ended(program, runs)
        assert ("COMPLETED", 1) == (job["state"], job["attempts"])
        status, taken = handed_in(program, "good " * 50_000)
        assert (202, "COMPLETED") == (status, ended(program, taken["prediction_id"])["state"])
        assert program.process.poll() is None


def test_a_training_that_fills_the_disk_has_one_end_and_the_server_serves_on(tmp_path: Path, disk: Path) -> None:
    with served(tmp_path) as program:
        done = ended(program, train(program, "first", epochs=1))
        assert "COMPLETED" == done["state"]
        with full(disk):
            status, _ = program.curl(
                "/api/v1/ClassifyMoodTrain",
                {"model_name": "m", "parameters": {"data": [{"text": "a" * 100_000, "label": 1}]}},
            )
            assert 507 == status
            assert (200, 1) == program.curl("/classify", {"text": "good"})
        identity = train(program, "second", epochs=3, seconds=2.0)
        until_now(lambda: (state(program, identity)["progress"] or 0) > 0)
        with full(disk):
            program.wait_for("cannot be kept yet")
        second = ended(program, identity, 60)
        assert "ERRORED" == second["state"]
        (reason,) = second["reasons"]
        assert "there is no room left on the disk of" in reason
        third = ended(program, train(program, "third", epochs=1))
        assert "COMPLETED" == third["state"]
        assert done == state(program, done["training_id"])
        assert second == state(program, identity)


def test_a_server_whose_disk_is_full_starts_predicts_and_takes_jobs_when_there_is_room(
    tmp_path: Path, disk: Path
) -> None:
    with served(tmp_path) as program:
        waits = submit(program, "classify", "held good")
        until_now(lambda: state(program, waits)["state"] == "RUNNING")
        program.process.kill()
        program.process.wait()
    with full(disk), served(tmp_path) as program:
        assert (200, 1) == program.curl("/classify", {"text": "good"})
        assert program.curl("/api/v1/task/classify/job", {"inputs": "good " * 5000})[0] in (503, 507)
    (tmp_path / "release").touch()
    with served(tmp_path) as program:
        assert "COMPLETED" == ended(program, waits)["state"]


def test_a_log_goes_on_where_it_was_when_there_is_room_for_a_file_again(disk: Path) -> None:
    segment = 16 * 1024
    log = JobLog(disk, "log", 4 * segment)
    log.append(b"a" * segment)
    fillers: list[Path] = []
    with contextlib.suppress(OSError):
        while True:
            filler = disk / f"filler{len(fillers)}"
            filler.touch()
            fillers.append(filler)
    for _ in range(2):
        log.append(b"b" * segment)  # which would begin another file
    for filler in fillers:
        filler.unlink()
    log.append(b"c" * segment)
    log.close()
    text = read_whole(disk, "log")

    assert text.startswith(b"a" * segment)
    assert text.endswith(b"c" * segment)
