"""One process against two front workers: requests per second, and processor time a request, of scikit-learn's iris.

``python -m bench.workers [--rounds N] [--seconds N]`` writes ``bench/results/workers.md`` and ``.json``. The server may
use every processor, and the load (wrk, ghz) is on one of them: on two processors two workers and the load share what
one worker and the load have almost to themselves, so a gain of less than two is the machine's. Rounds are interleaved,
each server is started anew; ratios are taken within a round.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from bench.accounts import cpu, family
from bench.load import grpc_load, http_load
from bench.models import ROW, write_models
from bench.process import free_port, resident_mib
from bench.serving import BENCH, pillion
from e2e.cluster.node.gotools import ensure
from pillion.protocol.protos import open_inference_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bench.load import Load
    from bench.serving import Serving

RESULTS: Final = BENCH / "results"
PROTO: Final = BENCH.parent / "runtime/src/pillion/protocol/protos/open_inference.proto"
CONNECTIONS: Final = 32
READY_SECONDS: Final = 60.0


@contextmanager
def running(serving: Serving, admin: int, folder: Path) -> Iterator[int]:
    """The server on every processor, all of it ready; its process id."""
    with (folder / "pillion.log").open("ab") as log:
        process = subprocess.Popen(list(map(str, serving.process.command)), stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + READY_SECONDS
        while not _ready(admin):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server did not come up: see {folder}/pillion.log")
            time.sleep(0.05)
        yield process.pid
    finally:
        process.terminate()
        process.wait(30)


def _ready(admin: int) -> bool:
    """By the admin port: on the data port each worker answers for itself."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{admin}/readyz", timeout=2):
            return True
    except OSError:
        return False


def message() -> bytes:
    """One flower as a message of gRPC."""
    request = pb.ModelInferRequest(model_name="iris")
    request.inputs.add(name="input", datatype="FP32", shape=[1, 4]).contents.fp32_contents.extend(ROW)
    request.outputs.add(name="predict")
    return request.SerializeToString()


def measured(serving: Serving, admin: int, folder: Path, seconds: int) -> dict[str, Any]:
    """Both protocols, one after the other, on one start."""
    ghz = ensure(["ghz"])["ghz"]
    request = folder / "request.bin"
    request.write_bytes(message())
    found: dict[str, Any] = {}
    with running(serving, admin, folder) as pid:
        for protocol in ("rest", "grpc"):
            for burst in (1, seconds):  # the first is to warm up
                processes = family(pid)
                before = cpu(processes)
                load = _load(protocol, serving, ghz, request, folder, burst)
                used = cpu(processes) - before
                if load.failures:
                    raise RuntimeError(f"{protocol}: {load.failures} requests failed: no figure is worth printing")
            found[protocol] = {
                "per_second": load.per_second,
                "p50_ms": load.p50_ms,
                "p99_ms": load.p99_ms,
                "cpu_us": used / load.requests * 1e6,
            }
        found["rss_mib"] = sum(map(resident_mib, family(pid)))
        found["supervisor_mib"] = resident_mib(pid)
    return found


def _load(protocol: str, serving: Serving, ghz: Path, request: Path, folder: Path, seconds: int) -> Load:
    if protocol == "grpc":
        return grpc_load(ghz, serving.grpc, PROTO, request, connections=CONNECTIONS, seconds=seconds)
    headers = {"Content-Type": "application/json"}
    return http_load(serving.url, serving.body, headers, connections=CONNECTIONS, seconds=seconds, scratch=folder)


def one_round(model: Path, folder: Path, seconds: int) -> dict[int, dict[str, Any]]:
    """One process, then two workers."""
    found = {}
    for workers in (1, 2):
        own = folder / f"workers-{workers}"
        own.mkdir(exist_ok=True)
        admin = free_port()
        settings = {"workers": workers, "admin": {"host": "127.0.0.1", "port": admin}}
        found[workers] = measured(pillion(own, model, settings), admin, own, seconds)
    return found


def report(rounds: list[Mapping[int, dict[str, Any]]], command: str) -> str:
    """Markdown."""
    lines = [
        "# Front workers",
        "",
        (
            f"`{command}` on {os.cpu_count()} processors, Python {platform.python_version()}; "
            f"{len(rounds)} interleaved rounds, medians. "
            f"scikit-learn's iris, a row a request, {CONNECTIONS} at a time. "
            "The load runs on the same processors, so twice is out of reach. "
            "CPU is that of all processes of the server."
        ),
        "",
        "| protocol | workers | requests/s | p50 ms | p99 ms | CPU us a request |",
        "|---|---|---|---|---|---|",
    ]
    for protocol in ("rest", "grpc"):
        for workers in (1, 2):
            of = {
                figure: median(one[workers][protocol][figure] for one in rounds)
                for figure in ("per_second", "p50_ms", "p99_ms", "cpu_us")
            }
            lines.append(
                f"| {protocol} | {workers} | {of['per_second']:.0f} | {of['p50_ms']:.2f} | {of['p99_ms']:.2f} "
                f"| {of['cpu_us']:.0f} |"
            )
    lines += ["", "| two workers / one process | requests/s |", "|---|---|"]
    for protocol in ("rest", "grpc"):
        ratios = sorted(one[2][protocol]["per_second"] / one[1][protocol]["per_second"] for one in rounds)
        lines.append(f"| {protocol} | {median(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f}) |")
    one, two = (median(found[workers]["rss_mib"] for found in rounds) for workers in (1, 2))
    supervisor = median(found[2]["supervisor_mib"] for found in rounds)
    lines += [
        "",
        f"Resident memory: {one:.0f} MiB in one process, {two:.0f} MiB with two workers and their supervisor, ",
    ]
    lines[-1] += f"of which the supervisor's is {supervisor:.0f} MiB."
    return "\n".join(lines) + "\n"


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5)
    options = parser.parse_args()
    ensure(["ghz"])
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_models(folder)
        rounds = [one_round(folder / "iris.skops", folder, options.seconds) for _ in range(options.rounds)]
    text = report(list(rounds), "python -m bench.workers")
    (RESULTS / "workers.md").write_text(text)
    (RESULTS / "workers.json").write_text(json.dumps({"rounds": rounds}, indent=1) + "\n")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
