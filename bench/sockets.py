"""The socket's client against mpservice's over a unix socket, and ours over a unix socket against TCP.

``python -m bench.sockets [--rounds N] [--calls N]`` writes ``bench/results/sockets.md`` and ``.json``. The server is a
process of its own that gives back what it gets, a row of four numbers; the client is the synchronous one of each
library. Rounds are interleaved, and ratios are taken within a round. Every answer of one caller is looked at; of the
others their number, and the last.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from pathlib import Path
from statistics import median
from typing import Any

from bench.environments import PEERS, python_of
from bench.process_executor import measured, ratio

RESULTS = Path(__file__).parent / "results"
ECHO = str(Path(__file__).parent / "servers" / "socket_echo.py")
FIGURES = {
    "p50_us": "p50 of one caller, us",
    "p99_us": "p99, us",
    "threads_per_second": "calls/s of 16 threads",
    "threads_cpu_us": "CPU us a call",
    "stream_per_second": "calls/s of a stream",
    "stream_cpu_us": "CPU us a call of it",
}
OURS, THEIRS, BOTH = "pillion", "mpservice", "alternating"


def one_round(calls: int) -> dict[str, dict[str, Any]]:
    """Every contestant once."""
    theirs = [str(python_of("mpservice")), str(PEERS / "mpservice" / "socket_echo.py")]
    return {
        OURS: measured([sys.executable, ECHO, "measure", "unix", str(calls)]),
        THEIRS: measured([*theirs, "measure", "unix", str(calls)]),
        BOTH: measured([sys.executable, ECHO, "alternate", str(calls // 4)]),
    }


def report(rounds: list[dict[str, dict[str, Any]]], command: str) -> str:
    """Markdown."""
    lines = [
        "# Sockets between programs",
        "",
        (
            f"`{command}` on {os.cpu_count()} processors, Python {platform.python_version()}; {len(rounds)} "
            "interleaved rounds, medians. Ratios are taken within a round; in brackets the lowest and the highest."
        ),
        "",
        (
            "A server that gives back a row of four numbers, and the synchronous client of each library; CPU is that "
            "of both. The load is the client itself, as what is measured is the client; where other work runs on the "
            "machine, processor time is what to look at."
        ),
        "",
        f"| | {' | '.join(FIGURES.values())} |",
        f"|---{'|---' * len(FIGURES)}|",
    ]
    for name in (OURS, THEIRS):
        middle = " | ".join(f"{median(one[name][figure] for one in rounds):.0f}" for figure in FIGURES)
        lines.append(f"| {name} | {middle} |")
    ratios = " | ".join(ratio(rounds, OURS, THEIRS, figure) for figure in FIGURES)
    lines.append(f"| {OURS} / {THEIRS} | {ratios} |")
    unix, tcp = (median(one[BOTH][name] for one in rounds) for name in ("unix_us", "tcp_us"))
    both = sorted(one[BOTH]["unix_us"] / one[BOTH]["tcp_us"] for one in rounds)
    turns = f"p50: {unix:.0f} us over a unix socket and {tcp:.0f} us over TCP, a ratio of {median(both):.2f}"
    lines += ["", f"Call by call in turns on one server, {turns} ({both[0]:.2f}-{both[-1]:.2f})."]
    return "\n".join(lines) + "\n"


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--calls", type=int, default=10_000)
    options = parser.parse_args()
    python_of("mpservice")  # made before anything is measured
    rounds = [one_round(options.calls) for _ in range(options.rounds)]
    text = report(rounds, f"python -m bench.sockets --rounds {options.rounds} --calls {options.calls}")
    (RESULTS / "sockets.md").write_text(text)
    (RESULTS / "sockets.json").write_text(json.dumps({"rounds": rounds}, indent=1) + "\n")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
