"""Each example of ``examples/workers``, as its reader runs it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from tests.integration.server.process import environment
from tests.ports import free_port
from tests.waiting import until_now

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = Path(__file__).parents[3] / "examples" / "workers"


@contextlib.contextmanager
def running(program: str, *arguments: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """The example, ended whatever the test did."""
    with subprocess.Popen(
        [sys.executable, program, *arguments],
        cwd=EXAMPLES,
        env=environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def _part(url: str) -> str:
    try:
        part: str = httpx.get(url, timeout=60).raise_for_status().json()["part"]
    except httpx.TransportError:
        return ""
    return part


def test_two_workers_have_a_context_each_and_stop_from_within() -> None:
    url = f"http://127.0.0.1:{(port := free_port())}"
    with running("counting.py", PORT=str(port)) as process:
        until_now(lambda: {"first", "second"} == {_part(url) for _ in range(12)}, 60)
        assert "stopping" == httpx.post(f"{url}/stop", timeout=60).json()
        printed, _ = process.communicate(timeout=30)
        assert (0, "all workers have ended") == (process.returncode, printed.strip())


def test_a_server_ends_itself_and_its_last_answer_arrives() -> None:
    url = f"http://127.0.0.1:{(port := free_port())}/take"
    with running("stop_from_within.py", PORT=str(port)) as process:
        until_now(lambda: _answers(f"http://127.0.0.1:{port}/docs"), 60)
        assert [3, 2, 1] == [httpx.post(url, timeout=60).json()["taken"] for _ in range(3)]
        printed, _ = process.communicate(timeout=30)
        assert (0, "nothing is left") == (process.returncode, printed.strip())


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=60).status_code == 200
    except httpx.TransportError:
        return False


def test_two_programs_talk_over_pipes_and_one_is_told_of_the_others_end() -> None:
    with running("pipe_pair.py") as process:
        printed, _ = process.communicate(timeout=60)
    assert ["3 ones are 3.0", "1000000 ones are 1000000.0", "the other side has ended"] == printed.splitlines()


def test_a_service_on_a_socket_is_called_in_every_way(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with running("socket_service.py", path) as service, running("socket_calls.py", path) as calls:
        printed, _ = calls.communicate(timeout=60)
        ended, _ = service.communicate(timeout=30)
    assert [
        "scaled: [0.0, 0.5, 1.0]",
        "refused: ValueError: there is nothing to scale",
        "2 values: [0.0, 1.0]",
        "0 values: ValueError: there is nothing to scale",
        "3 values: [0.0, 0.5, 1.0]",
        "noted: ['answer', 'no', 'wanted']",
    ] == printed.splitlines()
    assert (0, "the service has ended") == (service.returncode, ended.strip())


def test_what_crosses_and_what_does_not() -> None:
    with running("what_crosses.py") as process:
        printed, _ = process.communicate(timeout=60)
    assert [
        "Flower -> {'petals': 5, 'seen': '2026-05-01'}",
        "tuple -> [1, 2]",
        "dict -> {'x': array([[1., 0.],",
        "       [0., 1.]], dtype=float32)}",
        "bytes -> b'bytes'",
        "NoneType -> None",
        "a lock cannot be sent: numbers, text, bytes, dates, lists, dicts, dataclasses and numpy arrays can",
    ] == printed.splitlines()
