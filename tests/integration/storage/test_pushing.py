"""Pushing to a real S3 server, and what was pushed fetched again by its digest."""

# ruff: noqa: ASYNC240, ASYNC221  (a test has its event loop to itself, and may block it)

from __future__ import annotations

import concurrent.futures
import hashlib
import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from pillion.storage import Reason, StorageError, fetch
from pillion.storage.local_artifact import read_artifact
from pillion.storage.pushing import PushProgress, push
from tests.integration.storage.conftest import LOCAL, S3Server
from tests.unit.cli.command import pillion

if TYPE_CHECKING:
    from pathlib import Path

    from pillion.storage.local_artifact import LocalArtifact
    from pillion.storage.pushing import Pushed

DATA = os.urandom(20_000_000)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A file that is uploaded in several parts."""
    path = tmp_path / "model.bin"
    path.write_bytes(DATA)
    return path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "bert"
    (folder / "weights").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "weights" / "part 1.bin").write_bytes(DATA[:1_000_000])
    return folder


def artifact_of(path: Path) -> LocalArtifact:
    """Read as a command does, outside of the event loop."""
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        return thread.submit(read_artifact, path).result()


async def pushed(path: Path, uri: str, *, force: bool = False) -> Pushed:
    return await push(artifact_of(path), uri, os.environ, force=force)


async def refusal(path: Path, uri: str, *, force: bool = False) -> StorageError:
    with pytest.raises(StorageError) as caught:
        await pushed(path, uri, force=force)
    return caught.value


async def test_a_file_arrives_under_the_digest_that_sha256sum_prints(s3: S3Server, model: Path, dest: Path) -> None:
    printed = subprocess.run(["sha256sum", model], capture_output=True, text=True, check=True).stdout.split()[0]

    done = await pushed(model, "s3://models/push/one/model.bin")

    assert (f"sha256:{printed}", "s3://models/push/one/model.bin", False) == (done.digest, done.uri, done.unchanged)
    fetched = await fetch(f"{done.uri}#{done.digest}", dest, LOCAL)
    assert DATA == fetched.model_path.read_bytes()


async def test_below_a_slash_a_file_keeps_its_name(s3: S3Server, model: Path) -> None:
    assert "s3://models/push/below/model.bin" == (await pushed(model, "s3://models/push/below/")).uri


async def test_a_folder_arrives_as_a_tree_that_can_be_pinned(s3: S3Server, tree: Path, dest: Path) -> None:
    done = await pushed(tree, "s3://models/push/bert")

    fetched = await fetch(done.uri, dest, LOCAL)
    assert ("tree", done.digest) == (fetched.kind, fetched.digest)
    assert {"config.json", "weights/part 1.bin"} == {file.path for file in fetched.files}


async def test_the_same_again_uploads_nothing(s3: S3Server, model: Path, tree: Path) -> None:
    for path, uri in ((model, "s3://models/push/same/model.bin"), (tree, "s3://models/push/same-tree")):
        first, second = await pushed(path, uri), await pushed(path, uri)
        assert (False, True, first.digest) == (first.unchanged, second.unchanged, second.digest)


@pytest.mark.parametrize("change", [b"x" * 20_000_000, b"shorter"])
async def test_other_content_is_refused_and_overwritten_only_by_force(
    s3: S3Server, model: Path, change: bytes, dest: Path
) -> None:
    uri = f"s3://models/push/other-{len(change)}/model.bin"
    await pushed(model, uri)
    model.write_bytes(change)

    error = await refusal(model, uri)
    assert (Reason.DIFFERENT_CONTENT, True) == (error.reason, "--force" in error.remedy)
    assert DATA == (await fetch(uri, dest / "kept", LOCAL)).model_path.read_bytes()

    await pushed(model, uri, force=True)
    assert change == (await fetch(uri, dest / "new", LOCAL)).model_path.read_bytes()


async def test_a_changed_file_of_a_folder_is_named(s3: S3Server, tree: Path) -> None:
    await pushed(tree, "s3://models/push/named")
    (tree / "config.json").write_text("[]")

    assert "config.json" in (await refusal(tree, "s3://models/push/named")).message
    assert not (await pushed(tree, "s3://models/push/named", force=True)).unchanged


async def test_objects_besides_the_artifact_are_never_mixed_in_nor_deleted(s3: S3Server, tree: Path) -> None:
    s3.put("models/push/mixed/old.bin", b"old")

    error = await refusal(tree, "s3://models/push/mixed", force=True)

    assert Reason.DIFFERENT_CONTENT == error.reason
    assert "push/mixed/old.bin" in error.message


async def test_wrong_credentials_name_the_right_that_is_missing_and_no_secret(
    s3: S3Server, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-5ecret")

    error = await refusal(model, "s3://models/push/denied/model.bin")

    assert Reason.ACCESS_DENIED == error.reason
    assert "s3:" in error.remedy
    assert "AWS_ACCESS_KEY_ID" in error.remedy
    assert "5ecret" not in f"{error}{error!r}"


async def test_a_bucket_that_is_not_there_is_said(s3: S3Server, model: Path) -> None:
    assert Reason.BUCKET_NOT_FOUND == (await refusal(model, "s3://no-such-bucket/model.bin")).reason


async def test_what_cannot_be_written_to_says_what_can(model: Path) -> None:
    error = await refusal(model, "https://example.org/model.bin")
    assert (Reason.UNSUPPORTED_SCHEME, True) == (error.reason, "s3://" in error.remedy)


async def test_progress_reaches_the_end(s3: S3Server, model: Path) -> None:
    seen: list[PushProgress] = []
    await push(artifact_of(model), "s3://models/push/progress/model.bin", os.environ, tell=seen.append)
    assert (len(DATA), len(DATA), "uploading") == (seen[-1].done, seen[-1].total, seen[-1].phase)
    assert len(seen) > 1


def test_the_command_prints_what_a_manifest_wants(s3: S3Server, model: Path) -> None:
    uri, digest = "s3://models/push/command/model.bin", f"sha256:{hashlib.sha256(DATA).hexdigest()}"

    done = pillion("push", str(model), uri)
    again = pillion("push", str(model), uri, "--json")

    assert (0, f"storageUri: {uri}\ndigest: {digest}\n") == (done.returncode, done.stdout), done.stderr
    described = {"storageUri": uri, "digest": digest, "bytes": len(DATA), "files": 1, "unchanged": True}
    assert described == json.loads(again.stdout)
    model.write_bytes(b"other")
    refused = pillion("push", str(model), uri)
    assert (1, True) == (refused.returncode, "--force" in refused.stderr)
    assert 2 == pillion("push", str(model.with_name("none")), uri).returncode
    assert 2 == pillion("push", str(model), "ftp://x/y").returncode


def test_a_folder_of_this_machine_is_a_store_too(tmp_path: Path, tree: Path) -> None:
    done = pillion("push", str(tree), f"file://{tmp_path}/store/bert/v1")

    assert 0 == done.returncode, done.stderr
    assert (tmp_path / "store" / "bert" / "v1" / "weights" / "part 1.bin").read_bytes() == DATA[:1_000_000]
