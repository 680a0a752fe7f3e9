"""Start to ready, and memory: ``python -m bench.startup [ROUNDS]``; writes ``bench/results/startup.md`` and ``.json``.

The yardstick is a Python process that imports uvicorn, grpc.aio and ONNX Runtime and does nothing else: no server of
ours can be ready sooner. Interleaved; both are timed from their spawning, Pillion until ``/v2/health/ready`` is 200
with the iris model as ONNX, loaded and warmed up. Both have their byte code, as in an image. Pillion's memory is read a
second later, when it holds what it imports after readiness.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.contestants import is_up
from bench.models import write_models
from bench.process import Process, free_port, resident_mib

RESULTS = Path(__file__).parent / "results"
IMPORTS = "import uvicorn, grpc.aio, onnxruntime"
CPU = 0
SETTLED = 1.0
"""Seconds after readiness."""


def byte_code(folder: Path) -> dict[str, str]:
    """Variables that make Python keep byte code in ``folder``, whatever the environment says."""
    return {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}


def imports(folder: Path) -> tuple[float, float]:
    """Seconds until the libraries are imported, and the MiB that are resident then."""
    program = f"{IMPORTS}\nprint('imported', flush=True)\ninput()"
    began = time.monotonic()
    with subprocess.Popen(
        ["taskset", "-c", str(CPU), sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | byte_code(folder),
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "imported\n"
        took = time.monotonic() - began
        memory = resident_mib(process.pid)
        process.communicate("\n")
    return took, memory


def pillion(folder: Path) -> tuple[float, float]:
    """Seconds until the server is ready, and the MiB that are resident then."""
    port = free_port()
    config = folder / "runtime.yaml"
    config.write_text(
        json.dumps(
            {
                "apiVersion": "runtime.pillion.dev/v1",
                "settings": {
                    "http": {"host": "127.0.0.1", "port": port},
                    "grpc": {"host": "127.0.0.1", "port": 0},
                    "admin": {"host": "127.0.0.1", "port": 0},
                    "control": {"socket": str(folder / "control.sock")},
                },
                "models": [{"name": "iris", "path": str(folder / "iris.onnx")}],
            }
        )
    )
    command: list[str | Path] = [sys.executable, "-m", "pillion.server", "--config", config]
    process = Process("Pillion", command, CPU, folder / "pillion.log", env=byte_code(folder))
    took = process.start(lambda: is_up(f"http://127.0.0.1:{port}/v2/health/ready"), every=0.002)
    try:
        time.sleep(SETTLED)
        return took, process.rss_mib()
    finally:
        process.stop()


def main() -> int:
    """Measure, print and write."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    bare: list[tuple[float, float]] = []
    ours: list[tuple[float, float]] = []
    os.sched_setaffinity(0, set(range(os.cpu_count() or 1)) - {CPU} or {CPU})  # who asks must not be in the way
    with tempfile.TemporaryDirectory() as folder:
        write_models(Path(folder))
        imports(Path(folder))
        pillion(Path(folder))  # both once before, so that files and byte code are in memory
        for _ in range(rounds):
            bare.append(imports(Path(folder)))
            ours.append(pillion(Path(folder)))
    ratios = [mine[0] / theirs[0] for mine, theirs in zip(ours, bare, strict=True)]
    memory = [mine[1] / theirs[1] for mine, theirs in zip(ours, bare, strict=True)]
    figures = {
        "command": f"python -m bench.startup {rounds}",
        "imports_seconds": [round(took, 3) for took, _ in bare],
        "ready_seconds": [round(took, 3) for took, _ in ours],
        "ratio": {
            "median": round(statistics.median(ratios), 2),
            "low": round(min(ratios), 2),
            "high": round(max(ratios), 2),
        },
        "memory_mib": {
            "imports": round(statistics.median(mib for _, mib in bare), 1),
            "ready": round(statistics.median(mib for _, mib in ours), 1),
            "ratio": round(statistics.median(memory), 2),
        },
    }
    (RESULTS / "startup.json").write_text(json.dumps(figures, indent=2) + "\n")
    (RESULTS / "startup.md").write_text(
        "# Start to ready, one ONNX model\n\n"
        f"`{figures['command']}`; interleaved, each pinned to one processor. Yardstick: `{IMPORTS}`.\n\n"
        "| | imports alone | Pillion ready | ratio (low, high) |\n|---|---|---|---|\n"
        f"| seconds, median | {statistics.median(took for took, _ in bare):.2f} "
        f"| {statistics.median(took for took, _ in ours):.2f} "
        f"| **{statistics.median(ratios):.2f}** ({min(ratios):.2f}, {max(ratios):.2f}) |\n"
        f"| resident MiB, median | {statistics.median(mib for _, mib in bare):.0f} "
        f"| {statistics.median(mib for _, mib in ours):.0f} | **{statistics.median(memory):.2f}** |\n"
    )
    print((RESULTS / "startup.md").read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
