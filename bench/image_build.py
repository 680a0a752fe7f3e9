"""How long `pillion build` takes: ``python -m bench.image_build BASE.tar [ROUNDS]``; writes ``bench/results/build.md``
and ``.json``.

A project of one class and a lock of two packages, one of them native, on the runtime's own image, pushed to the
reference registry on loopback. Cold: nothing cached but pip's downloads, an empty registry. Warm: after an edit of the
code.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.registry import registry

RESULTS = Path(__file__).parent / "results"
LOCK = Path(__file__).parents[1] / "tests" / "integration" / "image" / "mood.lock"
PILLION = Path(sys.executable).parent / "pillion"


def build(folder: Path, base: Path, cache: Path, image: str) -> float:
    """Seconds that one build and push takes."""
    began = time.monotonic()
    command: list[str | Path] = [PILLION, "build", folder, "--base", base, "--push", image]
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"XDG_CACHE_HOME": str(cache)})
    return time.monotonic() - began


def main() -> int:
    """Measure, print and write."""
    base, rounds = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 5
    cold: list[float] = []
    warm: list[float] = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as scratch, registry(Path(scratch, "registry")) as host:
            folder = Path(scratch, "mood")
            subprocess.run([PILLION, "new", "mood", "-t", "python", "--into", folder], check=True, capture_output=True)
            shutil.copy(LOCK, folder / "requirements.lock")
            cold.append(build(folder, base, Path(scratch, "cache"), f"{host}/mood:v1"))
            with (folder / "service.py").open("a") as service:
                service.write("# edited\n")
            warm.append(build(folder, base, Path(scratch, "cache"), f"{host}/mood:v2"))
    figures = {
        "command": f"python -m bench.image_build BASE.tar {rounds}",
        "base_bytes": base.stat().st_size,
        "cold_seconds": [round(took, 2) for took in cold],
        "warm_seconds": [round(took, 2) for took in warm],
    }
    (RESULTS / "build.json").write_text(json.dumps(figures, indent=2) + "\n")
    told = [f"{statistics.median(took):.2f}** ({min(took):.2f}, {max(took):.2f})" for took in (cold, warm)]
    size = f"{base.stat().st_size / 1e6:.0f} MB"
    (RESULTS / "build.md").write_text(
        "# A class to an image in a registry\n\n"
        f"`{figures['command']}`; BASE.tar is the runtime's image as an OCI archive, {size}; the registry is on "
        "loopback.\n\n| | median seconds (low, high) |\n|---|---|\n"
        f"| cold: dependencies fetched, every layer sent | **{told[0]} |\n"
        f"| warm: after an edit of the code | **{told[1]} |\n"
    )
    print((RESULTS / "build.md").read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
