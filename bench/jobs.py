"""Whether a long queue makes the next job slow: ``python -m bench.jobs``; writes ``bench/results/jobs.md`` and json.

A real ``pillion serve`` whose one place for prediction jobs is taken by a job that sleeps, so that everything submitted
waits. At 100, 1,000 and 10,000 waiting jobs: 200 more submissions, 200 looks at one job, and 200 pages of 100 jobs
from the middle of the list, one after the other over one connection. Every submission is synchronised to disk before
it is answered, so beside it stands what a synchronised write of a page costs on the same disk.
"""

from __future__ import annotations

import http.client
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.process import free_port

if TYPE_CHECKING:
    from collections.abc import Callable

RESULTS = Path(__file__).parent / "results"
SIZES = (100, 1_000, 10_000)
SAMPLES = 200
SERVICE = """
import time
from pillion import Model, task

class Waits(Model):
    @task
    def wait(self, seconds: float) -> float:
        time.sleep(seconds)
        return seconds
"""


class Client:
    """One connection, kept."""

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        sent = None if body is None else json.dumps(body)
        self.connection.request(method, path, sent, {"content-type": "application/json"} if sent else {})
        answer = self.connection.getresponse()
        content = answer.read()
        assert answer.status in (200, 202), content
        found: dict[str, Any] = json.loads(content)
        return found

    def submit(self, seconds: float = 0.0) -> str:
        identity: str = self.ask("POST", "/api/v1/task/wait/job", {"inputs": seconds})["prediction_id"]
        return identity


def timed(work: Callable[[], object]) -> dict[str, float]:
    """Milliseconds of each call, in the middle and at the end."""
    times = []
    for _ in range(SAMPLES):
        began = time.perf_counter()
        work()
        times.append((time.perf_counter() - began) * 1000)
    times.sort()
    return {"p50": round(statistics.median(times), 3), "p99": round(times[int(SAMPLES * 0.99) - 1], 3)}


def synced(folder: Path) -> dict[str, float]:
    with (folder / "page").open("wb", buffering=0) as out:

        def write() -> None:
            out.write(b"\0" * 4096)
            os.fdatasync(out.fileno())

        return timed(write)


def measure(folder: Path) -> dict[str, Any]:
    (folder / "service.py").write_text(SERVICE)
    port = free_port()
    server = subprocess.Popen(
        [
            sys.executable, "-m", "pillion.cli.main", "serve", "service.py:Waits", "--data-dir", "data",
            "--http-port", str(port), "--grpc-port", "0", "--admin-port", "0", "--json",
        ],
        cwd=folder,
        env=os.environ | {"PILLION_JOBS__PREDICTIONS": "1", "PILLION_DRAIN__GRACE_SECONDS": "0.1"},
        stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert server.stdout is not None
        assert b"ready" in server.stdout.readline()
        client = Client(port)
        client.submit(3600)
        found: dict[str, Any] = {}
        waiting, last = 0, ""
        for size in SIZES:
            while waiting < size:
                last = client.submit()
                waiting += 1
            total = client.ask("GET", "/management/jobs?limit=1")["jobs"]
            assert len(total) == 1
            middle = int(client.ask("GET", "/management/jobs?limit=1")["next"]) // 2 + 1
            path = f"/management/jobs?state=QUEUED&limit=100&after={max(102, middle)}"
            assert len(client.ask("GET", path)["jobs"]) == 100
            one = f"/api/v1/task/wait/job?prediction_id={last}"
            found[str(size)] = {
                "page": timed(lambda path=path: client.ask("GET", path)),  # type: ignore[misc]  # bound now
                "look": timed(lambda one=one: client.ask("GET", one)),  # type: ignore[misc]  # as above
                "submit": timed(client.submit),
            }
            waiting += SAMPLES
        return found
    finally:
        server.terminate()
        server.wait(20)


def table(found: dict[str, Any]) -> str:
    rows = [
        "# Jobs: a long queue",
        "",
        (__doc__ or "").partition("\n\n")[2].strip(),
        "",
        f"Python {platform.python_version()}, {os.cpu_count()} CPUs; milliseconds. A synchronised write of 4 KiB on",
        f"that disk: {found['sync']['p50']} (p99 {found['sync']['p99']}).",
        "",
        "| jobs that wait | submit p50 | p99 | look p50 | p99 | page of 100 p50 | p99 |",
        "|---|---|---|---|---|---|---|",
    ]
    for size in SIZES:
        one = found["jobs"][str(size)]
        cells = (f"{one[what][share]}" for what in ("submit", "look", "page") for share in ("p50", "p99"))
        rows.append(f"| {size:,} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="pillion-jobs-"))
    try:
        found = {"sync": synced(folder), "jobs": measure(folder)}
    finally:
        shutil.rmtree(folder)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "jobs.json").write_text(json.dumps(found, indent=1) + "\n")
    (RESULTS / "jobs.md").write_text(table(found))
    print(table(found))


if __name__ == "__main__":
    main()
