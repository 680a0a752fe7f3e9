"""A model that gives back what it gets, in mpservice's worker process; prints what was measured as JSON.

Run by the peer's interpreter: ``python echo.py CALLS CONCURRENCY WAY``. ``call`` is asked by CONCURRENCY threads at a
time, ``stream`` goes over one iterator.
"""

from __future__ import annotations

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from mpservice.mpserver import ProcessServlet, Server, Worker

from bench.accounts import cpu, family

ROW = [5.1, 3.5, 1.4, 0.2]


class Echo(Worker):
    """The model."""

    def call(self, x: list[float]) -> list[float]:
        """See the module's docstring."""
        return x


def main() -> None:
    """Warm up, measure, print."""
    calls, concurrency, way = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    with Server(ProcessServlet(Echo)) as server, ThreadPoolExecutor(concurrency) as threads:

        def work(count: int) -> list[list[float]]:
            rows = [ROW] * count
            return list(server.stream(rows) if way == "stream" else threads.map(server.call, rows))

        work(calls // 10)
        pids = family(os.getpid())
        before, began = cpu(pids), time.perf_counter()
        answers = work(calls)
        elapsed, after = time.perf_counter() - began, cpu(pids)
    if answers != [ROW] * calls:
        raise SystemExit("mpservice answered something wrong")
    print(json.dumps({"per_second": calls / elapsed, "cpu_us": (after - before) / calls * 1e6, "processes": len(pids)}))


if __name__ == "__main__":
    main()
