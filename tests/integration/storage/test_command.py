"""The init container's command: exit codes, logs, termination message, signals, memory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from pillion.storage import settings
from tests.integration.storage.faultyserver import Fault
from tests.waiting import until_now

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.storage.conftest import S3Server
    from tests.integration.storage.faultyserver import FaultyServer

COMMAND = [sys.executable, "-m", "pillion.storage"]
ALLOW = "--allow-private-hosts"


@pytest.fixture
def termination_log(tmp_path: Path) -> Path:
    path = tmp_path / "termination-log"
    path.touch()
    return path


def run(*arguments: str, **environment: str) -> tuple[int, list[dict[str, Any]], str]:
    """Exit code, log lines, and what is on standard output."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
        timeout=60,
    )
    return done.returncode, [json.loads(line) for line in done.stderr.splitlines()], done.stdout


def test_several_pairs_are_fetched_and_their_digests_are_in_the_termination_message(
    server: FaultyServer, tmp_path: Path, termination_log: Path
) -> None:
    server.put("/a.bin", b"a")
    server.put("/b.bin", b"b")

    code, lines, printed = run(
        "--uri", server.url("/a.bin"), "--dest", str(tmp_path / "a"),
        "--uri", server.url("/b.bin"), "--dest", str(tmp_path / "b"), ALLOW, "--termination-log", str(termination_log),
    )  # fmt: skip

    assert (0, "") == (code, printed)
    message = json.loads(termination_log.read_text())
    assert "Completed" == message["reason"]
    assert ["sha256:ca978112", "sha256:3e23e816"] == [artifact["digest"][:15] for artifact in message["artifacts"]]
    assert 2 == sum(line["event"] == "storage.placed" for line in lines)


def test_a_destination_below_another_keeps_its_files_and_both_are_kept_at_the_next_start(
    server: FaultyServer, tmp_path: Path
) -> None:
    server.put("/model.bin", b"model")
    server.put("/labels.txt", b"labels")
    whole, below = tmp_path / "models", tmp_path / "models" / "labels"
    pairs = [
        "--uri",
        server.url("/labels.txt"),
        "--dest",
        str(below),
        "--uri",
        server.url("/model.bin"),
        "--dest",
        str(whole),
    ]

    first, _, _ = run(*pairs, ALLOW)
    again, lines, _ = run(*pairs, ALLOW)

    assert (0, 0) == (first, again)
    assert (b"model", b"labels") == ((whole / "model.bin").read_bytes(), (below / "labels.txt").read_bytes())
    assert [True, True] == [line["reused"] for line in lines if line.get("event") == "storage.placed"]


def test_positional_pairs_work_as_well(server: FaultyServer, tmp_path: Path) -> None:
    server.put("/a.bin", b"a")

    assert 0 == run(server.url("/a.bin"), str(tmp_path / "a"), ALLOW)[0]
    assert b"a" == (tmp_path / "a/a.bin").read_bytes()


def test_a_failure_is_in_the_termination_message_with_reason_and_remedy(
    server: FaultyServer, tmp_path: Path, termination_log: Path
) -> None:
    server.put("/a.bin", b"a")
    wrong = "sha256:" + "0" * 64

    code, lines, _ = run(
        server.url("/a.bin"), str(tmp_path / "a"), ALLOW, "--digest", wrong, "--termination-log", str(termination_log)
    )

    assert 30 == code
    message = json.loads(termination_log.read_text())
    assert {"reason", "message", "remedy"} == set(message)
    assert "DigestMismatch" == message["reason"] == lines[-1]["reason"]
    assert wrong in message["message"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["ftp://x/y", "/tmp/none"], 11),
        (["s3:/x", "/tmp/none"], 10),
        (["http://127.0.0.1:9/x", "/tmp/none"], 13),
        (["file:///no/such/file", "{tmp}/dest"], 20),
        (["--uri", "s3://x/y"], 12),
        (["file:///a", "/tmp/x", "file:///b", "/tmp/x"], 12),
        (["file:///a", "{tmp}/x", "--attempts", "none"], 12),
        (["--no-such-flag"], 2),
    ],
)
def test_each_kind_of_failure_has_its_exit_code(tmp_path: Path, arguments: list[str], code: int) -> None:
    filled = [argument.replace("{tmp}", str(tmp_path)) for argument in arguments]

    assert code == subprocess.run([*COMMAND, *filled], capture_output=True, check=False).returncode


def test_every_setting_is_in_the_help_with_its_default() -> None:
    text = " ".join(subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, check=True).stdout.split())

    assert [] == [setting.flag for setting in settings() if setting.flag not in text]
    assert "default: 60" in text
    assert "30 DigestMismatch" in text


def test_retries_are_logged_as_json_with_what_went_wrong(server: FaultyServer, tmp_path: Path) -> None:
    server.put("/a.bin", b"a" * 100_000, faults=[Fault(cut_after=50_000)])

    _, lines, _ = run(server.url("/a.bin"), str(tmp_path / "a"), ALLOW, "--backoff-seconds", "0")

    (retry,) = [line for line in lines if line.get("event") == "storage.retry"]
    assert ("DownloadFailed", 50_000, "warning") == (retry["reason"], retry["offset"], retry["level"])


def test_no_secret_is_in_logs_record_or_termination_message(
    s3: S3Server, server: FaultyServer, tmp_path: Path, termination_log: Path
) -> None:
    """Planted in a signature, in keys, and in a host's headers; in success and in failure."""
    s3.put("models/a/x", b"x")
    server.put("/a.bin", b"a", faults=[Fault(status=503), Fault(status=403)])
    secrets = {
        "AWS_SECRET_ACCESS_KEY": "wrong-5ecret",
        "AWS_SESSION_TOKEN": "token-5ecret",
        "127.0.0.1-headers": '{"X-Key": "5ecret"}',
    }
    seen = ""
    for uri in (f"{server.url('/a.bin')}?sig=5ecret", f"{server.url('/a.bin')}?sig=5ecret", "s3://models/a"):
        done = subprocess.run(
            [*COMMAND, uri, str(tmp_path / "a"), ALLOW, "--backoff-seconds=0", f"--termination-log={termination_log}"],
            capture_output=True, text=True, env={**os.environ, **secrets}, check=False,
        )  # fmt: skip
        seen += done.stdout + done.stderr + termination_log.read_text()

    assert "storage.failed" in seen
    assert "storage.placed" in seen
    assert "5ecret" not in seen + (tmp_path / "a/.pillion-artifact.json").read_text()


def test_sigterm_ends_it_at_once_and_the_next_start_continues(
    server: FaultyServer, tmp_path: Path, termination_log: Path
) -> None:
    server.put("/a.bin", os.urandom(3_000_000), faults=[Fault(stall_after=2_500_000)])
    arguments = [server.url("/a.bin"), str(tmp_path / "a"), ALLOW, "--termination-log", str(termination_log)]
    with subprocess.Popen([*COMMAND, *arguments], stderr=subprocess.PIPE) as process:
        assert server.stalled.wait(60)
        _wait_for_bytes(tmp_path / "a/.partial/data/a.bin", 1_000_000)
        process.send_signal(signal.SIGTERM)
        assert 143 == process.wait(60)

    assert 0 == run(*arguments)[0]
    continued = server.ranges("/a.bin")[-1]
    assert continued is not None
    assert int(continued.removeprefix("bytes=").removesuffix("-")) >= 1_000_000


def test_a_killed_download_is_continued_from_its_last_checkpoint(server: FaultyServer, tmp_path: Path) -> None:
    """SIGKILL leaves no time for a note: what counts is the one of every 64 MiB."""
    server.put("/a.bin", os.urandom(1 << 20) * 80, faults=[Fault(stall_after=70 << 20)])
    arguments = [server.url("/a.bin"), str(tmp_path / "a"), ALLOW]
    with subprocess.Popen([*COMMAND, *arguments], stderr=subprocess.DEVNULL) as process:
        assert server.stalled.wait(60)
        _wait_for_bytes(tmp_path / "a/.partial/data/a.bin", 69 << 20)
        process.kill()

    assert 0 == run(*arguments)[0]
    continued = server.ranges("/a.bin")[-1]
    assert continued is not None
    assert int(continued.removeprefix("bytes=").removesuffix("-")) >= 64 << 20


def _wait_for_bytes(path: Path, count: int) -> None:
    until_now(lambda: path.exists() and path.stat().st_size >= count)


MEMORY = """
import asyncio, os, re, sys
from pathlib import Path
from pillion.storage import FetchOptions, fetch
def status(name):
    return int(re.search(name + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
base = status("VmRSS")
asyncio.run(fetch(sys.argv[1], Path(sys.argv[2]), FetchOptions(allow_private_hosts=True)))
print(status("VmHWM") - base, flush=True)
os._exit(0)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak of the memory is read from /proc")
@pytest.mark.parametrize("scheme", ["http", "s3"])
def test_a_large_file_takes_less_than_128_mib_of_memory(server: FaultyServer, tmp_path: Path, scheme: str) -> None:
    """512 MiB, four times the limit; the libraries that are loaded on the way included."""
    server.put("/models/model.bin", bytes(512 << 20), etag='"zeros"')
    uri = server.url("/models/model.bin") if scheme == "http" else "s3://models/model.bin"
    environment = {**os.environ, "AWS_ENDPOINT_URL": server.url(), "awsAnonymousCredential": "true"}

    done = subprocess.run(
        [sys.executable, "-c", MEMORY, uri, str(tmp_path / "a")],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )

    assert int(done.stdout) < 128 * 1024
    assert 512 << 20 == (tmp_path / "a/model.bin").stat().st_size
