"""Fetching from mounted volumes: files, ConfigMaps, hostile links."""

# ruff: noqa: ASYNC240  (a test has its event loop to itself, and may block it)

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pillion.storage import FetchOptions, Reason, StorageError, fetch, tree_digest
from tests.integration.storage.conftest import LOCAL

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """A volume with a model, and something outside that is not to be read."""
    (tmp_path / "token").write_text("5ecret")
    root = tmp_path / "volume"
    (root / "iris/sub").mkdir(parents=True)
    (root / "iris/model.bin").write_bytes(b"weights")
    (root / "iris/sub/labels").write_bytes(b"a,b")
    return root


async def refusal(path: Path, dest: Path, options: FetchOptions = LOCAL) -> StorageError:
    with pytest.raises(StorageError) as caught:
        await fetch(path.as_uri(), dest, options)
    return caught.value


async def test_a_directory_is_copied_as_a_tree(volume: Path, dest: Path) -> None:
    artifact = await fetch((volume / "iris").as_uri(), dest)

    assert {"model.bin": b"weights", "sub/labels": b"a,b"} == {
        f.path: (dest / f.path).read_bytes() for f in artifact.files
    }
    assert tree_digest((f.path, f.size, f.sha256) for f in artifact.files) == artifact.digest


async def test_a_single_file_is_copied(volume: Path, dest: Path) -> None:
    assert b"weights" == (await fetch(str(volume / "iris/model.bin"), dest)).model_path.read_bytes()


async def test_a_mounted_config_map_is_copied_without_the_kubelets_bookkeeping(tmp_path: Path, dest: Path) -> None:
    mount = tmp_path / "mount"
    (mount / "..2026_11_23").mkdir(parents=True)
    (mount / "..2026_11_23/model.joblib").write_bytes(b"weights")
    (mount / "..data").symlink_to("..2026_11_23")
    (mount / "model.joblib").symlink_to("..data/model.joblib")

    whole = await fetch(mount.as_uri(), dest)
    key = await fetch((mount / "model.joblib").as_uri(), tmp_path / "key")

    assert ["model.joblib"] == [file.path for file in whole.files] == [file.path for file in key.files]
    assert not (dest / "model.joblib").is_symlink()


@pytest.mark.parametrize("kind", ["file", "directory", "chain"])
async def test_a_link_out_of_the_volume_is_refused(volume: Path, dest: Path, kind: str) -> None:
    link = volume / "iris/evil"
    if kind == "chain":
        (volume / "iris/hop").symlink_to("../../token")
        link.symlink_to("hop")
    else:
        link.symlink_to(volume.parent / "token" if kind == "file" else volume.parent)

    error = await refusal(volume / "iris", dest)

    assert (Reason.UNSAFE_PATH, 33) == (error.reason, error.exit_code)
    assert not any(b"5ecret" in path.read_bytes() for path in dest.rglob("*") if path.is_file())


async def test_a_single_file_that_is_a_link_out_is_refused(volume: Path, dest: Path) -> None:
    (volume / "iris/evil").symlink_to("/etc/passwd")

    assert (await refusal(volume / "iris/evil", dest)).reason == Reason.UNSAFE_PATH


async def test_a_link_inside_the_mount_is_followed_where_the_mount_is_the_link_root(volume: Path, dest: Path) -> None:
    (volume / "blobs").mkdir()
    (volume / "blobs/ab").write_bytes(b"shared")
    (volume / "iris/shared").symlink_to("../blobs/ab")

    assert (await refusal(volume / "iris", dest)).reason == Reason.UNSAFE_PATH
    await fetch((volume / "iris").as_uri(), dest, replace(LOCAL, link_root=volume))
    assert b"shared" == (dest / "shared").read_bytes()


async def test_a_link_in_circles_ends(volume: Path, dest: Path) -> None:
    (volume / "iris/again").symlink_to(".")

    assert 2 == len((await fetch((volume / "iris").as_uri(), dest)).files)


async def test_a_pipe_is_refused_and_not_waited_for(volume: Path, dest: Path) -> None:
    os.mkfifo(volume / "iris/pipe")

    assert (await refusal(volume / "iris", dest)).reason == Reason.UNSAFE_PATH


async def test_an_empty_directory_is_refused(tmp_path: Path, dest: Path) -> None:
    (tmp_path / "empty").mkdir()

    assert (await refusal(tmp_path / "empty", dest)).reason == Reason.OBJECT_NOT_FOUND


async def test_a_missing_path_is_said_to_be_missing(tmp_path: Path, dest: Path) -> None:
    error = await refusal(tmp_path / "none", dest)

    assert Reason.OBJECT_NOT_FOUND == error.reason
    assert str(tmp_path / "none") in error.message


async def test_more_files_than_allowed_are_refused(volume: Path, dest: Path) -> None:
    assert (await refusal(volume, dest, replace(LOCAL, max_files=1))).reason == Reason.TOO_LARGE


async def test_volumes_that_only_kubernetes_mounts_are_refused_outside_of_it(dest: Path) -> None:
    for uri in ("pvc://claim/iris", "configmap://iris"):
        with pytest.raises(StorageError, match="mounted by Kubernetes"):
            await fetch(uri, dest)
