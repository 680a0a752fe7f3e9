"""What is decided about worker processes, without any."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from pillion.execution import restarts
from pillion.execution.affinity import spread
from pillion.execution.native_threads import for_worker, limit


def test_a_worker_that_has_served_is_replaced_at_once() -> None:
    assert 0 == restarts.delay(0)


def test_one_that_cannot_be_started_is_given_ever_more_time() -> None:
    delays = [restarts.delay(failures) for failures in range(1, 100)]
    assert [0.1, 0.2, 0.4, 0.8] == delays[:4]
    assert 15 == max(delays) == delays[-1]


@pytest.mark.parametrize(
    ("cpus", "workers", "expected"),
    [
        ([0, 1, 2, 3], 2, [(0, 1), (2, 3)]),
        ([5, 1, 3], 3, [(1,), (3,), (5,)]),
        ([0, 1, 2, 3, 4], 2, [(0, 1), (2, 3, 4)]),
        ([0, 1], 3, [(0,), (1,), (0,)]),
        ([7], 1, [(7,)]),
    ],
)
def test_workers_share_the_cpus(cpus: list[int], workers: int, expected: list[tuple[int, ...]]) -> None:
    assert expected == [spread(cpus, worker, workers) for worker in range(workers)]


def test_a_workers_libraries_get_its_share_of_the_cpus() -> None:
    assert "2" == for_worker(8, 4, {})["OMP_NUM_THREADS"]


def test_what_the_server_set_for_itself_is_not_taken_for_the_users_wish() -> None:
    server: dict[str, str] = {"OPENBLAS_NUM_THREADS": "5", "HOME": "/home"}
    limit(server)
    worker = for_worker(8, 8, server)
    assert "1" == worker["OMP_NUM_THREADS"]
    assert "/home" == worker["HOME"]


def test_what_the_user_set_is_left_alone() -> None:
    chosen = {"GOTO_NUM_THREADS": "3", "OMP_NUM_THREADS": "7"}
    script = (
        "import os\n"
        "from pillion.execution.native_threads import for_worker, limit\n"
        "limit(os.environ)\n"
        "print(for_worker(8, 8, os.environ)['OMP_NUM_THREADS'])"
    )
    environment = {"PATH": os.environ["PATH"]} | chosen
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert "7" == done.stdout.strip()
