"""What the activator adds to a request while it splices: the same server, asked directly and through it.

``python -m bench.activator [--rounds N] [--requests N]`` writes ``bench/results/activator.md`` and ``.json``. The
server (uvicorn), the activator's connections and this client are a process each; direct and spliced take turns, on one
connection that is kept, and on a new one for each request. The activator's processor time is that of its process.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import socket
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn
from prometheus_client import CollectorRegistry

from bench.process import free_port
from pillion_operator.activator.connections import Connections
from pillion_operator.activator.metrics import ActivatorMetrics
from pillion_operator.activator.ports import Ports
from pillion_operator.activator.settings import ActivatorSettings
from pillion_operator.activator.slices import Slices

if TYPE_CHECKING:
    from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, Scope

    from pillion_operator.activator.routes import Route

RESULTS = Path(__file__).parent / "results"
_REQUEST = b"POST / HTTP/1.1\r\nHost: iris\r\nContent-Length: 64\r\n\r\n" + b"x" * 64
_LABEL = "kubernetes.io/service-name"


class _Awake:
    """Nobody has to be woken: the pod is there."""

    async def wake(self, route: Route) -> None:
        raise AssertionError(f"{route} was to be woken")


async def _answer(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    del scope
    while (await receive()).get("more_body"):
        pass
    head = [(b"content-length", b"64")]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": b"y" * 64})


def _serve(port: int) -> None:
    uvicorn.run(_answer, host="127.0.0.1", port=port, lifespan="off", log_level="error", access_log=False)


def _splice(port: int, server: int) -> None:
    async def run() -> None:
        labels = {_LABEL: "iris"}
        ours: dict[str, Any] = {
            "metadata": {
                "namespace": "bench", "name": "ours",
                "labels": labels | {"endpointslice.kubernetes.io/managed-by": "pillion"},
            },
            "ports": [{"name": "http", "port": port}],
        }  # fmt: skip
        pods: dict[str, Any] = {
            "metadata": {
                "namespace": "bench",
                "name": "pods",
                "labels": labels | {"endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"},
            },
            "ports": [{"name": "http", "port": server}],
            "endpoints": [{"addresses": ["127.0.0.1"]}],
        }
        slices = Slices("bench/activator")
        slices.replace("", [ours, pods])
        settings = ActivatorSettings(service="bench/activator", addresses=("127.0.0.1",))
        metrics = ActivatorMetrics(CollectorRegistry())
        ports = Ports("127.0.0.1", Connections(settings, slices, _Awake(), metrics, time.monotonic))  # type: ignore[arg-type]  # only waking is left out
        await ports.follow(slices.routes)
        await asyncio.Event().wait()

    asyncio.run(run())


def _exchange(connection: socket.socket) -> None:
    connection.sendall(_REQUEST)
    answer = b""
    while not answer.endswith(b"y" * 64):
        piece = connection.recv(4096)
        assert piece, answer
        answer += piece


def _connect(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _kept(port: int, requests: int) -> list[float]:
    took = []
    with _connect(port) as connection:
        _exchange(connection)
        for _ in range(requests):
            began = time.perf_counter()
            _exchange(connection)
            took.append(1000 * (time.perf_counter() - began))
    return took


def _new(port: int, requests: int) -> list[float]:
    took = []
    for _ in range(requests):
        began = time.perf_counter()
        with _connect(port) as connection:
            _exchange(connection)
        took.append(1000 * (time.perf_counter() - began))
    return took


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _reached(port: int) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            _new(port, 1)
        except (ConnectionError, AssertionError):
            assert time.monotonic() < deadline, f"port {port} does not answer"
            time.sleep(0.05)
        else:
            return


def measure(rounds: int, requests: int) -> dict[str, object]:
    """Return milliseconds and ratios: the median over rounds, each of the medians of its requests."""
    server, spliced = free_port(), free_port()
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=_serve, args=(server,), daemon=True),
        context.Process(target=_splice, args=(spliced, server), daemon=True),
    ]
    for process in processes:
        process.start()
    try:
        _reached(server)
        _reached(spliced)
        figures: dict[str, object] = {"rounds": rounds, "requests_a_round": requests}
        for name, ask in (("kept", _kept), ("new", _new)):
            direct, through, used = [], [], 0.0
            for _ in range(rounds):
                direct.append(statistics.median(ask(server, requests)))
                before = _processor_seconds(processes[1].pid or 0)
                through.append(statistics.median(ask(spliced, requests)))
                used += _processor_seconds(processes[1].pid or 0) - before
            added = [b - a for a, b in zip(direct, through, strict=True)]
            figures[name] = {
                "direct_ms": round(statistics.median(direct), 3),
                "through_ms": round(statistics.median(through), 3),
                "added_ms": round(statistics.median(added), 3),
                "added_ms_least_and_most": [round(min(added), 3), round(max(added), 3)],
                "activator_cpu_ms_a_request": round(1000 * used / (rounds * requests), 3),
            }
        return figures
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _page(figures: dict[str, Any]) -> str:
    told = f"{figures['rounds']} rounds of {figures['requests_a_round']} requests, direct and through the activator by "
    told += "turns; the median over the rounds of each round's median. Goal: at most 1 ms."
    lines = [
        "# What the activator adds while it splices",
        "",
        told,
        "",
        "| connection | direct, ms | through, ms | added, ms | least and most | the activator's CPU, ms a request |",
        "|---|---|---|---|---|---|",
    ]
    for name, words in (("kept", "kept"), ("new", "a new one for each request")):
        row = figures[name]
        least, most = row["added_ms_least_and_most"]
        lines.append(
            f"| {words} | {row['direct_ms']} | {row['through_ms']} | {row['added_ms']} | {least} to {most} | "
            f"{row['activator_cpu_ms_a_request']} |"
        )
    return "\n".join([*lines, "", "`python -m bench.activator`", ""])


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m bench.activator")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=500)
    given = parser.parse_args()
    figures = measure(given.rounds, given.requests)
    (RESULTS / "activator.json").write_text(json.dumps(figures, indent=2) + "\n")
    (RESULTS / "activator.md").write_text(_page(figures))
    print(_page(figures))


if __name__ == "__main__":
    main()
