"""Processes of jobs: what is left of them when they have ended."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from pillion.jobs.process import JobProcess
from pillion.jobs.training_runner import without_secrets

if TYPE_CHECKING:
    import pytest


def test_a_stop_that_comes_after_the_end_writes_into_nobodys_file(tmp_path: Path) -> None:
    process = JobProcess("this", "a-job", "-", os.environ, 1.0, lambda _: None, lambda _: None)
    process.run()
    # As many files as take over every descriptor that has been closed.
    files = [os.open(tmp_path / str(number), os.O_RDWR | os.O_CREAT) for number in range(20)]
    process.stop()
    sizes = [os.fstat(file).st_size for file in files]
    for file in files:
        os.close(file)

    assert [0] * 20 == sizes


def test_a_group_is_killed_before_its_number_can_be_somebody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    ours: list[bool] = []
    kill = os.killpg

    def watched(group: int, number: int) -> None:
        ours.append(Path(f"/proc/{group}/stat").exists())  # it waits to be reaped, or lives
        kill(group, number)

    monkeypatch.setattr("os.killpg", watched)
    ending = JobProcess("this", "a-job", "-", os.environ, 1.0, lambda _: None, lambda _: None).run()

    assert (0, False) == (ending.status, ending.stopped)
    assert ours
    assert all(ours)


def test_a_process_that_is_stopped_tells_how_it_ended(tmp_path: Path) -> None:
    (tmp_path / "stubborn.py").write_text(
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('ready')\ntime.sleep(60)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    process: JobProcess

    def printed(_: bytes) -> None:
        process.stop()

    process = JobProcess("stubborn", "b-job", "-", environment, 0.3, printed, lambda _: None)
    ending = process.run()

    assert (-signal.SIGKILL, True) == (ending.status, ending.stopped)


def test_no_key_of_the_server_reaches_a_training() -> None:
    keys = {
        "PILLION_API_KEY": "k",
        "pillion_auth__api_key": "k",
        "PILLION_AUTH": '{"api_key": "k"}',
        "PILLION_MANAGEMENT__TOKEN": "k",
        "PILLION_MANAGEMENT": '{"token": "k"}',
        "PILLION_LOGGER__BEARER_TOKEN": "k",
        "PILLION_TLS__SERVER__KEY": "k",
    }

    assert {"PATH": "/bin", "PILLION_MODELS__STORE": "x"} == without_secrets(
        keys | {"PATH": "/bin", "PILLION_MODELS__STORE": "x"}
    )
