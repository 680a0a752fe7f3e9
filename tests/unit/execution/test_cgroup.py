from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pillion.execution import cgroup
from pillion.execution.native_threads import environment, limit, per_call

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max 100000", None),
        ("150000 100000\n", 1.5),
        ("50000 100000", 0.5),
        ("200000", 2.0),
        ("", None),
        ("nonsense 1", None),
    ],
)
def test_cpu_max_of_cgroup_v2_is_read(text: str, expected: float | None) -> None:
    assert expected == cgroup.parse_v2(text)


@pytest.mark.parametrize(
    ("quota", "period", "expected"),
    [("-1", "100000", None), ("250000", "100000", 2.5), ("1000", "0", None), ("", "", None)],
)
def test_quota_and_period_of_cgroup_v1_are_read(quota: str, period: str, expected: float | None) -> None:
    assert expected == cgroup.parse_v1(quota, period)


def test_the_groups_of_a_process_are_read_for_both_versions() -> None:
    text = "4:memory:/pod/a\n2:cpu,cpuacct:/pod/b\n0::/unified\n"
    assert {"memory": "/pod/a", "cpu": "/pod/b", "cpuacct": "/pod/b", "": "/unified"} == cgroup.group_paths(text)


@pytest.mark.parametrize(
    ("granted", "usable", "expected"), [(None, 8, 8), (0.2, 8, 1), (1.5, 8, 2), (16.0, 4, 4), (None, 0, 1)]
)
def test_a_quota_is_rounded_up_and_never_above_the_usable_cores(
    granted: float | None, usable: int, expected: int
) -> None:
    assert expected == cgroup.whole_cpus(granted, usable)


def test_the_tightest_quota_on_the_way_to_the_root_counts(tmp_path: Path) -> None:
    (tmp_path / "self").write_text("0::/pod/container\n")
    group = tmp_path / "fs" / "pod" / "container"
    group.mkdir(parents=True)
    (group / "cpu.max").write_text("400000 100000\n")
    (group.parent / "cpu.max").write_text("150000 100000\n")
    assert cgroup.quota(tmp_path / "fs", tmp_path / "self") == 1.5


def test_the_quota_of_version_1_is_found_below_its_controller(tmp_path: Path) -> None:
    (tmp_path / "self").write_text("3:cpu,cpuacct:/pod\n")
    group = tmp_path / "fs" / "cpu,cpuacct" / "pod"
    group.mkdir(parents=True)
    (group / "cpu.cfs_quota_us").write_text("100000\n")
    (group / "cpu.cfs_period_us").write_text("100000\n")
    assert cgroup.quota(tmp_path / "fs", tmp_path / "self") == 1.0


def test_a_container_that_sees_its_own_group_as_the_root_still_finds_its_quota(tmp_path: Path) -> None:
    (tmp_path / "self").write_text("0::/../../some/host/path\n")
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert cgroup.quota(tmp_path, tmp_path / "self") == 0.5


def test_no_control_groups_means_no_quota(tmp_path: Path) -> None:
    assert cgroup.quota(tmp_path / "absent", tmp_path / "absent") is None


def test_this_process_may_use_at_least_one_cpu() -> None:
    assert cgroup.available_cpus() >= 1


def test_native_libraries_are_told_the_quota_unless_the_user_has() -> None:
    variables = environment(3, {"OMP_NUM_THREADS": "7"})
    assert "OMP_NUM_THREADS" not in variables
    assert variables["OPENBLAS_NUM_THREADS"] == "3"


def test_a_process_is_limited_to_its_own_quota() -> None:
    variables: dict[str, str] = {"MKL_NUM_THREADS": "1"}
    limit(variables)
    assert variables["OMP_NUM_THREADS"] == str(cgroup.available_cpus())
    assert variables["MKL_NUM_THREADS"] == "1"


@pytest.mark.parametrize(("cpus", "calls", "expected"), [(4, 1, 4), (4, 2, 2), (2, 4, 1), (1, 0, 1)])
def test_concurrent_calls_share_the_cpus(cpus: int, calls: int, expected: int) -> None:
    assert expected == per_call(cpus, calls)
