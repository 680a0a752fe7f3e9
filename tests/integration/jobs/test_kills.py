"""A server killed at random points of its jobs; the whole measure is ``python -m bench.job_kills``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.job_kills import FAULTS, run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_server_that_is_killed_again_and_again_loses_nothing_and_does_nothing_twice(tmp_path: Path) -> None:
    found = run(tmp_path, jobs=20, kills=10, seed=7)

    assert dict.fromkeys(FAULTS, 0) == {fault: found[fault] for fault in FAULTS}
    assert found["runs"] >= 20
