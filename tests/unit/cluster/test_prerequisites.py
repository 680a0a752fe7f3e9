"""What a machine must have for a node."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2e.cluster.node import prerequisites
from e2e.cluster.node.failure import ClusterError


def test_each_missing_program_is_named_with_its_package_once() -> None:
    programs = {"no-such-program-a": "package-two", "no-such-program-b": "package-two", "sh": "dash"}
    with pytest.raises(ClusterError) as refused:
        prerequisites.require(programs, "run a node")
    assert "to run a node, this machine lacks no-such-program-a, no-such-program-b" in str(refused.value)
    assert str(refused.value).endswith("apt-get install -y --no-install-recommends package-two")


def test_programs_that_are_there_are_not_asked_for() -> None:
    assert [] == prerequisites.missing_packages({"sh": "dash"})
    prerequisites.require({"sh": "dash"}, "run a node")


def test_another_user_than_root_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(ClusterError, match=r"must be root .*sudo -E.*kind"):
        prerequisites.require_root("run a node")


@pytest.mark.parametrize(
    ("expected", "mounts"),
    [
        (False, "/dev/vda / ext4 rw 0 0\nproc /proc proc rw 0 0\n"),
        (True, "overlay / overlay rw 0 0\n/dev/vdb /data ext4 rw 0 0\n"),
        (False, "overlay / overlay rw 0 0\n/dev/vdb /home/user ext4 rw 0 0\n"),
        # /home/us is no parent of /home/user.
        (True, "overlay / overlay rw 0 0\n/dev/vdb /home/us ext4 rw 0 0\n"),
        (False, "overlay / overlay rw 0 0\n/dev/vdb / ext4 rw 0 0\n"),
    ],
)
def test_a_folder_is_on_an_overlay_where_its_innermost_and_latest_mount_is_one(expected: object, mounts: str) -> None:
    assert expected is prerequisites.on_overlay(Path("/home/user/.cache/pillion/nodes/e2e"), mounts)
