"""Twice the capacity offered: ``python -m bench.overload [--rounds N] [--set SECTION.KEY=VALUE ...]``.

Writes ``bench/results/overload.md`` and ``.json`` (``overload-NAME`` with ``--name``, nothing with ``--quick``). One
server; its model takes 2 ms of processor. In each round, of the same server: its capacity by a closed loop (wrk), the
latency of an unloaded one by an open loop at a fifth of that, and then an open loop at twice that, which no slowness of
the server holds back (loadgen, written in Go). Goodput is what was answered 200; whatever else is no 429 fails the run.
Memory is read before and all along. Latencies under overload are told of all of it, and of what came after its first
two seconds: by default a queue is kept short only once it was full.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from bench.contestants import is_up, post
from bench.load import LOAD_CPU, http_load
from bench.serving import BENCH, pillion
from e2e.cluster.node.gotools import ensure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.serving import Serving

RESULTS: Final = BENCH / "results"
BODY: Final = json.dumps({"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [0.5]}]}).encode()
HEADERS: Final = {"Content-Type": "application/json"}
SETTLE: Final = 2
"""Seconds of the overload that are also left out."""
_SAMPLE_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class Round:
    """One round; rates a second, latencies in milliseconds, memory in MiB."""

    capacity: float
    offered: float
    goodput: float
    refused: float
    unloaded_p50: float
    unloaded_p99: float
    accepted_p50: float
    accepted_p99: float
    settled_p50: float
    """Of those accepted that were due after the first seconds."""
    settled_p99: float
    refusal_p50: float
    refusal_p99: float
    memory_before: float
    memory_peak: float


class Memory:
    """The highest resident memory of a server while the block runs."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.peak = 0.0

    def _watch(self) -> None:
        while not self._over.wait(_SAMPLE_SECONDS):
            self.peak = max(self.peak, self._serving.process.rss_mib())

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def _open_loop(serving: Serving, rate: float, seconds: int) -> dict[str, Any]:
    """What loadgen saw; its exit status is 1 where something was refused, which here is no failure."""
    command: list[str | Path] = ["taskset", "-c", LOAD_CPU, ensure(["loadgen"])["loadgen"], "http"]
    command += ["--url", serving.url, "--body", BODY.decode(), "--rate", f"{rate:.1f}", "--fresh", "0"]
    command += ["--duration", f"{seconds}s", "--keep-alive", "1024", "--expect", "0.5", "--settle", f"{SETTLE}s"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + 60)
    if not done.stdout:
        raise ValueError(f"loadgen failed: {done.stderr}")
    result: dict[str, Any] = json.loads(done.stdout)
    strange = Counter(result["failures"]) - Counter({"status 429": result["requests"]})
    if strange:
        raise ValueError(f"answers that are neither 200 nor 429: {dict(strange)}, such as {result['examples'][:2]}")
    return result


def one_round(serving: Serving, scratch: Path, *, connections: int, seconds: int, overload: int) -> Round:
    """Capacity and the unloaded server, each for ``seconds``, and twice the capacity.

    Raises:
        ValueError: an answer was wrong, or neither 200 nor 429.
    """
    _, body = post(serving.url, BODY, HEADERS)
    if json.loads(body)["outputs"][0]["data"] != [0.5]:
        raise ValueError(f"answered {body!r}")
    closed = http_load(serving.url, BODY, HEADERS, connections=connections, seconds=seconds, scratch=scratch)
    if closed.failures:
        raise ValueError(f"{closed.failures} failures below the capacity: --connections has more than the queue takes")
    quiet = _open_loop(serving, closed.per_second / 5, seconds)
    before = serving.process.rss_mib()
    with Memory(serving) as memory:
        loaded = _open_loop(serving, closed.per_second * 2, overload)
    good, refused = (loaded["codes"].get(code, 0) for code in ("200", "429"))
    accepted, refusals = (loaded["latencyMsByCode"].get(code, {}) for code in ("200", "429"))
    settled = loaded["settledMsByCode"].get("200", {})
    return Round(
        capacity=round(closed.per_second, 1),
        offered=loaded["rate"],
        goodput=round(good / loaded["seconds"], 1),
        refused=round(refused / loaded["seconds"], 1),
        unloaded_p50=quiet["latencyMs"]["p50"],
        unloaded_p99=quiet["latencyMs"]["p99"],
        accepted_p50=accepted.get("p50", 0.0),
        accepted_p99=accepted.get("p99", 0.0),
        settled_p50=settled.get("p50", 0.0),
        settled_p99=settled.get("p99", 0.0),
        refusal_p50=refusals.get("p50", 0.0),
        refusal_p99=refusals.get("p99", 0.0),
        memory_before=round(before, 1),
        memory_peak=round(memory.peak, 1),
    )


def table(rounds: Sequence[Round]) -> str:
    """Medians over the rounds, and the goals beside them."""

    def median(name: str) -> float:
        return statistics.median(float(getattr(one, name)) for one in rounds)

    def ratio(name: str, over: str) -> float:
        return statistics.median(float(getattr(one, name)) / float(getattr(one, over)) for one in rounds)

    def latencies(of: str) -> str:
        return f"{median(f'{of}_p50'):.1f}, {median(f'{of}_p99'):.1f} ms"

    rows = [
        ("capacity, closed loop", f"{median('capacity'):.0f}/s", ""),
        ("offered, open loop", f"{median('offered'):.0f}/s", "2 x capacity"),
        (
            "goodput",
            f"{median('goodput'):.0f}/s, **{ratio('goodput', 'capacity'):.2f}** of the capacity",
            "0.9 at least",
        ),
        ("refused with 429", f"{median('refused'):.0f}/s", "the rest"),
        ("p50, p99 unloaded", latencies("unloaded"), ""),
        (
            "p50, p99 of the accepted",
            f"{latencies('accepted')}: **{ratio('accepted_p99', 'unloaded_p99'):.1f}** x the unloaded p99",
            "3 at most",
        ),
        (
            f"the same after the first {SETTLE} s",
            f"{latencies('settled')}: **{ratio('settled_p99', 'unloaded_p99'):.1f}** x the unloaded p99",
            "",
        ),
        ("p50, p99 of a 429", latencies("refusal"), "at once"),
        ("memory before, at most", f"{median('memory_before'):.0f}, {median('memory_peak'):.0f} MiB", "flat"),
    ]
    lines = ["| | measured | goal |", "|---|---|---|"]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows]) + "\n"


def _settings(given: Sequence[str]) -> dict[str, Any]:
    """``limits.max_queue=8`` and its like, as the runtime's file has them."""
    settings: dict[str, Any] = {}
    for text in given:
        path, _, value = text.partition("=")
        section, _, key = path.partition(".")
        settings.setdefault(section, {})[key] = json.loads(value)
    return settings


def main() -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m bench.overload", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one short round; writes nothing")
    parser.add_argument("--overload", type=int, default=16, metavar="SECONDS", help="how long twice the capacity")
    parser.add_argument("--name", help="of the files of results")
    parser.add_argument("--connections", type=int, default=16, help="of the closed loop; below what the queue takes")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="a setting, as JSON")
    arguments = parser.parse_args()
    code = {"module": str(BENCH / "servers" / "busy.py"), "className": "Busy", "folder": str(BENCH / "servers")}
    models = [{"name": "iris", "path": "", "code": code}]
    rounds = []
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        serving = pillion(scratch, scratch / "busy.py", _settings(arguments.set), models)
        serving.process.start(lambda: is_up(f"http://{serving.http}/v2/health/ready"))
        try:
            short, long = (3, 6) if arguments.quick else (8, arguments.overload)
            for _ in range(1 if arguments.quick else arguments.rounds):
                rounds.append(
                    one_round(serving, scratch, connections=arguments.connections, seconds=short, overload=long)
                )
                print(rounds[-1], flush=True)
        finally:
            serving.process.stop()
    print(table(rounds))
    if not arguments.quick:
        command = " ".join(["python -m bench.overload", *sys.argv[1:]])
        head = f"# Twice the capacity\n\n`{command}`, rounds: {len(rounds)}, medians; a model of 2 ms of processor.\n\n"
        name = f"overload-{arguments.name}" if arguments.name else "overload"
        (RESULTS / f"{name}.md").write_text(head + table(rounds))
        document = {"command": command, "rounds": [asdict(one) for one in rounds]}
        (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
