"""Checkpoints on their way into a bucket: what of an upload that broke off is left, and what is told."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

import obstore
import pytest
from obstore.store import S3Store

from pillion.authoring.checkpoints import Checkpoints
from pillion.storage import Reason, StorageError
from pillion.trainingpod.checkpoints import RemoteCheckpoints, Uploader

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.storage.conftest import S3Server

_WITHIN = 60.0


@pytest.fixture
def bucket(s3: S3Server) -> S3Store:
    values = s3.environment
    return S3Store(
        "models",
        endpoint=s3.endpoint,
        access_key_id=values["AWS_ACCESS_KEY_ID"],
        secret_access_key=values["AWS_SECRET_ACCESS_KEY"],
        client_options={"allow_http": True},
    )


def make(folder: Path, **files: str) -> int:
    """One more checkpoint; its number."""
    with Checkpoints(folder).writing({}) as (number, content):
        for name, text in files.items():
            (content / name).write_text(text)
    return number


def told_within(told: list[tuple[int, str]], number: int) -> None:
    deadline = time.monotonic() + _WITHIN
    while len(told) < number:
        assert time.monotonic() < deadline, told
        time.sleep(0.01)


def test_what_an_upload_that_broke_off_has_left_is_no_part_of_the_next_of_its_number(
    s3: S3Server, bucket: S3Store, tmp_path: Path
) -> None:
    remote = RemoteCheckpoints("s3://models/broken-off", s3.environment)
    obstore.put(bucket, "broken-off/1/content/optimizer", b"of the pod before")
    # One that was whole as far as its manifest goes, and that a restore has passed over.
    obstore.put(bucket, "broken-off/2/content/optimizer", b"spoiled")
    obstore.put(bucket, "broken-off/2/checkpoint.json", b'{"number": 2, "digest": "sha256:0", "state": {}}')
    work = tmp_path / "work"
    for number in (make(work, model="1"), make(work, model="2")):
        remote.upload(number, work / str(number))

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert 2 == remote.restore(elsewhere)
    shutil.rmtree(elsewhere / "2")
    obstore.delete(bucket, "broken-off/2/checkpoint.json")
    assert 1 == remote.restore(elsewhere)
    remote.remove()


def test_one_that_is_gone_before_its_turn_is_not_told_as_uploaded(s3: S3Server, tmp_path: Path) -> None:
    told: list[tuple[int, str]] = []
    remote = RemoteCheckpoints("s3://models/gone", s3.environment)
    uploader = Uploader(remote, tmp_path, 0.0, lambda *said: told.append(said))
    for _ in range(3):
        make(tmp_path, model="m")

    uploader.wanted(1)
    uploader.close(upload=True)

    assert [] == told
    assert remote.restore(tmp_path / "elsewhere") is None


class Unreliable(RemoteCheckpoints):
    """A bucket that does not answer while it is told not to."""

    answers = False
    tried = 0

    def upload(self, number: int, checkpoint: Path) -> None:
        self.tried += 1
        if not self.answers:
            raise StorageError(Reason.UPLOAD_FAILED, "no answer", remedy="try again", transient=True)
        super().upload(number, checkpoint)


def test_one_that_could_not_be_uploaded_is_tried_once_more_at_the_end(s3: S3Server, tmp_path: Path) -> None:
    told: list[tuple[int, str]] = []
    remote = Unreliable("s3://models/unreliable", s3.environment)
    uploader = Uploader(remote, tmp_path, 0.0, lambda *said: told.append(said))
    uploader.wanted(make(tmp_path, model="m"))
    told_within(told, 1)
    remote.answers = True

    uploader.close(upload=True)

    assert [(1, True), (1, False)] == [(number, "no answer" in trouble) for number, trouble in told]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert 1 == remote.restore(elsewhere)
    remote.remove()


@pytest.mark.parametrize(("upload", "tries"), [(True, 2), (False, 1)])
def test_one_that_never_can_be_uploaded_ends_all_the_same(
    s3: S3Server,
    tmp_path: Path,
    upload: bool,  # noqa: FBT001 - a case
    tries: int,
) -> None:
    told: list[tuple[int, str]] = []
    remote = Unreliable("s3://models/never", s3.environment)
    uploader = Uploader(remote, tmp_path, 0.0, lambda *said: told.append(said))
    uploader.wanted(make(tmp_path, model="m"))
    told_within(told, 1)

    uploader.close(upload=upload)

    assert tries == remote.tried
    assert all(trouble for _, trouble in told)
