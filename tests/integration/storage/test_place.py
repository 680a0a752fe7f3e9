"""Placing: at once, over what was there, through crashes, on a full disk."""

# ruff: noqa: ASYNC240, ASYNC221  (a test has its event loop to itself, and may block it)

from __future__ import annotations

import asyncio
import os
import pathlib
import subprocess
import sys
import tempfile
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pillion.storage import FetchOptions, Reason, StorageError, fetch, fetch_sync, read_record
from tests.integration.storage.conftest import LOCAL

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.storage.faultyserver import FaultyServer


@pytest.fixture
def versions(tmp_path: Path) -> tuple[str, str]:
    """Two versions of a model, with some files of the same name."""
    for version, files in {
        "one": {"a": "1", "b/c": "1", "old/x": "1"},
        "two": {"a": "2", "b/c": "2", "new/y": "2"},
    }.items():
        for name, content in files.items():
            path = tmp_path / version / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
    return (tmp_path / "one").as_uri(), (tmp_path / "two").as_uri()


def content(dest: Path) -> dict[str, str]:
    return {
        path.relative_to(dest).as_posix(): path.read_text()
        for path in dest.rglob("*")
        if path.is_file() and path.name != ".pillion-artifact.json"
    }


async def test_another_artifact_replaces_the_files_of_the_first(versions: tuple[str, str], dest: Path) -> None:
    await fetch(versions[0], dest)
    await fetch(versions[1], dest)

    assert {"a": "2", "b/c": "2", "new/y": "2"} == content(dest)
    assert not (dest / "old").exists()


async def test_files_of_others_are_left_alone(versions: tuple[str, str], dest: Path) -> None:
    dest.mkdir()
    (dest / "mine").write_text("keep")
    await fetch(versions[0], dest)
    await fetch(versions[1], dest)

    assert "keep" == (dest / "mine").read_text()


@pytest.mark.parametrize("kind", ["file", "link", "directory", "parent-link"])
async def test_a_file_of_somebody_else_in_the_way_is_not_overwritten(
    versions: tuple[str, str], dest: Path, kind: str
) -> None:
    dest.mkdir()
    (dest.parent / "elsewhere").mkdir()
    if kind == "file":
        (dest / "a").write_text("keep")
    elif kind == "link":
        (dest / "a").symlink_to(dest.parent / "elsewhere/a")
    elif kind == "directory":
        (dest / "a").mkdir()
    else:
        (dest / "b").symlink_to(dest.parent / "elsewhere")

    with pytest.raises(StorageError) as caught:
        await fetch(versions[0], dest)

    assert (Reason.DESTINATION_UNUSABLE, 51) == (caught.value.reason, caught.value.exit_code)
    assert [] == list((dest.parent / "elsewhere").iterdir())
    assert kind != "file" or (dest / "a").read_text() == "keep"


CRASH = """
import os, sys
from pathlib import Path
from pillion.storage import fetch_sync
left = int(sys.argv[3])
rename = Path.replace
def crashing(self, target):
    global left
    left -= 1
    if left == 0:
        os._exit(9)
    return rename(self, target)
Path.replace = crashing
fetch_sync(sys.argv[1], Path(sys.argv[2]))
"""


@pytest.mark.slow
def test_a_crash_at_any_rename_leaves_one_whole_artifact_after_the_next_run(
    versions: tuple[str, str], tmp_path: Path
) -> None:
    """The process ends at the first, second, ... rename while version two replaces version one."""
    crashes = 0
    for step in range(1, 30):
        dest = tmp_path / f"dest-{step}"
        fetch_sync(versions[0], dest)
        ended = subprocess.run([sys.executable, "-c", CRASH, versions[1], str(dest), str(step)], check=False).returncode
        assert ended in {0, 9}
        record = read_record(dest)
        if record is not None:  # who sees a record sees all of its files
            assert {file.path for file in record.files} <= set(content(dest))
        fetch_sync(versions[1], dest)
        assert {"a": "2", "b/c": "2", "new/y": "2"} == content(dest)
        assert not (dest / ".partial").exists()
        if ended == 0:
            break
        crashes += 1

    assert crashes > 5


async def test_two_at_a_time_into_one_destination_take_turns(server: FaultyServer, dest: Path) -> None:
    server.put("/model.bin", os.urandom(5_000_000))

    first, second = await asyncio.gather(*(fetch(server.url("/model.bin"), dest, LOCAL) for _ in range(2)))

    assert [False, True] == sorted([first.reused, second.reused])
    assert 1 == len(server.ranges("/model.bin"))


async def test_what_was_left_for_another_source_is_not_used(
    server: FaultyServer, versions: tuple[str, str], dest: Path
) -> None:
    (dest / ".partial/data").mkdir(parents=True)
    (dest / ".partial/data/stray").write_text("x")
    (dest / ".partial/owner").write_text("another")

    await fetch(versions[0], dest)

    assert {"a": "1", "b/c": "1", "old/x": "1"} == content(dest)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    mount = tmp_path / "small"
    mount.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(mount)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.strip()}")
    yield mount
    subprocess.run(["umount", str(mount)], check=True)


async def test_an_artifact_that_cannot_fit_is_refused_before_it_is_downloaded(
    server: FaultyServer, small_disk: Path
) -> None:
    server.put("/model.bin", bytes(6_000_000))

    with pytest.raises(StorageError) as caught:
        await fetch(server.url("/model.bin"), small_disk / "models", LOCAL)

    assert (Reason.DISK_FULL, 50) == (caught.value.reason, caught.value.exit_code)
    assert [] == list((small_disk / "models").iterdir())


async def test_a_disk_that_fills_up_meanwhile_is_said_to_be_full_and_is_emptied(
    server: FaultyServer, small_disk: Path
) -> None:
    server.put("/model.bin", bytes(6_000_000), chunked=True)  # no length: nobody knows before

    with pytest.raises(StorageError) as caught:
        await fetch(server.url("/model.bin"), small_disk / "models", LOCAL)

    assert Reason.DISK_FULL == caught.value.reason
    assert "space" in caught.value.remedy
    assert [] == list((small_disk / "models").iterdir())


async def test_a_disk_that_fills_up_while_unpacking_is_said_to_be_full(small_disk: Path, tmp_path: Path) -> None:
    subprocess.run(["dd", "if=/dev/zero", f"of={tmp_path}/zeros", "bs=1M", "count=8", "status=none"], check=True)
    subprocess.run(["tar", "czf", str(tmp_path / "m.tgz"), "-C", str(tmp_path), "zeros"], check=True)

    with pytest.raises(StorageError) as caught:
        await fetch((tmp_path / "m.tgz").as_uri(), small_disk / "models", LOCAL)

    assert Reason.DISK_FULL == caught.value.reason


UNPRIVILEGED = """
import concurrent.futures.thread, os, sys  # all imports now: the interpreter may lie where the user cannot read
from pathlib import Path
from pillion.storage import StorageError, fetch_sync
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(int(sys.argv[3]))
    os.setuid(65532)
try:
    artifact = fetch_sync(sys.argv[1], Path(sys.argv[2]))
except StorageError as error:
    print(error.reason, error.remedy)
else:
    print(artifact.model_path.read_text())
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can see into; pytest's own are closed to others."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        (folder / "model.bin").write_text("weights")
        yield folder


def fetch_unprivileged(source: Path, dest: Path, group: int = 65532) -> str:
    """What a pod's user sees: an unprivileged one, in the group of its volume."""
    done = subprocess.run(
        [sys.executable, "-c", UNPRIVILEGED, source.as_uri(), str(dest), str(group)],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_a_destination_without_permission_is_unusable_and_the_remedy_names_the_pods_settings(open_folder: Path) -> None:
    (open_folder / "locked").mkdir(mode=0o555)

    printed = fetch_unprivileged(open_folder / "model.bin", open_folder / "locked/models")

    assert "DestinationUnusable" == printed.split()[0]
    assert "fsGroup" in printed


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a directory to another group needs root")
def test_a_volume_of_the_pods_group_is_all_that_an_unprivileged_user_needs(open_folder: Path) -> None:
    mount = open_folder / "models"
    mount.mkdir()
    os.chown(mount, 0, 2000)
    mount.chmod(0o2775)

    assert "weights" == fetch_unprivileged(open_folder / "model.bin", mount, group=2000)


async def test_a_destination_that_is_a_file_is_unusable(versions: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")

    with pytest.raises(StorageError) as caught:
        await fetch(versions[0], tmp_path / "file", replace(LOCAL))

    assert Reason.DESTINATION_UNUSABLE == caught.value.reason


async def test_files_are_readable_by_the_model_server_whatever_the_umask(versions: tuple[str, str], dest: Path) -> None:
    old = os.umask(0o077)
    try:
        await fetch(versions[0], dest, FetchOptions())
    finally:
        os.umask(old)

    modes = {oct(path.stat().st_mode & 0o777) for path in (dest / "a", dest / "b/c", dest / ".pillion-artifact.json")}
    assert ({"0o644"}, "0o755", "0o755") == (
        modes,
        oct(dest.stat().st_mode & 0o777),
        oct((dest / "b").stat().st_mode & 0o777),
    )
