"""The server as an object inside another program."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import threading
from typing import TYPE_CHECKING, Any

import grpc
import httpx
import msgspec
import pytest

from pillion.runtimefile import DesiredModel
from pillion.server import Server
from pillion.server.failures import ExitCode, StartError
from pillion.server.settings import Settings
from pillion.server.tls import TlsConfig
from tests.certificates import Authority
from tests.integration.server.process import environment, iris_request
from tests.waiting import until_now

if TYPE_CHECKING:
    from pathlib import Path

    from tests.models import IrisModels


def settings(**changes: object) -> Settings:
    sections: dict[str, object] = {name: {"host": "127.0.0.1", "port": 0} for name in ("http", "grpc", "admin")}
    return msgspec.convert(sections | {"control": {"socket": ""}} | changes, Settings)


def test_it_serves_beside_the_program_and_stops_from_any_thread(iris: IrisModels) -> None:
    server = Server(settings(), models=[DesiredModel(name="iris", path=str(iris.onnx))])
    before = threading.active_count()
    server.start(blocking=False)
    until_now(server.ready, 60)
    url = f"http://127.0.0.1:{server.ports['http']}"
    assert 200 == httpx.post(f"{url}/v2/models/iris/infer", json=iris_request()).status_code
    stopper = threading.Thread(target=server.stop)
    stopper.start()
    server.stop()
    stopper.join()
    server.stop()
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)
    until_now(lambda: threading.active_count() <= before + 1)
    with pytest.raises(RuntimeError, match="make another one"):
        server.start()


def test_a_start_failure_is_raised_in_the_caller(iris: IrisModels) -> None:
    with Server(settings()) as first:
        taken = settings(http={"host": "127.0.0.1", "port": first.ports["http"]})
        with pytest.raises(StartError) as failure:
            Server(taken).start(blocking=False)
        assert ExitCode.BIND is failure.value.code


def test_a_tls_config_replaces_the_settings_on_both_ports(tmp_path: Path) -> None:
    import ssl

    ca = Authority()
    mine = ca.issue()
    with Server(settings(), tls=TlsConfig(mine.cert, mine.key)) as server:
        trust = ssl.create_default_context(cadata=ca.pem)
        url = f"https://localhost:{server.ports['http']}/v2/health/live"
        assert 200 == httpx.get(url, verify=trust).status_code
        trusted = grpc.ssl_channel_credentials(ca.pem.encode())
        with grpc.secure_channel(f"localhost:{server.ports['grpc']}", trusted) as channel:
            live: Any = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")
            assert b"\x08\x01" == live(b"", timeout=60)


def test_the_application_is_there_for_middleware_and_tests_around_it() -> None:
    async def asked(app: Any) -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server") as client:
            return await client.get("/v2/health/live")

    with Server(settings()) as server:
        inner = server.app

        async def marking(scope: Any, receive: Any, send: Any) -> None:
            async def marked(message: Any) -> None:
                if message["type"] == "http.response.start":
                    message["headers"] = [*message["headers"], (b"x-mine", b"yes")]
                await send(message)

            await inner(scope, receive, marked)

        answer = asyncio.run(asked(marking))
    assert (200, "yes") == (answer.status_code, answer.headers["x-mine"])


HOST = """
import os, signal, sys, threading
import msgspec
from pillion.server import Server
from pillion.server.settings import Settings

ran = []
def host_handler(number, frame):
    ran.append(number)
    if "--raises" in sys.argv:
        raise SystemExit(7)
signal.signal(signal.SIGTERM, host_handler)
interrupt = signal.getsignal(signal.SIGINT)  # a program that a shell started in the background ignores it
sections = {name: {"host": "127.0.0.1", "port": 0} for name in ("http", "grpc", "admin")}
server = Server(msgspec.convert(sections | {"control": {"socket": ""}}, Settings))
def kill_once_started():
    while True:
        try:
            if server.ports:
                break
        except RuntimeError:
            pass
    os.kill(os.getpid(), signal.SIGTERM)
threading.Thread(target=kill_once_started).start()
try:
    server.start()
finally:
    assert ran == [signal.SIGTERM], ran
    assert signal.getsignal(signal.SIGTERM) is host_handler
    assert signal.getsignal(signal.SIGINT) is interrupt
    print("restored")
"""


@pytest.mark.parametrize(("flag", "code"), [("", 0), ("--raises", 7)])
def test_handlers_of_the_host_program_still_run_and_are_restored(flag: str, code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(HOST), flag],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (code, "restored\n") == (done.returncode, done.stdout), done.stderr
