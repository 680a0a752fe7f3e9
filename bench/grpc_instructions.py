"""What a unary gRPC call costs in instructions: ``python -m bench.grpc_instructions [--calls N] [--rounds N]``.

Writes ``bench/results/grpc-instructions.md`` and ``.json``. Instructions of the server by ``perf stat``, over a fixed
number of calls of 16 callers: they hardly depend on what else the machine does, where requests/s and even
processor time do. The bare limit is measured on both event loops, Pillion with requests that share calls and without,
and with its calls kept on the event loop: on a busy machine they look slow and would move to threads.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench.comparisons import PROTO
from bench.contestants import Contestant, by_grpc
from bench.load import LOAD_CPU
from bench.models import write_models
from bench.process import Process, free_port
from bench.serving import BENCH, SERVER_CPU, pillion
from e2e.cluster.node.gotools import ensure

if TYPE_CHECKING:
    from collections.abc import Sequence

RESULTS: Final = BENCH / "results"
_WARM_UP: Final = 800
_ATTACHED: Final = 0.3
"""Seconds until perf counts."""


def contestants(scratch: Path) -> list[Contestant]:
    """The bare limit on two loops, and Pillion in two ways."""
    file = scratch / "iris.onnx"

    def bare(name: str, *loop: str) -> Contestant:
        port = free_port()
        command: list[str | Path] = [sys.executable, BENCH / "servers" / "limit_grpc.py", file, str(port), *loop]
        return by_grpc(name, Process(name, command, SERVER_CPU, scratch / f"{name}.log"), f"127.0.0.1:{port}")

    def ours(name: str, folder: str, **execution: str) -> Contestant:
        (scratch / folder).mkdir()
        model: dict[str, Any] = {"name": "iris", "path": str(file), "execution": {"executor": "inline", **execution}}
        serving = pillion(scratch / folder, file, models=[model])
        return by_grpc(name, serving.process, serving.grpc)

    return [
        bare("bare grpc.aio"),
        bare("bare grpc.aio on uvloop", "uvloop"),
        ours("Pillion", "shared"),
        ours("Pillion, batching off", "alone", batching="off"),
    ]


def _call(one: Contestant, calls: int, scratch: Path) -> None:
    request = scratch / "request.bin"
    request.write_bytes(one.body)
    command: list[str | Path] = [
        *("taskset", "-c", LOAD_CPU, ensure(["ghz"])["ghz"], "--insecure", "--proto", PROTO, "--call"),
        *("inference.GRPCInferenceService.ModelInfer", "--binary-file", request, "--format", "json"),
        *("--concurrency", "16", "--connections", "4", "--total", str(calls), one.target),
    ]
    answer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    if answer["statusCodeDistribution"] != {"OK": calls}:
        raise ValueError(f"{one.name}: {answer['statusCodeDistribution']}")


def measure(one: Contestant, calls: int, scratch: Path) -> tuple[float, float]:
    """Thousands of instructions a call, in the process and in the kernel."""
    one.process.start(one.is_ready)
    try:
        one.check()
        _call(one, _WARM_UP, scratch)
        counted = scratch / "perf.txt"
        command = ["perf", "stat", "-x,", "-e", "instructions:u,instructions:k", "-o", str(counted), "-p"]
        with subprocess.Popen([*command, str(one.process.pid)]) as perf:
            time.sleep(_ATTACHED)
            _call(one, calls, scratch)
            perf.send_signal(signal.SIGINT)
        user, kernel = (float(line.split(",")[0]) for line in counted.read_text().splitlines() if line[:1].isdigit())
        return user / calls / 1000, kernel / calls / 1000
    finally:
        one.process.stop()


def table(found: dict[str, list[tuple[float, float]]]) -> str:
    """Medians, and each as a share of the first."""
    medians = {
        name: (statistics.median(user for user, _ in rounds), statistics.median(kernel for _, kernel in rounds))
        for name, rounds in found.items()
    }
    first = next(iter(medians.values()))[0]
    lines = ["| | in the process | of the bare limit | in the kernel |", "|---|---|---|---|"]
    lines += [
        f"| {name} | {user:.0f} | {user / first:.2f} | {kernel:.0f} |" for name, (user, kernel) in medians.items()
    ]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m bench.grpc_instructions", description=__doc__)
    parser.add_argument("--calls", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        write_models(scratch)
        all_of_them = contestants(scratch)
        found: dict[str, list[tuple[float, float]]] = {one.name: [] for one in all_of_them}
        for _ in range(given.rounds):
            for one in all_of_them:
                found[one.name].append(measure(one, given.calls, scratch))
    command = f"python -m bench.grpc_instructions --calls {given.calls} --rounds {given.rounds}"
    text = f"# Instructions of a unary gRPC call, thousands\n\n`{command}`, medians.\n\n{table(found)}"
    (RESULTS / "grpc-instructions.md").write_text(text)
    document = {"command": command, "thousands": found}
    (RESULTS / "grpc-instructions.json").write_text(json.dumps(document, indent=1) + "\n")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
