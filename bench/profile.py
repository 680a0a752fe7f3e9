"""Where a request's time goes: ``python -m bench.profile [--only TABLE] [--seconds N]``, or ``make profile``.

Samples Pillion's server with py-spy (of a pinned environment) under the load of one table of the comparisons, and sorts
each sample by the innermost frame that belongs to a stage. Prints the table; writes it and the flame graph beside the
other results, as ``profile-TABLE.md`` and ``profile-TABLE.svg``. Time in C (uvloop, httptools, ONNX Runtime) counts for
the Python function that called it.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape

from bench.comparisons import COMPARISONS
from bench.contestants import OURS
from bench.environments import python_of
from bench.models import write_models

if TYPE_CHECKING:
    from bench.contestants import Contestant
    from bench.load import Load

__all__ = ["published", "stage_of", "stages"]

RESULTS: Final = Path(__file__).parent / "results"
_RATE: Final = 500
_FOLDERS: Final = re.compile(r"/[^\s()<>:\"]*/(?:site-packages/|lib/python3\.\d+/|runtime/src/|(?=bench/))")
"""In front of what names a file wherever it is installed."""
_CUT: Final = re.compile(r"/[^<]*\.\.</text>")
"""A label that was cut within such a folder; who opens the graph sees it whole when it is drawn again."""
_STAGES: Final = (
    ("encode", ("oip_json_answer", "protocol/answer", "grpc/context", "encode")),
    ("decode", ("protocol/", "transport/http/body")),
    ("compute", ("pillion/backends/", "onnxruntime/", "sklearn/", "skops/")),
    ("admit and execute", ("pillion/dataplane/", "pillion/execution/", "pillion/repository/")),
    ("write", ("http/answer", ".write", "_write", "flush")),
    ("metrics", ("pillion/metrics", "prometheus_client/")),
    ("parse and route", ("pillion/transport/", "pillion/server/", "httptools", "uvicorn/")),
    ("event loop", ("asyncio/", "uvloop", "selectors", "pillion/", "grpc/aio", "runpy")),
)
"""Names of stages, and what a frame has in it that belongs to one; the first that fits."""


def stage_of(stack: list[str]) -> str:
    """The stage of one stack, outermost frame first."""
    for frame in reversed(stack):
        for name, marks in _STAGES:
            if any(mark in frame for mark in marks):
                return name
    return "other"


def stages(folded: str) -> Counter[str]:
    """Samples by stage, of py-spy's folded stacks: frames by semicolons, then a number."""
    counted: Counter[str] = Counter()
    for line in folded.splitlines():
        stack, _, count = line.rpartition(" ")
        counted[stage_of(stack.split(";"))] += int(count)
    return counted


def published(svg: str, title: str) -> str:
    """A flame graph for everybody: without the folders of this machine, and with a title in place of a command line."""
    svg = re.sub(r'(<text id="title"[^>]*>)[^<]*', lambda found: found[1] + escape(title), svg)
    svg = _FOLDERS.sub("", svg)
    return _CUT.sub("..</text>", svg)


def _record(pid: int, form: str, file: Path, seconds: int) -> None:
    program = python_of("profile").with_name("py-spy")
    command = [program, "record", "--pid", pid, "--duration", seconds, "--rate", _RATE, "--format", form]
    command += ["--output", file, "--full-filenames", "--nonblocking"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"py-spy: {done.stderr.strip()} (it needs the right to trace: root, or ptrace_scope 0)")


def _server(one: Contestant) -> int:
    """The process that runs Python: the contestant itself, which taskset became."""
    return one.process.pid


def main() -> int:
    """Sample, print and write."""
    parser = argparse.ArgumentParser(prog="python -m bench.profile", description=__doc__)
    parser.add_argument("--only", choices=list(COMPARISONS), default="rest", help="whose load")
    parser.add_argument("--seconds", type=int, default=8, help="of each of two recordings")
    arguments = parser.parse_args()
    table = COMPARISONS[arguments.only]
    part = table.parts[0]
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        write_models(scratch)
        one = next(each for each in part.contestants(scratch, [OURS]) if each.name == OURS)
        one.process.start(one.is_ready)
        try:
            one.check()
            seen: list[Load] = []
            # The first second warms up, and both recordings take a moment to begin.
            load = threading.Thread(target=lambda: seen.append(part.load(one, 2 * arguments.seconds + 6, scratch)))
            load.start()
            _record(_server(one), "raw", scratch / "folded.txt", arguments.seconds)
            _record(_server(one), "flamegraph", scratch / "flame.svg", arguments.seconds)
            load.join()
            one.check()
        finally:
            one.process.stop()
        counted = stages((scratch / "folded.txt").read_text())
        drawn = published((scratch / "flame.svg").read_text(), table.title)
        (RESULTS / f"profile-{arguments.only}.svg").write_text(drawn)
    total = counted.total()
    rate = seen[0].per_second
    lines = [
        f"# Where a request's time goes: {table.title}",
        "",
        f"`python -m bench.profile {' '.join(sys.argv[1:])}`: {total} samples of a busy server, {rate:.0f} requests/s.",
        "",
        "| stage | share | us a request |",
        "|---|---|---|",
        *(
            f"| {name} | {count / total:.0%} | {count / total * 1e6 / rate:.1f} |"
            for name, count in counted.most_common()
        ),
        "",
        f"Flame graph: [profile-{arguments.only}.svg](profile-{arguments.only}.svg). The load keeps the server busy",
        "all the time, so that a share of it is a share of a request.",
    ]
    (RESULTS / f"profile-{arguments.only}.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
