"""Processes of jobs: what is left of them when they have ended."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pillion.jobs.process import JobProcess
from pillion.jobs.training_runner import without_secrets

if TYPE_CHECKING:
    from pathlib import Path


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
