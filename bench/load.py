"""Load from programs that are not Python: wrk for HTTP, ghz for gRPC. Closed loop, fixed connections, one processor."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["Load", "grpc_load", "http_load"]

LOAD_CPU = "1"
_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


@dataclass(frozen=True, slots=True)
class Load:
    """What one burst of load saw: answered requests, seconds, latencies in milliseconds, and every failure."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    failures: int

    @property
    def per_second(self) -> float:
        """Answered requests per second."""
        return self.requests / self.seconds


def _milliseconds(text: str) -> float:
    found = re.fullmatch(r"([\d.]+)(us|ms|s)", text)
    if found is None:
        raise ValueError(f"wrk printed a latency that is no number: {text!r}")
    return float(found[1]) * _UNITS[found[2]]


def http_load(
    url: str, body: bytes, headers: Mapping[str, str], *, connections: int, seconds: int, scratch: Path
) -> Load:
    """POST ``body`` to ``url`` over and over."""
    script, content = scratch / "post.lua", scratch / "post.body"
    content.write_bytes(body)
    lines = ['wrk.method = "POST"', f'wrk.body = io.open({json.dumps(str(content))}, "rb"):read("*a")']
    lines += [f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in headers.items()]
    script.write_text("\n".join(lines) + "\n")
    command: list[str | Path] = [
        "taskset",
        "-c",
        LOAD_CPU,
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds}s",
        "--timeout",
        "30s",
        "--latency",
        "-s",
        script,
        url,
    ]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    totals = re.search(r"(\d+) requests in ([\d.]+)(s|m),", text)
    p50 = re.search(r"^\s+50%\s+(\S+)\s*$", text, re.MULTILINE)
    p99 = re.search(r"^\s+99%\s+(\S+)\s*$", text, re.MULTILINE)
    if totals is None or p50 is None or p99 is None:
        raise ValueError(f"cannot read what wrk printed:\n{text}")
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    socket_errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    failures = int(refused[1]) if refused else 0
    failures += sum(map(int, socket_errors.groups())) if socket_errors else 0
    elapsed = float(totals[2]) * (60 if totals[3] == "m" else 1)
    return Load(int(totals[1]), elapsed, _milliseconds(p50[1]), _milliseconds(p99[1]), failures)


def grpc_load(ghz: Path, address: str, proto: Path, request: Path, *, connections: int, seconds: int) -> Load:
    """Call ``ModelInfer`` with the serialised ``request`` over and over."""
    command: list[str | Path | int] = [
        *("taskset", "-c", LOAD_CPU, ghz, "--insecure", "--proto", proto, "--call"),
        *("inference.GRPCInferenceService.ModelInfer", "--binary-file", request, "--format", "json"),
        *("--concurrency", connections, "--connections", min(connections, 4), "--duration", f"{seconds}s"),
        # Calls cut by the end of the burst are no failures of the server: let them finish.
        *("--duration-stop", "wait", address),
    ]
    answer = json.loads(subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True).stdout)
    latencies = {entry["percentage"]: entry["latency"] / 1e6 for entry in answer["latencyDistribution"]}
    good = answer["statusCodeDistribution"].get("OK", 0)
    return Load(good, answer["total"] / 1e9, latencies[50], latencies[99], answer["count"] - good)
