"""The example and the demo, as a stranger runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_demo_trains_serves_and_agrees_over_four_ways_in() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "demo.py")],
        env=os.environ | {"NO_COLOR": "1", "COLUMNS": "120"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    assert "wrote iris.skops (4 columns, 3 classes)" in done.stdout
    for way in ("REST", "gRPC", "HTTPS", "gRPC + TLS", "all four agree"):
        assert way in done.stdout
