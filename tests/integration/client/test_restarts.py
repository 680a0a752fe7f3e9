"""Trainings and jobs that are watched while their server is killed and started again, is told to stop, or hangs."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pillion
from pillion.client import DeadlineExceeded, services
from pillion.client.aio_handles import AsyncJob
from pillion.client.services import Which
from tests.integration.own_python.program import PILLION
from tests.integration.server.process import environment
from tests.ports import free_port
from tests.waiting import until_now

if TYPE_CHECKING:
    from collections.abc import Iterator

PRINTED = "epoch 0\n--- run 2 ---\nepoch 0\nepoch 1\n"
KILL, STOP = signal.SIGKILL, signal.SIGTERM


class Restarted:
    """A server on ports of its own, which is ended and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.gate = folder / "gate"
        self._ports = {"http": free_port(), "grpc": free_port()}
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self._ports[scheme]}"

    def start(self) -> None:
        """Begin to start it; nobody waits until it is there."""
        ports = [f"--{scheme}-port={port}" for scheme, port in self._ports.items()]
        command = [*PILLION, "serve", "service.py:Mood", "--data-dir", "jobs", *ports, "--admin-port=0"]
        with (self.folder / "log").open("ab") as log:
            settings = environment(PILLION_DRAIN__GRACE_SECONDS="1")
            self._process = subprocess.Popen(command, cwd=self.folder, env=settings, stdout=log, stderr=log)

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def end(self, number: signal.Signals = KILL) -> None:
        if self._process is not None and self._process.poll() is None:
            self.send(number)
            self._process.wait(60)

    def train(self, client: pillion.Client) -> str:
        """A training that waits at its gate, and after a restart no longer; its id."""
        client.wait_ready(60)
        return client.train("ClassifyMoodTrain", "mine", gate=str(self.gate)).id


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Restarted]:
    shutil.copy(Path(__file__).with_name("service.py"), tmp_path / "service.py")
    server = Restarted(tmp_path)
    server.start()
    try:
        yield server
    finally:
        server.send(signal.SIGCONT)
        server.end()


@pytest.mark.parametrize(("scheme", "how"), [("http", KILL), ("http", STOP), ("grpc", KILL), ("grpc", STOP)])
def test_a_training_is_followed_over_a_restart_of_its_server(
    server: Restarted, scheme: str, how: signal.Signals
) -> None:
    with pillion.Client(server.url(scheme)) as client:
        job = client.job(server.train(client))
        kinds: list[str] = []
        for event in job.follow():
            kinds.append(event.kind)
            if kinds.count("metrics") == 1 and event.kind == "metrics":
                server.end(how)
            elif event.kind == "lost" and kinds.count("lost") == 1:
                server.start()

        assert ("ended", "COMPLETED") == (event.kind, event.data["state"])
        # What was read before is not told again: one epoch of the run that was lost, two of the one that ended.
        assert 3 == kinds.count("metrics") == len(job.metrics())


def test_what_it_prints_goes_on_too_for_who_reads_from_a_loop(server: Restarted) -> None:
    with pillion.Client(server.url()) as client:
        identity = server.train(client)

    async def read() -> str:
        text = ""
        async with pillion.AsyncClient(server.url()) as client_:
            job = await client_.job(identity)
            async for event in job.follow("logs"):
                text += event.data["text"] if event.kind == "log" else ""
                if text == "epoch 0\n" and event.kind == "log":
                    server.end()
                elif event.kind == "lost":
                    server.start()
            assert "COMPLETED" == (await job.wait(timeout=30))["state"]
            assert [1.0, 1.0, 0.5] == [one["loss"] for one in await job.metrics()]
        return text

    assert PRINTED == asyncio.run(read())


def test_a_server_that_stays_away_is_given_up(server: Restarted) -> None:
    with pillion.Client(server.url()) as client:
        job = client.job(server.train(client))
        events = job.follow(patience=0.0)
        while next(events).kind != "metrics":
            pass
        server.end()
        with pytest.raises(pillion.client.ClientError, match="connect"):
            list(events)
        with pytest.raises(pillion.client.ClientError, match="connect"):
            job.wait(patience=0.0)

    async def wait() -> None:
        async with pillion.AsyncClient(server.url()) as client_:
            await AsyncJob(client_, Which("training", job.id)).result(patience=0.0)

    with pytest.raises(pillion.client.ClientError, match="connect"):
        asyncio.run(wait())


def test_one_that_hangs_is_noticed_and_found_again(server: Restarted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "_SILENT_SECONDS", 2.0)
    with pillion.Client(server.url(), retries=0) as client:
        identity = server.train(client)
    # Less than the server's silence of fifteen seconds: the time of a call is not that of what is followed.
    with pillion.Client(server.url(), timeout=1.0) as client:
        job, lost = client.job(identity), []
        for event in job.follow():
            if event.kind == "metrics" and not server.gate.exists():
                server.send(signal.SIGSTOP)
                server.gate.touch()
            elif event.kind == "lost":
                lost.append(event.data["reason"])
                with pytest.raises(DeadlineExceeded, match=r"had not ended within 0\.5 s; it goes on"):
                    job.wait(timeout=0.5)
                server.send(signal.SIGCONT)
        assert ("ended", "COMPLETED") == (event.kind, event.data["state"])
    assert "no answer within 2 s" in lost[0]


def test_the_command_line_watches_over_a_restart(server: Restarted, tmp_path: Path) -> None:
    with pillion.Client(server.url()) as client:
        client.wait_ready(60)
    with contextlib.ExitStack() as ended:

        def run(name: str, *arguments: str) -> Path:
            out = tmp_path / name
            with out.open("wb") as printed, (tmp_path / f"{name}.errors").open("wb") as errors:
                process = subprocess.Popen(
                    [*PILLION, *arguments, "--url", server.url()], stdout=printed, stderr=errors, env=environment()
                )
            ended.callback(process.kill)
            running.append(process)
            return out

        running: list[subprocess.Popen[bytes]] = []
        training = run("training", "train", "mine", "--set", f"gate={server.gate}")
        until_now(lambda: "loss 1" in training.read_text(), 60)
        identity = training.read_text().split()[1]
        logs = run("logs", "jobs", "logs", "-f", identity)
        until_now(lambda: "epoch 0" in logs.read_text(), 60)
        server.end()
        until_now(lambda: "trying again" in (tmp_path / "training.errors").read_text(), 60)
        until_now(lambda: "trying again" in (tmp_path / "logs.errors").read_text(), 60)
        server.start()

        assert [0, 0] == [process.wait(120) for process in running]
    assert PRINTED == logs.read_text()
    assert training.read_text().splitlines()[-1].startswith("mine version 1: ")
    assert 3 == training.read_text().count("loss ")
    assert "Traceback" not in (tmp_path / "training.errors").read_text()
