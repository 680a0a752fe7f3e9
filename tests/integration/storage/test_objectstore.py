"""Fetching from buckets: a real S3 server, and one that fails on command."""

# ruff: noqa: ASYNC240  (a test has its event loop to itself, and may block it)

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pillion.storage import FetchOptions, Reason, StorageError, fetch, tree_digest
from tests.integration.storage.conftest import LOCAL, S3Server
from tests.integration.storage.faultyserver import Fault, FaultyServer

if TYPE_CHECKING:
    from pathlib import Path

DATA = os.urandom(3_000_000)
SHA256 = hashlib.sha256(DATA).hexdigest()


async def refusal(uri: str, dest: Path, options: FetchOptions = LOCAL, **more: Any) -> StorageError:
    with pytest.raises(StorageError) as caught:
        await fetch(uri, dest, options, **more)
    return caught.value


async def test_an_object_is_placed_under_its_own_name(s3: S3Server, dest: Path) -> None:
    s3.put("models/iris/model.joblib", DATA)

    artifact = await fetch("s3://models/iris/model.joblib", dest, LOCAL)

    assert DATA == (dest / "model.joblib").read_bytes()
    assert ("file", f"sha256:{SHA256}") == (artifact.kind, artifact.digest)


async def test_a_prefix_is_placed_as_a_tree_without_its_neighbours(s3: S3Server, dest: Path) -> None:
    files = {"config.json": b"{}", "weights/part 1.bin": DATA, "weights/é.bin": b"x"}
    for name, content in files.items():
        s3.put(f"models/bert/{name}", content)
    s3.put("models/bert2/other.bin", b"x")

    artifact = await fetch("s3://models/bert", dest, LOCAL)

    assert files == {file.path: (dest / file.path).read_bytes() for file in artifact.files}
    expected = tree_digest((name, len(content), hashlib.sha256(content).hexdigest()) for name, content in files.items())
    assert ("tree", expected, dest) == (artifact.kind, artifact.digest, artifact.model_path)


async def test_a_tree_can_be_pinned_by_its_digest(s3: S3Server, dest: Path, tmp_path: Path) -> None:
    s3.put("models/pinned/a", b"1")
    digest = (await fetch("s3://models/pinned/", dest, LOCAL)).digest

    assert digest == (await fetch(f"s3://models/pinned/#{digest}", tmp_path / "again", LOCAL)).digest
    s3.put("models/pinned/a", b"2")
    assert (await refusal(f"s3://models/pinned/#{digest}", tmp_path / "third")).reason == Reason.DIGEST_MISMATCH


async def test_revalidation_notices_a_changed_object_of_a_tree(s3: S3Server, dest: Path) -> None:
    s3.put("models/live/a", b"1")
    s3.put("models/live/b", b"1")
    options = replace(LOCAL, reuse="revalidate")
    await fetch("s3://models/live", dest, options)
    kept = await fetch("s3://models/live", dest, options)
    s3.delete("models/live/b")
    s3.put("models/live/a", b"22")
    changed = await fetch("s3://models/live", dest, options)

    assert (True, False) == (kept.reused, changed.reused)
    assert {"a": b"22"} == {
        path.name: path.read_bytes() for path in dest.iterdir() if path.name != ".pillion-artifact.json"
    }


async def test_a_missing_key_is_said_to_be_missing(s3: S3Server, dest: Path) -> None:
    s3.put("models/iris/model.joblib", DATA)

    error = await refusal("s3://models/iris/none", dest)

    assert (Reason.OBJECT_NOT_FOUND, 20) == (error.reason, error.exit_code)
    assert "s3://models/iris/none" in error.message


async def test_a_missing_bucket_is_told_from_a_missing_key(s3: S3Server, dest: Path) -> None:
    error = await refusal("s3://no-such-bucket/x", dest)

    assert (Reason.BUCKET_NOT_FOUND, 21) == (error.reason, error.exit_code)


async def test_wrong_credentials_are_refused_and_not_shown(
    s3: S3Server, dest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.put("models/iris/model.joblib", DATA)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-5ecret")

    error = await refusal("s3://models/iris/model.joblib", dest)

    assert (Reason.ACCESS_DENIED, 22) == (error.reason, error.exit_code)
    assert "5ecret" not in f"{error}{error!r}"


async def test_an_archive_in_a_bucket_is_unpacked(s3: S3Server, dest: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("model.bin", DATA)
    s3.put("models/packed/iris.zip", packed.getvalue())

    assert "archive" == (await fetch("s3://models/packed/iris.zip", dest, LOCAL)).kind
    assert DATA == (dest / "model.bin").read_bytes()


async def test_a_bucket_at_loopback_is_refused_before_any_connection(server: FaultyServer, dest: Path) -> None:
    environment = {"AWS_ENDPOINT_URL": server.url(), "awsAnonymousCredential": "true"}

    assert (
        await refusal("s3://models/x", dest, FetchOptions(), environment=environment)
    ).reason == Reason.FORBIDDEN_ADDRESS
    assert [] == server.seen


async def test_a_real_server_on_the_network_works_through_the_guard(s3: S3Server, own_address: str, dest: Path) -> None:
    """As in a cluster: a custom endpoint at a private address, and the address rule in force."""
    s3.put("models/guarded/a", DATA)
    s3.put("models/guarded/b", b"b")
    environment = {"AWS_ENDPOINT_URL": s3.endpoint.replace("127.0.0.1", own_address)}

    artifact = await fetch("s3://models/guarded", dest, FetchOptions(backoff_seconds=0.01), environment=environment)

    assert [SHA256, hashlib.sha256(b"b").hexdigest()] == [file.sha256 for file in artifact.files]


ANONYMOUS = {"awsAnonymousCredential": "true"}


async def test_an_endpoint_that_redirects_to_loopback_is_stopped_by_the_guard(
    own_address: str, other_server: FaultyServer, dest: Path
) -> None:
    other_server.put("/secret", DATA)
    with FaultyServer(host="0.0.0.0") as endpoint:
        endpoint.put(
            "/models/x", DATA, faults=[Fault(status=307, headers={"Location": other_server.url("/secret")})] * 9
        )
        environment = {**ANONYMOUS, "AWS_ENDPOINT_URL": endpoint.url(host=own_address)}

        error = await refusal("s3://models/x", dest, FetchOptions(), environment=environment)

    assert Reason.FORBIDDEN_ADDRESS == error.reason
    assert [] == other_server.seen


def failing(server: FaultyServer, *faults: Fault, data: bytes = DATA) -> dict[str, str]:
    """A bucket whose one object fails so, and the environment to reach it."""
    server.put("/models/model.bin", data, faults=list(faults))
    return {**ANONYMOUS, "AWS_ENDPOINT_URL": server.url()}


async def test_a_broken_download_from_a_bucket_is_continued_under_its_etag(server: FaultyServer, dest: Path) -> None:
    environment = failing(server, Fault(cut_after=1_000_000), Fault(cut_after=1_000_000))

    artifact = await fetch("s3://models/model.bin", dest, LOCAL, environment=environment)

    assert f"sha256:{SHA256}" == artifact.digest
    assert [None, "bytes=1000000-", "bytes=2000000-"] == server.ranges("/models/model.bin")
    assert server.resources["/models/model.bin"].etag == server.seen[-1].headers["if-match"]


async def test_an_object_that_changed_meanwhile_is_begun_again(server: FaultyServer, dest: Path) -> None:
    environment = failing(server, Fault(cut_after=1_000_000), data=b"old" * 1_000_000)
    await refusal("s3://models/model.bin", dest, replace(LOCAL, attempts=1), environment=environment)
    failing(server)

    artifact = await fetch("s3://models/model.bin", dest, LOCAL, environment=environment)

    assert f"sha256:{SHA256}" == artifact.digest


async def test_a_bucket_that_stalls_is_given_up(server: FaultyServer, dest: Path) -> None:
    environment = failing(server, *[Fault(stall_after=500_000)] * 2)

    error = await refusal(
        "s3://models/model.bin", dest, replace(LOCAL, attempts=2, stall_seconds=1.0), environment=environment
    )

    assert Reason.DOWNLOAD_STALLED == error.reason
    assert [None, "bytes=500000-"] == server.ranges("/models/model.bin")


async def test_a_throttled_request_is_tried_again(server: FaultyServer, dest: Path) -> None:
    body = b"<Error><Code>SlowDown</Code></Error>"
    environment = failing(server, *[Fault(status=503, error_body=body)] * 2)

    assert f"sha256:{SHA256}" == (await fetch("s3://models/model.bin", dest, LOCAL, environment=environment)).digest


async def test_no_permission_is_said_with_the_stores_own_word(server: FaultyServer, dest: Path) -> None:
    body = b"<Error><Code>AccessDenied</Code></Error>"
    environment = failing(server, Fault(status=403, error_body=body))

    error = await refusal("s3://models/model.bin", dest, environment=environment)

    assert (Reason.ACCESS_DENIED, 1) == (error.reason, len(server.ranges("/models/model.bin")))
    assert "AccessDenied" in error.message


async def test_a_custom_authority_is_trusted_for_the_endpoint(tls: Any, ca_file: Path, dest: Path) -> None:
    with FaultyServer(context=tls) as secure:
        secure.put("/models/model.bin", DATA)
        environment = {**ANONYMOUS, "AWS_ENDPOINT_URL": secure.url(host="localhost")}
        without = await refusal("s3://models/model.bin", dest, replace(LOCAL, attempts=1), environment=environment)
        trusted = await fetch(
            "s3://models/model.bin", dest, LOCAL, environment={**environment, "AWS_CA_BUNDLE": str(ca_file)}
        )

    assert "AWS_CA_BUNDLE" in without.remedy
    assert f"sha256:{SHA256}" == trusted.digest


async def test_tls_goes_through_the_guard_untouched(tls: Any, own_address: str, dest: Path) -> None:
    with FaultyServer(host="0.0.0.0", context=tls) as secure:
        secure.put("/models/model.bin", DATA)
        environment = {**ANONYMOUS, "AWS_ENDPOINT_URL": secure.url(host=own_address), "S3_VERIFY_SSL": "0"}

        artifact = await fetch("s3://models/model.bin", dest, FetchOptions(attempts=1), environment=environment)

    assert f"sha256:{SHA256}" == artifact.digest


async def test_without_credentials_the_remedy_says_how_to_give_them(
    server: FaultyServer, dest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", server.url("/169.254.169.254"))
    environment = {"AWS_ENDPOINT_URL": server.url()}

    error = await refusal("s3://models/model.bin", dest, replace(LOCAL, attempts=1), environment=environment)

    assert Reason.ACCESS_DENIED == error.reason
    assert "ServiceAccount" in error.remedy
