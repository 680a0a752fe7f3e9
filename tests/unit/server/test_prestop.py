"""The hook runs inside the pod's memory limit: it must stay small and quick."""

from __future__ import annotations

import json
import subprocess
import sys

HEAVY = {
    "pydantic",
    "asyncio",
    "grpc",
    "uvicorn",
    "numpy",
    "logging",
    "yaml",
    "json",
    "pillion.server.server",
}


def test_the_hook_imports_nothing_heavy_and_is_quick() -> None:
    code = (
        "import time; began = time.process_time()\n"
        "import pillion.server.prestop, sys, _json\n"
        "spent = time.process_time() - began\n"
        "print(f'{spent} ' + ' '.join(sys.modules))"
    )
    least = 1.0
    # What a neighbour on the same core takes of its speed differs from run to run: the least is its own.
    for _ in range(8):
        spent, *modules = subprocess.run(
            [sys.executable, "-S", "-c", f"import sys; sys.path = {json.dumps(sys.path)}\n{code}"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        assert set() == HEAVY & set(modules)
        least = min(least, float(spent))
        if least < 0.06:
            break
    assert least < 0.1
