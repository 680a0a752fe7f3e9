"""Fetching over http and https from a real server that fails in every way a network does."""

# ruff: noqa: ASYNC240  (a test has its event loop to itself, and may block it)

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import os
import socket
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pillion.storage import FetchOptions, Progress, Reason, StorageError, fetch, read_record
from tests.integration.storage.conftest import LOCAL
from tests.integration.storage.faultyserver import Fault, FaultyServer

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

DATA = os.urandom(3_000_000)
DIGEST = f"sha256:{hashlib.sha256(DATA).hexdigest()}"
FAST = replace(LOCAL, stall_seconds=1.0)


async def refusal(uri: str, dest: Path, options: FetchOptions = LOCAL, **more: Any) -> StorageError:
    with pytest.raises(StorageError) as caught:
        await fetch(uri, dest, options, **more)
    return caught.value


async def test_a_file_is_placed_with_its_record(server: FaultyServer, dest: Path) -> None:
    server.put("/iris/model.bin", DATA)

    artifact = await fetch(server.url("/iris/model.bin"), dest, LOCAL)

    assert DATA == artifact.model_path.read_bytes()
    assert ("file", DIGEST, 3_000_000, False) == (artifact.kind, artifact.digest, artifact.size, artifact.reused)
    assert artifact == read_record(dest)
    assert {"model.bin", ".pillion-artifact.json"} == {path.name for path in dest.iterdir()}


async def test_progress_is_told_up_to_a_hundred_percent(server: FaultyServer, dest: Path) -> None:
    server.put("/model.bin", DATA)
    told: list[Progress] = []

    await fetch(server.url("/model.bin"), dest, LOCAL, told.append)

    assert ["listing", "downloading", "verifying", "placing", "done"] == list(dict.fromkeys(p.phase for p in told))
    assert (100.0, 1, 3_000_000) == (told[-1].percent, told[-1].files_done, told[-1].done)


async def test_an_artifact_in_place_costs_no_request(server: FaultyServer, dest: Path) -> None:
    server.put("/model.bin", DATA)
    await fetch(server.url("/model.bin"), dest, LOCAL)
    asked = len(server.seen)

    assert (await fetch(server.url("/model.bin"), dest, LOCAL)).reused
    assert asked == len(server.seen)


async def test_a_file_damaged_in_place_is_fetched_again(server: FaultyServer, dest: Path) -> None:
    server.put("/model.bin", DATA)
    artifact = await fetch(server.url("/model.bin"), dest, LOCAL)
    artifact.model_path.write_bytes(DATA[:-1] + b"\0")

    again = await fetch(server.url("/model.bin"), dest, LOCAL)

    assert (False, DATA) == (again.reused, again.model_path.read_bytes())


async def test_damage_that_keeps_size_and_time_is_found_where_a_digest_was_given(
    server: FaultyServer, dest: Path
) -> None:
    server.put("/model.bin", DATA)
    options = replace(LOCAL, digest=DIGEST)
    artifact = await fetch(server.url("/model.bin"), dest, options)
    times = artifact.model_path.stat()
    artifact.model_path.write_bytes(DATA[:-1] + bytes([DATA[-1] ^ 1]))
    os.utime(artifact.model_path, ns=(times.st_atime_ns, times.st_mtime_ns))

    assert not (await fetch(server.url("/model.bin"), dest, options)).reused


async def test_revalidation_keeps_what_has_not_changed_and_fetches_what_has(server: FaultyServer, dest: Path) -> None:
    server.put("/model.bin", DATA)
    options = replace(LOCAL, reuse="revalidate")
    await fetch(server.url("/model.bin"), dest, options)
    kept = await fetch(server.url("/model.bin"), dest, options)
    server.put("/model.bin", b"new")
    changed = await fetch(server.url("/model.bin"), dest, options)

    assert (True, False, b"new") == (kept.reused, changed.reused, changed.model_path.read_bytes())


async def test_a_broken_connection_is_continued_from_where_it_broke(server: FaultyServer, dest: Path) -> None:
    resource = server.put("/model.bin", DATA, faults=[Fault(cut_after=1_000_000), Fault(cut_after=1_000_000)])

    artifact = await fetch(server.url("/model.bin"), dest, LOCAL)

    assert DIGEST == artifact.digest
    assert [None, "bytes=1000000-", "bytes=2000000-"] == server.ranges("/model.bin")
    assert resource.etag == server.seen[-1].headers["if-match"]


async def test_a_later_call_continues_what_an_earlier_one_left(server: FaultyServer, dest: Path) -> None:
    server.put("/model.bin", DATA, faults=[Fault(cut_after=1_000_000)])
    once = replace(LOCAL, attempts=1)
    first = await refusal(server.url("/model.bin"), dest, once)

    artifact = await fetch(server.url("/model.bin"), dest, once)

    assert (Reason.DOWNLOAD_FAILED, DIGEST) == (first.reason, artifact.digest)
    assert "1000000 of 3000000 bytes" in first.message
    assert [None, "bytes=1000000-"] == server.ranges("/model.bin")


async def test_a_file_that_changed_meanwhile_is_begun_again(server: FaultyServer, dest: Path) -> None:
    server.put("/model.bin", b"old" * 1_000_000, faults=[Fault(cut_after=1_000_000)])
    await refusal(server.url("/model.bin"), dest, replace(LOCAL, attempts=1))
    server.put("/model.bin", DATA)

    artifact = await fetch(server.url("/model.bin"), dest, LOCAL)

    assert DIGEST == artifact.digest
    assert [None, "bytes=1000000-", None] == server.ranges("/model.bin")


async def test_a_server_that_ignores_ranges_is_read_from_the_beginning(server: FaultyServer, dest: Path) -> None:
    server.put("/model.bin", DATA, faults=[Fault(cut_after=1_000_000), Fault(ignore_range=True)])

    assert DIGEST == (await fetch(server.url("/model.bin"), dest, LOCAL)).digest


async def test_without_an_etag_the_time_of_the_last_change_guards_the_range(server: FaultyServer, dest: Path) -> None:
    resource = server.put("/model.bin", DATA, etag='W/"weak"', faults=[Fault(cut_after=1_000_000)])

    assert DIGEST == (await fetch(server.url("/model.bin"), dest, LOCAL)).digest
    assert resource.last_modified == server.seen[-1].headers["if-unmodified-since"]


async def test_without_any_validator_nothing_is_continued(server: FaultyServer, dest: Path) -> None:
    server.put("/model.bin", DATA, etag="", last_modified=None, faults=[Fault(cut_after=1_000_000)])

    assert DIGEST == (await fetch(server.url("/model.bin"), dest, LOCAL)).digest
    assert [None, None] == server.ranges("/model.bin")


async def test_damage_in_the_partial_file_is_not_carried_on(server: FaultyServer, dest: Path) -> None:
    server.put("/model.bin", DATA, faults=[Fault(cut_after=1_000_000)])
    await refusal(server.url("/model.bin"), dest, replace(LOCAL, attempts=1))
    with (dest / ".partial/data/model.bin").open("r+b") as file:
        file.write(b"\0\0\0\0")

    error = await refusal(server.url("/model.bin"), dest, replace(LOCAL, digest=DIGEST))
    repaired = await fetch(server.url("/model.bin"), dest, replace(LOCAL, digest=DIGEST))

    assert (Reason.DIGEST_MISMATCH, DIGEST) == (error.reason, repaired.digest)


async def test_a_server_that_stalls_is_given_up_after_the_stall_time_out(server: FaultyServer, dest: Path) -> None:
    server.put("/model.bin", DATA, faults=[Fault(stall_after=500_000)] * 3)

    error = await refusal(server.url("/model.bin"), dest, replace(FAST, attempts=3))

    assert (Reason.DOWNLOAD_STALLED, 41) == (error.reason, error.exit_code)
    assert "1 s" in error.message
    assert [None, "bytes=500000-", "bytes=1000000-"] == server.ranges("/model.bin")


async def test_a_slow_server_is_not_taken_for_a_stalled_one(server: FaultyServer, dest: Path) -> None:
    """Fifteen bytes, one every 0.1 s: longer in all than the time-out of 1 s."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        answering = asyncio.create_task(asyncio.to_thread(_drip, listener))
        artifact = await fetch(f"http://127.0.0.1:{listener.getsockname()[1]}/model.bin", dest, FAST)
        await answering

    assert b"x" * 15 == artifact.model_path.read_bytes()


def _drip(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n")
        pause = socket.socketpair()
        with pause[0], pause[1]:
            pause[0].settimeout(0.1)
            for _ in range(15):
                connection.sendall(b"x")
                with pytest.raises(TimeoutError):
                    pause[0].recv(1)


async def test_a_server_that_accepts_and_says_nothing_stalls(dest: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        uri = f"http://127.0.0.1:{listener.getsockname()[1]}/model.bin"

        assert (await refusal(uri, dest, replace(FAST, attempts=1))).reason == Reason.DOWNLOAD_STALLED


async def test_a_body_shorter_than_announced_is_truncated_and_not_accepted(server: FaultyServer, dest: Path) -> None:
    server.put("/model.bin", DATA, faults=[Fault(claim=10)] * 9)

    error = await refusal(server.url("/model.bin"), dest, replace(LOCAL, attempts=2))

    assert Reason.DOWNLOAD_FAILED == error.reason
    assert not (dest / "model.bin").exists()


async def test_a_chunked_body_that_breaks_is_not_accepted(server: FaultyServer, dest: Path) -> None:
    server.put("/model.bin", DATA, chunked=True, faults=[Fault(cut_after=1_000_000)])

    assert (await refusal(server.url("/model.bin"), dest, replace(LOCAL, attempts=1))).reason == Reason.DOWNLOAD_FAILED
    assert DIGEST == (await fetch(server.url("/model.bin"), dest, LOCAL)).digest


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_passing_error_is_tried_again(server: FaultyServer, dest: Path, status: int) -> None:
    server.put("/model.bin", DATA, faults=[Fault(status=status)] * 2)

    assert DIGEST == (await fetch(server.url("/model.bin"), dest, LOCAL)).digest


async def test_tries_are_bounded(server: FaultyServer, dest: Path) -> None:
    server.put("/model.bin", DATA, faults=[Fault(status=503)] * 99)

    error = await refusal(server.url("/model.bin"), dest, replace(LOCAL, attempts=4))

    assert (Reason.DOWNLOAD_FAILED, 4) == (error.reason, len(server.seen))


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (401, Reason.ACCESS_DENIED),
        (403, Reason.ACCESS_DENIED),
        (404, Reason.OBJECT_NOT_FOUND),
        (400, Reason.DOWNLOAD_FAILED),
    ],
)
async def test_a_lasting_error_is_not_tried_again(
    server: FaultyServer, dest: Path, status: int, reason: Reason
) -> None:
    server.put("/model.bin", DATA, faults=[Fault(status=status)] * 9)

    assert (await refusal(server.url("/model.bin"), dest)).reason == reason
    assert 1 == len(server.seen)


async def test_a_wrong_digest_is_refused_with_both_digests_and_nothing_is_left(
    server: FaultyServer, dest: Path
) -> None:
    server.put("/model.bin", DATA)
    expected = "sha256:" + "0" * 64

    error = await refusal(server.url(f"/model.bin#{expected}"), dest)

    assert Reason.DIGEST_MISMATCH == error.reason
    assert DIGEST in error.message
    assert expected in error.message
    assert [] == list(dest.iterdir())


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_file_over_the_size_cap_is_refused(server: FaultyServer, dest: Path, *, chunked: bool) -> None:
    server.put("/model.bin", DATA, chunked=chunked)

    assert (
        await refusal(server.url("/model.bin"), dest, replace(LOCAL, max_bytes=2_000_000))
    ).reason == Reason.TOO_LARGE


async def test_an_archive_is_unpacked_and_its_own_digest_is_the_one_verified(server: FaultyServer, dest: Path) -> None:
    packed = _tgz({"model.bin": DATA, "sub/labels.txt": b"a,b"})
    server.put("/iris.tar.gz", packed)
    digest = f"sha256:{hashlib.sha256(packed).hexdigest()}"

    artifact = await fetch(server.url("/iris.tar.gz"), dest, replace(LOCAL, digest=digest))

    assert ("archive", digest, dest) == (artifact.kind, artifact.digest, artifact.model_path)
    assert {"model.bin": DATA, "sub/labels.txt": b"a,b"} == {
        f.path: (dest / f.path).read_bytes() for f in artifact.files
    }
    assert not (dest / "iris.tar.gz").exists()


async def test_an_archive_can_be_kept_as_it_is(server: FaultyServer, dest: Path) -> None:
    packed = _tgz({"a": b"x"})
    server.put("/iris.tar.gz", packed)

    assert (
        packed == (await fetch(server.url("/iris.tar.gz"), dest, replace(LOCAL, unpack=False))).model_path.read_bytes()
    )


async def test_a_hostile_archive_is_refused_and_leaves_nothing(server: FaultyServer, dest: Path) -> None:
    server.put("/iris.tgz", _tgz({"model.bin": b"x", "../escape": b"x"}))

    assert (await refusal(server.url("/iris.tgz"), dest)).reason == Reason.UNSAFE_ARCHIVE
    assert [] == list(dest.iterdir())


async def test_a_coded_body_that_was_not_asked_for_is_refused(server: FaultyServer, dest: Path) -> None:
    server.put("/model.bin", gzip.compress(DATA), headers={"Content-Encoding": "gzip"})

    assert "Content-Encoding" in (await refusal(server.url("/model.bin"), dest)).message


async def test_redirects_are_followed(server: FaultyServer, other_server: FaultyServer, dest: Path) -> None:
    other_server.put("/b.bin", DATA)
    server.put("/model.bin", b"", faults=[Fault(status=302, headers={"Location": other_server.url("/b.bin")})])

    assert dest / "model.bin" == (await fetch(server.url("/model.bin"), dest, LOCAL)).model_path


async def test_redirects_are_bounded(server: FaultyServer, dest: Path) -> None:
    server.put("/model.bin", b"", faults=[Fault(status=302, headers={"Location": "/model.bin"})] * 99)

    assert "redirects more than 5 times" in (await refusal(server.url("/model.bin"), dest)).message
    assert 6 == len(server.seen)


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://[fd00:ec2::254]/",
        "http://0.0.0.0/",
        "http://[::ffff:a9fe:a9fe]/x",
    ],
)
async def test_a_redirect_to_a_metadata_address_is_refused_even_on_ones_own_machine(
    server: FaultyServer, dest: Path, location: str
) -> None:
    server.put("/model.bin", b"", faults=[Fault(status=302, headers={"Location": location})])

    assert (await refusal(server.url("/model.bin"), dest)).reason == Reason.FORBIDDEN_ADDRESS


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f000001", "[::1]", "[::ffff:127.0.0.1]"])
async def test_loopback_is_not_even_connected_to(server: FaultyServer, dest: Path, host: str) -> None:
    server.put("/model.bin", DATA)

    error = await refusal(server.url("/model.bin", host=host), dest, FetchOptions())

    assert (Reason.FORBIDDEN_ADDRESS, 13) == (error.reason, error.exit_code)
    assert [] == server.seen


async def test_a_redirect_to_loopback_is_refused_and_not_connected_to(
    own_address: str, other_server: FaultyServer, dest: Path
) -> None:
    other_server.put("/secret.bin", DATA)
    with FaultyServer(host="0.0.0.0") as public:
        public.put("/model.bin", b"", faults=[Fault(status=302, headers={"Location": other_server.url("/secret.bin")})])

        error = await refusal(public.url("/model.bin", host=own_address), dest, FetchOptions())

    assert Reason.FORBIDDEN_ADDRESS == error.reason
    assert [] == other_server.seen


async def test_an_address_of_the_network_is_allowed(own_address: str, dest: Path) -> None:
    with FaultyServer(host="0.0.0.0") as public:
        public.put("/model.bin", DATA)

        assert DIGEST == (await fetch(public.url("/model.bin", host=own_address), dest, FetchOptions())).digest


async def test_a_password_goes_to_its_own_server_only_and_is_never_shown(
    tls: ssl.SSLContext, ca_file: Path, other_server: FaultyServer, dest: Path
) -> None:
    with FaultyServer(context=tls) as first, FaultyServer(context=tls) as second:
        second.put("/b.bin", DATA)
        first.put("/model.bin", b"", password="user:pa55word")
        first.resources["/model.bin"].data = DATA
        options = replace(LOCAL, ca_bundle=ca_file)
        uri = first.url("/model.bin", host="user:pa55word@localhost")
        artifact = await fetch(uri, dest, options)
        first.resources["/model.bin"].faults.append(
            Fault(status=302, headers={"Location": second.url("/b.bin", host="localhost")})
        )
        await fetch(uri, dest, replace(options, reuse="never"))

    assert "pa55word" not in (dest / ".pillion-artifact.json").read_text() + repr(artifact)
    assert "authorization" not in second.seen[-1].headers


async def test_headers_for_a_host_come_from_the_environment(server: FaultyServer, dest: Path) -> None:
    server.put("/model.bin", DATA, password="user:pa55word")
    environment = {f"127.0.0.1:{server.port}-headers": '{"Authorization": "Basic dXNlcjpwYTU1d29yZA=="}'}

    assert DIGEST == (await fetch(server.url("/model.bin"), dest, LOCAL, environment=environment)).digest


async def test_a_redirect_from_https_to_http_is_refused(
    tls: ssl.SSLContext, ca_file: Path, server: FaultyServer, dest: Path
) -> None:
    with FaultyServer(context=tls) as secure:
        secure.put("/model.bin", b"", faults=[Fault(status=302, headers={"Location": server.url("/model.bin")})])

        error = await refusal(secure.url("/model.bin", host="localhost"), dest, replace(LOCAL, ca_bundle=ca_file))

    assert (Reason.FORBIDDEN_ADDRESS, []) == (error.reason, server.seen)


async def test_an_untrusted_certificate_is_refused_and_the_remedy_names_the_setting(
    tls: ssl.SSLContext, dest: Path
) -> None:
    with FaultyServer(context=tls) as secure:
        secure.put("/model.bin", DATA)

        error = await refusal(secure.url("/model.bin", host="localhost"), dest)

    assert "PILLION_STORAGE_CA_BUNDLE" in error.remedy
    assert [] == secure.seen


async def test_a_signature_in_the_query_is_not_in_errors_or_the_record(server: FaultyServer, dest: Path) -> None:
    server.put("/model.bin", DATA, faults=[Fault(status=403)])
    uri = server.url("/model.bin?X-Amz-Signature=5ecret")

    error = await refusal(uri, dest)
    await fetch(uri, dest, LOCAL)

    assert "5ecret" not in f"{error}{error!r}{(dest / '.pillion-artifact.json').read_text()}"
    assert "/model.bin?X-Amz-Signature=5ecret" == server.seen[-1].path


async def test_nobody_listening_is_a_transfer_error_that_names_host_and_port(dest: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    error = await refusal(f"http://127.0.0.1:{port}/model.bin", dest, replace(LOCAL, attempts=2))

    assert Reason.DOWNLOAD_FAILED == error.reason
    assert f"127.0.0.1 port {port}" in error.message


async def test_a_cancelled_fetch_keeps_what_it_has_for_the_next_one(server: FaultyServer, dest: Path) -> None:
    server.put("/model.bin", DATA, faults=[Fault(stall_after=2_000_000)])
    task = asyncio.create_task(fetch(server.url("/model.bin"), dest, LOCAL))
    await asyncio.to_thread(server.stalled.wait, 60)
    partial = dest / ".partial/data/model.bin"
    while not partial.exists() or partial.stat().st_size < 1_000_000:  # noqa: ASYNC110  (a file tells no event)
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    artifact = await fetch(server.url("/model.bin"), dest, LOCAL)

    assert DIGEST == artifact.digest
    asked = server.ranges("/model.bin")[-1]
    assert asked is not None
    assert int(asked.removeprefix("bytes=").removesuffix("-")) >= 1_000_000


def _tgz(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


async def test_a_name_that_changes_its_address_between_two_look_ups_gains_nothing(
    own_address: str, dest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the first answer passes the check, every later one is loopback."""
    answers = iter([own_address])
    resolve = socket.getaddrinfo

    def rebinding(host: str, *arguments: Any, **more: Any) -> Any:
        return resolve(next(answers, "127.0.0.1") if host == "rebind.example" else host, *arguments, **more)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    with FaultyServer(host="0.0.0.0") as public:
        public.put("/model.bin", DATA, faults=[Fault(cut_after=1_000_000)])

        error = await refusal(public.url("/model.bin", host="rebind.example"), dest, FetchOptions(backoff_seconds=0))

    assert Reason.FORBIDDEN_ADDRESS == error.reason  # at the second connection
    assert 1 == len(public.seen)  # the first one went to the address that was checked
