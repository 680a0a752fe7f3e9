"""What is decided about worker processes, without any."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from pillion.execution import restarts
from pillion.execution.affinity import BindingError, bindings, shares, spread
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


@pytest.mark.parametrize(
    ("asked", "workers", "expected"),
    [
        (None, 2, [None, None]),
        ("1-2", 2, [(1, 2), (1, 2)]),
        ("0-1,3;2", 2, [(0, 1, 3), (2,)]),
        ("3", 1, [(3,)]),
    ],
)
def test_workers_are_bound_to_the_cpus_that_are_named(
    asked: str | None, workers: int, expected: list[tuple[int, ...] | None]
) -> None:
    assert expected == bindings(asked, range(4), workers, spreading=False)


@pytest.mark.parametrize(
    ("asked", "spreading", "sentence"),
    [
        ("0-5", False, "execution.cpus: CPU 2, 4, 5 is not for this process, which may use 0-1,3"),
        ("0;1", False, "execution.cpus: it has 2 lists for 3 worker processes"),
        ("0", True, "execution.cpus: affinity: spread chooses CPUs, too"),
    ],
)
def test_cpus_that_cannot_be_had_are_refused_by_the_field(asked: str, spreading: bool, sentence: str) -> None:  # noqa: FBT001 - parametrized
    with pytest.raises(BindingError) as refused:
        bindings(asked, [0, 1, 3], 3, spreading=spreading)
    assert str(refused.value).startswith(sentence)


@pytest.mark.parametrize(
    ("bound", "cpus", "expected"),
    [
        ([None, None], 8, [4, 4]),
        ([None, None, None], 2, [1, 1, 1]),
        ([(0, 1, 2, 3), (0, 1, 2, 3)], 8, [2, 2]),
        ([(0, 1, 2), (3,)], 8, [3, 1]),
        ([(0, 1, 2, 3)], 2, [2]),
    ],
)
def test_a_worker_has_threads_for_the_cpus_that_are_its_own(
    bound: list[tuple[int, ...] | None], cpus: int, expected: list[int]
) -> None:
    assert expected == shares(bound, cpus)


def test_a_worker_that_cannot_be_started_for_want_of_files_leaves_none_open() -> None:
    script = """
import os, resource
from pillion.execution.worker_process import WorkerProcess
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
before = sorted(os.listdir("/proc/self/fd"))
failed = 0
for spare in range(1, 7):
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(before) - 1 + spare, hard))
    try:
        WorkerProcess("pillion.repository.worker", os.environ).end(0)
    except OSError:
        failed += 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    assert before == sorted(os.listdir("/proc/self/fd")), spare
print(failed)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "6" == done.stdout.strip()


def test_a_workers_libraries_get_its_share_of_the_cpus() -> None:
    assert "2" == for_worker(2, {})["OMP_NUM_THREADS"]


def test_what_the_server_set_for_itself_is_not_taken_for_the_users_wish() -> None:
    server: dict[str, str] = {"OPENBLAS_NUM_THREADS": "5", "HOME": "/home"}
    limit(server)
    worker = for_worker(1, server)
    assert "1" == worker["OMP_NUM_THREADS"]
    assert "/home" == worker["HOME"]


def test_what_the_user_set_is_left_alone() -> None:
    chosen = {"GOTO_NUM_THREADS": "3", "OMP_NUM_THREADS": "7"}
    script = (
        "import os\n"
        "from pillion.execution.native_threads import for_worker, limit\n"
        "limit(os.environ)\n"
        "print(for_worker(1, os.environ)['OMP_NUM_THREADS'])"
    )
    environment = {"PATH": os.environ["PATH"]} | chosen
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert "7" == done.stdout.strip()
