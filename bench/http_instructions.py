"""What a request over HTTP costs in instructions: ``python -m bench.http_instructions [--only NAME] [--seconds N]``.

Writes ``bench/results/http-instructions.md`` and ``.json``. Each server runs under valgrind, which counts the
instructions of its process as it translates them: no counters of the processor are needed, which virtual machines often
lack, and nothing that the machine does beside it moves the figures. What the kernel does is not counted. Valgrind makes
a server many times slower, so that what it does by the clock would weigh as much more: an idle server is counted as
long as the load took, and that is taken off.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.comparisons import COMPARISONS
from bench.contestants import LIMIT, OURS, by_rest
from bench.models import write_models
from bench.serving import BENCH, limit, pillion

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.comparisons import Part
    from bench.contestants import Contestant

__all__ = ["counted", "main", "table"]

RESULTS: Final = BENCH / "results"
_WARM_UP: Final = 4
_SLOWEST_START: Final = 300
"""Seconds: under valgrind everything takes fifty times as long."""


def _rest(scratch: Path, _: Sequence[str]) -> list[Contestant]:
    """The iris model, called on the event loop: it looks slow under valgrind and would move to threads."""
    file = scratch / "iris.onnx"
    model = {"name": "iris", "path": str(file), "execution": {"executor": "inline"}}
    ours = by_rest(OURS, pillion(scratch, file, models=[model]), "/v2/health/ready")
    return [ours, by_rest(LIMIT, limit(scratch, file))]


_PARTS: Final[Mapping[str, Part]] = {
    "REST infer": replace(COMPARISONS["rest"].parts[0], contestants=_rest),
    "raw handler": COMPARISONS["apps"].parts[0],
    "ingress class": COMPARISONS["apps"].parts[1],
}


def counted(dump: str) -> int:
    """Instructions of one dump of callgrind.

    Raises:
        ValueError: it has no total.
    """
    found = re.search(r"^(?:summary|totals): (\d+)", dump, re.MULTILINE)
    if found is None:
        raise ValueError("callgrind wrote no total")
    return int(found[1])


def _tell(pid: int, *command: str) -> None:
    subprocess.run(["vgdb", f"--pid={pid}", *command], check=True, capture_output=True)


def measure(one: Contestant, part: Part, seconds: int, scratch: Path) -> float:
    """Thousands of instructions a request."""
    dump = scratch / "callgrind.out"
    valgrind = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={dump}"]
    process = one.process
    plain, process.command = process.command, [*valgrind, *process.command]
    process.env["PYTHONHASHSEED"] = "0"
    try:
        process.start(one.is_ready, _SLOWEST_START)
        one.check()
        _tell(process.pid, "instrumentation", "on")
        part.load(one, _WARM_UP, scratch)
        _tell(process.pid, "zero")
        seen = part.load(one, seconds, scratch)
        _tell(process.pid, "dump")
        time.sleep(seen.seconds)
        _tell(process.pid, "dump")
        one.check()
    finally:
        process.stop()
        process.command = plain
    if seen.failures or not seen.requests:
        raise ValueError(f"{one.name} failed {seen.failures} of {seen.requests} requests")
    loaded, idle = (counted(Path(f"{dump}.{number}").read_text()) for number in (1, 2))
    return (loaded - idle) / seen.requests / 1000


def table(found: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """The least of each, as what a server does besides only adds, and how much of the limit ours comes to."""
    lines = ["| | limit | Pillion | of the limit |", "|---|---|---|---|"]
    for name, rounds in found.items():
        bare, ours = min(rounds[LIMIT]), min(rounds[OURS])
        lines.append(f"| {name} | {bare:.0f} | {ours:.0f} | {bare / ours:.2f} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m bench.http_instructions", description=__doc__)
    parser.add_argument("--only", choices=list(_PARTS), action="append", help="writes nothing")
    parser.add_argument("--seconds", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args(arguments)
    found: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in given.only or _PARTS:
            scratch = Path(folder) / name.partition(" ")[0]
            scratch.mkdir()
            write_models(scratch)
            part = _PARTS[name]
            both = part.contestants(scratch, [OURS])
            found[name] = {one.name: [] for one in both}
            for _ in range(given.rounds):
                for one in both:
                    found[name][one.name].append(measure(one, part, given.seconds, scratch))
                    print(f"{name}: {one.name} {found[name][one.name][-1]:.1f}", flush=True)
    print(table(found))
    if not given.only:
        command = f"python -m bench.http_instructions --seconds {given.seconds} --rounds {given.rounds}"
        title = "# Instructions of a request over HTTP, thousands"
        text = f"{title}\n\n`{command}`, the least of the rounds.\n\n{table(found)}"
        (RESULTS / "http-instructions.md").write_text(text)
        document = {"command": command, "thousands": found}
        (RESULTS / "http-instructions.json").write_text(json.dumps(document, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
