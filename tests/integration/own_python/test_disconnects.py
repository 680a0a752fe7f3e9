"""Clients that leave their streams in every way; the whole measure is ``python -m bench.disconnects``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.disconnects import LONGEST, faults, run

if TYPE_CHECKING:
    from pathlib import Path


def test_clients_that_leave_by_every_transport_end_the_code_soon_and_leave_nothing_behind(tmp_path: Path) -> None:
    found = run(tmp_path, streams=60)

    assert [] == faults(found, longest=30 * LONGEST)  # for a machine that is busy with something else
    assert (12, 60) == (len(found["took"]), sum(map(len, found["took"].values())))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"took": {"SSE": [0.1, 1.2]}}, "SSE: 1 of 2 ran on for more than 1 s"),
        ({"after": {"descriptors": 12}}, "descriptors: 10 before, 12 after"),
        ({"memory_mib": [80.0, 97.0]}, "memory: 80.0 MiB before, 97.0 after"),
    ],
)
def test_each_kind_of_leak_is_a_fault(change: dict[str, object], fault: str) -> None:
    good = {
        "took": {"SSE": [0.1]}, "before": {"descriptors": 10}, "after": {"descriptors": 10}, "memory_mib": [80.0, 81.0],
    }  # fmt: skip
    assert [] == faults(good)
    assert [fault] == faults(good | change)
