"""A model's worker processes killed 50 times under load: what clients see, and how soon each worker is back.

``python -m bench.worker_kills [--kills N]`` writes ``bench/results/worker-kills.md`` and ``.json``. The load is
open-loop, 100 requests/s over REST and 100 over gRPC, a fifth of them on new connections, counted by the client without
retries. One of two workers is killed (SIGKILL) as soon as both take calls, at most every 1.2 seconds. Twice: as
artifacts are served by default, where the call that a dead worker had begun is computed again, and without that.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from statistics import median
from typing import Any

from bench.process import free_port
from e2e.cluster.node import gotools
from pillion.protocol.protos import open_inference_pb2 as pb
from pillion.runtimefile import DesiredModel, ExecutionSettings, RuntimeFile, dump
from tests.models import train_iris

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
WORKERS = 2
EVERY = 1.2
ROW = [5.1, 3.5, 1.4, 0.2]
LABELS = '{model="iris",version="1"}'


def metrics(port: int) -> dict[str, float]:
    """Samples by name and labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


def descriptors(pid: int) -> int:
    """Files that a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def workers(pid: int) -> list[int]:
    """The server's children that live."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    found = [int(child) for task in tasks for child in task.read_text().split()]
    return [child for child in found if "Z" not in Path(f"/proc/{child}/stat").read_text().rpartition(")")[2][:3]]


def recovered(port: int, restarts: int, seconds: float = 20) -> None:
    """Wait until so many workers were replaced and all take calls."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = metrics(port)
        if (found[f"pillion_worker_restarts_total{LABELS}"], found[f"pillion_workers{LABELS}"]) == (restarts, WORKERS):
            return
        time.sleep(0.02)
    raise TimeoutError(f"worker {restarts} was not back after {seconds} s")


def load(program: Path, http: int, grpc: int, seconds: float) -> list[subprocess.Popen[str]]:
    """Both generators, running."""
    body = {"inputs": [{"name": "X", "shape": [1, 4], "datatype": "FP32", "data": ROW}]}
    message = pb.ModelInferRequest(model_name="iris")
    tensor = message.inputs.add(name="X", shape=[1, 4], datatype="FP32")
    tensor.contents.fp32_contents.extend(ROW)
    shared = ["--rate=100", f"--duration={seconds:g}s"]
    rest = [
        "http",
        f"--url=http://127.0.0.1:{http}/v2/models/iris/infer",
        f"--body={json.dumps(body)}",
        "--expect=label",
    ]
    encoded = base64.b64encode(message.SerializeToString()).decode()
    method = "/inference.GRPCInferenceService/ModelInfer"
    call = ["grpc", f"--target=127.0.0.1:{grpc}", f"--method={method}", f"--body-base64={encoded}", "--expect=label"]
    return [
        subprocess.Popen([program, *each, *shared], stdout=subprocess.PIPE, text=True) for each in (rest, call)
    ]  # fmt: skip


def run(folder: Path, model: Path, kills: int, *, idempotent: bool | None) -> dict[str, Any]:
    """One server, its workers killed."""
    ports = {name: free_port() for name in ("http", "grpc", "admin")}
    execution = ExecutionSettings(executor="process", processes=WORKERS, idempotent=idempotent)
    config = folder / "runtime.yaml"
    config.write_text(dump(RuntimeFile(models=(DesiredModel(name="iris", path=str(model), execution=execution),))))
    flags = [flag for name, port in ports.items() for flag in (f"--{name}-port", port, f"--{name}-host", "127.0.0.1")]
    command = [sys.executable, "-m", "pillion.server", "--config", config, *flags]
    control = ["--control-socket", folder / "control.sock"]
    server = subprocess.Popen([*map(str, [*command, *control])], cwd=ROOT, stderr=(folder / "log").open("ab"))
    generators: list[subprocess.Popen[str]] = []
    back: list[float] = []
    try:
        _wait_ready(ports["admin"])
        files = descriptors(server.pid)
        generators = load(gotools.ensure(["loadgen"])["loadgen"], ports["http"], ports["grpc"], kills * EVERY + 5)
        for number in range(1, kills + 1):
            victims = workers(server.pid)
            killed = time.monotonic()
            os.kill(victims[number % len(victims)], signal.SIGKILL)
            recovered(ports["admin"], number)
            back.append(time.monotonic() - killed)
            time.sleep(max(0.0, EVERY - back[-1]))
        counted = [json.loads(generator.communicate(timeout=60)[0]) for generator in generators]
        time.sleep(1)  # answers are in; connections close
        after = metrics(ports["admin"])
        left = {name: after[f"pillion_{name}{LABELS}"] for name in ("workers", "in_flight", "queue_length")}
        left["abandoned"] = after[f"pillion_abandoned_calls{LABELS}"]
        return {
            "idempotent": idempotent is not False,
            "kills": kills,
            "back_seconds": back,
            "load": dict(zip(("rest", "grpc"), counted, strict=True)),
            "after": left,
            "descriptors": [files, descriptors(server.pid)],
        }
    finally:
        for generator in generators:
            generator.kill()
        server.terminate()
        server.wait(30)


def _wait_ready(admin: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{admin}/readyz", timeout=5):
                return
        except OSError:
            time.sleep(0.05)
    raise TimeoutError("the server did not become ready")


def report(runs: list[dict[str, Any]]) -> str:
    """Markdown."""
    columns = (
        "the call that a dead worker had begun",
        "kills",
        "requests",
        "failed REST, gRPC",
        "back after s: median, worst",
        "p99 ms REST, gRPC",
        "workers, in flight, queued, abandoned after",
    )
    intro = (
        f"`python -m bench.worker_kills` on {os.cpu_count()} processors: {WORKERS} worker processes with one ONNX "
        "model, 100 requests/s over REST and 100 over gRPC; failures as the client sees them, without retries."
    )
    lines = ["# Worker processes killed under load", "", intro, ""]
    lines += [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    for one in runs:
        rest, grpc = one["load"]["rest"], one["load"]["grpc"]
        back, after = sorted(one["back_seconds"]), one["after"]
        cells = (
            "is computed again" if one["idempotent"] else "fails",
            f"{one['kills']}",
            f"{rest['requests'] + grpc['requests']}",
            f"{rest['failed']}, {grpc['failed']}",
            f"{median(back):.2f}, {back[-1]:.2f}",
            f"{rest['latencyMs']['p99']:.1f}, {grpc['latencyMs']['p99']:.1f}",
            ", ".join(f"{after[name]:.0f}" for name in ("workers", "in_flight", "queue_length", "abandoned")),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = train_iris(Path(folder)).onnx
        runs = [run(Path(folder), model, options.kills, idempotent=choice) for choice in (None, False)]
    (RESULTS / "worker-kills.md").write_text(report(runs))
    (RESULTS / "worker-kills.json").write_text(json.dumps({"runs": runs}, indent=1) + "\n")
    sys.stdout.write(report(runs))


if __name__ == "__main__":
    main()
