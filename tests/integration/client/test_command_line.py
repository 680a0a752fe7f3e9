"""What the command line can as the client can it: sockets, gRPC, certificates, time-outs, and errors as sentences."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import shutil
import socket
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.certificates import Authority
from tests.integration.own_python.program import PILLION, serving
from tests.integration.server.process import environment
from tests.unit.cli.command import pillion

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.own_python.program import Program
    from tests.models import IrisModels

ROW = ("--data", "[[5.1,3.5,1.4,0.2]]")


def test_a_unix_socket_is_a_server_like_any_other(urls: dict[str, str]) -> None:
    by_option = pillion("predict", "labels", *ROW, "--url", urls["unix"])
    by_variable = pillion("predict", "labels", *ROW, env={"PILLION_URL": urls["unix"]})
    listed = pillion("models", "list", "--json", "--url", urls["unix"])

    assert (0, "[0]\n") == (by_option.returncode, by_option.stdout), by_option.stderr
    assert (0, "[0]\n") == (by_variable.returncode, by_variable.stdout), by_variable.stderr
    assert {"iris", "labels"} == {model["name"] for model in json.loads(listed.stdout)}


def test_jobs_and_models_are_asked_for_by_either_protocol(url: str, program: Program, tmp_path: Path) -> None:
    status, job = program.curl("/api/v1/task/classify/job", {"inputs": "later"})
    assert 202 == status
    identity = job["prediction_id"]
    (tmp_path / "m.bin").write_bytes(b"no model")
    done = {
        command: pillion(*command.split(), "--url", url)
        for command in (f"jobs show {identity}", f"jobs cancel {identity}", "jobs list --json", "models list --json")
    }
    wrong = {
        command: pillion(*command.split(), "--url", url)
        for command in ("jobs show nothing", f"jobs logs {identity}", f"models deploy m {tmp_path / 'm.bin'}")
    }

    assert [0] * 4 == [one.returncode for one in done.values()], done
    shown, _, listed, models = (one.stdout for one in done.values())
    assert identity == json.loads(shown)["prediction_id"]
    assert {"jobs", "next"} == set(json.loads(listed))
    assert identity in [one.get("prediction_id") for one in json.loads(listed)["jobs"]]
    assert "mood" in [one["name"] for one in json.loads(models)]
    assert [1, 2, 1] == [one.returncode for one in wrong.values()], wrong
    for one, begin in zip(
        wrong.values(), ("404 Not Found: ", f"{identity} is a prediction: ", "400 Bad Request: "), strict=True
    ):
        assert one.stderr.startswith(f"error: {begin}")


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The URL of a server with a certificate, and the CA of that."""
    folder = tmp_path_factory.mktemp("encrypted")
    shutil.copy(Path(__file__).with_name("service.py"), folder / "service.py")
    authority = Authority()
    cert, key = authority.issue().write(folder, "server")
    (folder / "ca.crt").write_text(authority.pem)
    tls = ("--tls-cert", str(cert), "--tls-key", str(key))
    with serving(folder, "service.py:Mood", "--data-dir", "jobs", *tls) as program:
        yield f"https://localhost:{program.ports['http']}", str(folder / "ca.crt")


@pytest.mark.parametrize("command", ["jobs list", "models list", "train mine --set epochs=1"])
def test_each_command_takes_certificates_and_says_which_are_missing(command: str, encrypted: tuple[str, str]) -> None:
    url, ca = encrypted
    trusted = pillion(*command.split(), "--url", url, "--ca", ca)
    stranger = pillion(*command.split(), "--url", url)
    plain = pillion(*command.split(), "--url", url.replace("https", "http"), "--ca", ca)
    broken = pillion(*command.split(), "--url", url, "--ca", __file__)

    assert 0 == trusted.returncode, trusted.stderr
    assert (1, True) == (stranger.returncode, stranger.stderr.endswith("name the CA with --ca\n")), stranger.stderr
    assert (2, True) == (plain.returncode, "is not encrypted: write https://" in plain.stderr)
    assert (4, True) == (broken.returncode, f"TLS: {__file__}: " in broken.stderr), broken.stderr


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("ftp://x", "is not http(s)://HOST:PORT"),
        ("http://x:port", "could not be cast to integer"),
        ("unix://socket", "a socket is named by its whole path"),
        ("unix:///nowhere/at.sock", "there is no such socket"),
        ("127.0.0.1:1", "cannot connect to http://127.0.0.1:1"),
        ("grpc://127.0.0.1:1", "cannot connect to grpc://127.0.0.1:1"),
    ],
)
@pytest.mark.parametrize("command", ["jobs list", "models list", "predict iris --data [[1]]"])
def test_a_url_that_leads_nowhere_is_said_in_a_line(command: str, url: str, sentence: str) -> None:
    done = pillion(*command.split(), "--url", url)

    assert (True, 1) == (done.returncode in {1, 2}, len(done.stderr.splitlines())), done.stderr
    assert sentence in done.stderr


def test_a_server_that_hangs_is_given_up_after_the_time_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        done = pillion("jobs", "list", "--timeout", "0.3", "--url", url)

    assert (1, f"error: {url}: no answer within 0.3 s\n") == (done.returncode, done.stderr)


def test_a_person_at_a_terminal_sees_what_is_sent(program: Program, iris: IrisModels) -> None:
    terminal, its_end = pty.openpty()
    seen = bytearray()

    def read() -> None:
        with contextlib.suppress(OSError):  # as a terminal ends whose other side is closed
            while piece := os.read(terminal, 4096):
                seen.extend(piece)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        command = [*PILLION, "models", "deploy", "seen", str(iris.skops), "--url", program.url()]
        done = subprocess.run(
            command, env=environment(), stdout=subprocess.PIPE, stderr=its_end, timeout=60, check=False
        )
    finally:
        os.close(its_end)
        reader.join()
        os.close(terminal)
    pillion("models", "undeploy", "seen", "--purge", "--url", program.url())

    assert (0, True) == (done.returncode, b"loading seen" in seen), seen
    assert b"seen version 1 serves" in done.stdout
