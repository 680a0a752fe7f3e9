"""What is asked of a socket's client, by whichever library: standard library only, as peers' environments use it, too.

A program gives :func:`main` two functions. ``python PROGRAM serve WHERE`` answers ``/echo`` with what it gets;
``python PROGRAM measure WHERE CALLS`` starts that as a process of its own, asks it, and prints JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import quantiles
from typing import TYPE_CHECKING, Any

from bench.accounts import cpu, family

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

__all__ = ["ROW", "main"]

ROW = [5.1, 3.5, 1.4, 0.2]
TOGETHER = 16


def main(serve: Callable[[str], None], client: Callable[[str], AbstractContextManager[Any]]) -> None:
    """Be the server, or measure.

    Args:
        serve: serves until it is killed, on the path of a unix socket, or on a TCP port of loopback.
        client: a client of that; it has ``request(path, data)`` and ``stream(path, iterable)``.
    """
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
        return
    calls = int(sys.argv[3])
    with tempfile.TemporaryDirectory() as folder:
        where = sys.argv[2] if sys.argv[2].isdigit() else str(Path(folder) / "s")
        server = subprocess.Popen([sys.executable, sys.argv[0], "serve", where])
        try:
            with client(where) as asked:
                print(json.dumps(_measured(asked, calls, server.pid)))
        finally:
            server.kill()
            server.wait()


def _measured(client: Any, calls: int, server: int) -> dict[str, float]:  # noqa: ANN401 - of either library
    found: dict[str, float] = {}
    for _ in range(calls // 20):
        client.request("/echo", ROW)
    times = []
    for _ in range(calls // 5):
        began = time.perf_counter()
        answer = client.request("/echo", ROW)
        times.append(time.perf_counter() - began)
        _check(answer, ROW)
    cuts = quantiles(times, n=100)
    found |= {"p50_us": cuts[49] * 1e6, "p99_us": cuts[98] * 1e6}
    with ThreadPoolExecutor(TOGETHER) as threads:
        list(threads.map(partial(client.request, "/echo"), [ROW] * (calls // 10)))
        found |= _figures(
            "threads", calls, server, lambda rows: threads.map(lambda x: client.request("/echo", x), rows)
        )
    found |= _figures("stream", calls, server, lambda rows: client.stream("/echo", rows))
    return found


def _figures(way: str, calls: int, server: int, work: Callable[[list[Any]], Any]) -> dict[str, float]:
    pids = sorted({*family(os.getpid()), *family(server)})
    before, began = cpu(pids), time.perf_counter()
    answers = list(work([ROW] * calls))
    elapsed, after = time.perf_counter() - began, cpu(pids)
    _check(len(answers), calls)
    _check(answers[-1], ROW)
    return {f"{way}_per_second": calls / elapsed, f"{way}_cpu_us": (after - before) / calls * 1e6}


def _check(answer: object, expected: object) -> None:
    if answer != expected:
        raise SystemExit(f"answered {answer!r} instead of {expected!r}")
