"""The process executor against mpservice and against our threads; 16 MiB into a worker against memcpy.

``python -m bench.process_executor [--rounds N] [--calls N]`` writes ``bench/results/process.md`` and ``.json``. The
model gives back what it gets: a row of four numbers, one worker process, 16 callers at a time. Rounds are interleaved,
each contestant a program of its own that warms up first; ratios are taken within a round. mpservice is asked in the two
ways that it has: ``call`` by 16 threads, and ``stream`` over one iterator. Every answer is looked at.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

from bench.environments import PEERS, python_of

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
CONCURRENCY = 16
OURS = {
    "process executor, tensor": ("process", "tensor"),
    "process executor, task": ("process", "task"),
    "thread executor, tensor": ("thread", "tensor"),
}
THEIRS = {"mpservice, call": "call", "mpservice, stream": "stream"}


def measured(command: list[str]) -> dict[str, Any]:
    """What the program printed last."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=140, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def one_round(calls: int) -> dict[str, dict[str, Any]]:
    """Every contestant once."""
    found = {}
    for name, (executor, way) in OURS.items():
        ours = [sys.executable, "-m", "bench.servers.echo", "calls", executor, way, str(calls), str(CONCURRENCY)]
        found[name] = measured(ours)
    for name, way in THEIRS.items():
        echo = str(PEERS / "mpservice" / "echo.py")
        found[name] = measured([str(python_of("mpservice")), echo, str(calls), str(CONCURRENCY), way])
    found["crossing"] = measured([sys.executable, "-m", "bench.servers.echo", "crossing", "30"])
    return found


def ratio(rounds: list[dict[str, dict[str, Any]]], ours: str, theirs: str, figure: str) -> str:
    """Median of the rounds' ratios, with the lowest and the highest."""
    ratios = sorted(one[ours][figure] / one[theirs][figure] for one in rounds)
    return f"{median(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f})"


def crossing(rounds: list[dict[str, dict[str, Any]]]) -> list[str]:
    """The lines about large tensors."""
    there = sorted(
        (one["crossing"]["to_worker"] - one["crossing"]["small"]) / one["crossing"]["memcpy"] for one in rounds
    )
    whole = sorted(one["crossing"]["to_worker"] / one["crossing"]["memcpy"] for one in rounds)
    back = sorted(one["crossing"]["there_and_back"] / 2 / one["crossing"]["memcpy"] for one in rounds)
    figures = {
        "16 MiB into the worker, a small answer: the whole call": whole,
        "the same without what a call of a small tensor takes": there,
        "16 MiB there and back: half of the call, one crossing": back,
    }
    lines = ["", "| large tensors | in memcpy of the same bytes |", "|---|---|"]
    return lines + [f"| {name} | {median(of):.2f} ({of[0]:.2f}-{of[-1]:.2f}) |" for name, of in figures.items()]


def report(rounds: list[dict[str, dict[str, Any]]], command: str) -> str:
    """Markdown."""
    lines = [
        "# Worker processes",
        "",
        (
            f"`{command}` on {os.cpu_count()} processors, Python {platform.python_version()}; "
            f"{len(rounds)} interleaved rounds, medians. "
            "Ratios are taken within a round; in brackets the lowest and the highest."
        ),
        "",
        (
            f"One worker process, a model that gives back its row of four numbers, {CONCURRENCY} callers at a time. "
            "CPU is that of all processes."
        ),
        "",
        "| way | calls/s | CPU us a call | processes |",
        "|---|---|---|---|",
    ]
    for name in (*OURS, *THEIRS):
        middle = {
            figure: median(one[name][figure] for one in rounds) for figure in ("per_second", "cpu_us", "processes")
        }
        lines.append(f"| {name} | {middle['per_second']:.0f} | {middle['cpu_us']:.1f} | {middle['processes']:.0f} |")
    lines += ["", "| calls/s, ratio | |", "|---|---|"]
    for ours in ("process executor, tensor", "process executor, task"):
        for theirs in (*THEIRS, "thread executor, tensor"):
            lines.append(f"| {ours} / {theirs} | {ratio(rounds, ours, theirs, 'per_second')} |")
    return "\n".join(lines + crossing(rounds)) + "\n"


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=20_000)
    options = parser.parse_args()
    python_of("mpservice")  # made before anything is measured
    rounds = [one_round(options.calls) for _ in range(options.rounds)]
    text = report(rounds, "python -m bench.process_executor")
    (RESULTS / "process.md").write_text(text)
    (RESULTS / "process.json").write_text(json.dumps({"rounds": rounds}, indent=1) + "\n")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
