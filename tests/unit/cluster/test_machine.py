"""What is read from, and put back on, the machine."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from typing import TYPE_CHECKING

from e2e.cluster.node import cgroups, kernel
from e2e.cluster.node.guardian import Guardian
from e2e.cluster.node.layout import Layout
from e2e.cluster.node.record import NodeRecord, Process

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_process_is_told_from_a_later_one_of_its_number() -> None:
    here = Process.of(os.getpid())
    assert here.alive
    assert not Process(here.pid, here.started + 1).alive


def test_a_process_of_which_only_the_number_fits_is_not_killed() -> None:
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        other = Process(sleeper.pid, Process.of(sleeper.pid).started - 1)
        assert other.kill(1)
        assert sleeper.poll() is None
        assert Process.of(sleeper.pid).kill(5)


def test_a_record_is_read_as_it_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    record = NodeRecord(Layout("one", 4), Process(7, 8))
    assert NodeRecord.read("one") is None
    record.layout.home.mkdir(parents=True)
    record.write()
    assert record == NodeRecord.read("one")


def test_version_1_of_control_groups_has_a_hierarchy_for_each_controller_and_version_2_has_one(tmp_path: Path) -> None:
    first, second = tmp_path / "one", tmp_path / "two"
    for controller in ("cpu,cpuacct", "memory"):
        (first / controller).mkdir(parents=True)
    (first / "cpu").symlink_to("cpu,cpuacct")
    second.mkdir()
    (second / "cgroup.controllers").write_text("cpu memory")
    assert [first / "cpu,cpuacct", first / "memory"] == cgroups.hierarchies(first)
    assert [second] == cgroups.hierarchies(second)


def test_settings_of_the_kernel_are_put_back_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "vm").mkdir()
    changed = tmp_path / "vm" / "overcommit_memory"
    changed.write_text("0\n")
    before = kernel.settings(tmp_path)
    assert {"vm/overcommit_memory": "0"} == before
    changed.write_text("1\n")
    kernel.restore(before, tmp_path)
    assert "0" == changed.read_text()


def test_only_empty_folders_are_removed(tmp_path: Path) -> None:
    for name in ("empty", "used"):
        (tmp_path / name).mkdir()
    (tmp_path / "used" / "file").write_text("")
    kernel.remove_empty_folders(str(tmp_path / name) for name in ("empty", "used", "absent"))
    assert ["used"] == [entry.name for entry in tmp_path.iterdir()]


def test_what_an_owner_started_ends_when_the_owner_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    code = (
        "import os, signal, subprocess, sys; from pathlib import Path\n"
        "from e2e.cluster.node.guardian import Guardian\n"
        "guardian = Guardian(Path(sys.argv[1]))\n"
        "pid = subprocess.Popen(['sleep', '60'], stdout=subprocess.DEVNULL).pid\n"
        "guardian.watch(pid); print(pid, guardian.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, folder], stdout=subprocess.PIPE, text=True, check=False)
    assert -9 == done.returncode
    for pid in map(int, done.stdout.split()):
        _wait_for_end(pid)
    assert not folder.exists()


def test_a_forgotten_process_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        with Guardian(tmp_path / "folder") as guardian:
            guardian.watch(sleeper.pid)
            guardian.forget(sleeper.pid)
        assert sleeper.poll() is None
        sleeper.kill()


def _wait_for_end(pid: int) -> None:
    """Return once the process has ended, by its file descriptor; pytest's time limit is the deadline."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    select.select([descriptor], [], [])
    os.close(descriptor)
