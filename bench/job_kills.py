"""A server killed at random points of its jobs: whether any is lost, ends twice or is kept twice.

``python -m bench.job_kills [--jobs N] [--kills N] [--seed N]`` writes ``bench/results/job-kills.md`` and ``.json``. A
client hands in N jobs, nine predictions to each training, each with its ``Idempotency-Key``, and asks again with the
same key where it got no answer, as a careful client does. Meanwhile the real ``pillion serve`` is killed (SIGKILL) at
points that a seed draws: half of them from the start of its process, so while it reads its store as well, and half from
its first answer. Then it is left alone until all have ended. Counted: keys without a job or with several, jobs that
nobody handed in, jobs that are not COMPLETED, results that are wrong, ends that changed after they had been seen, and
versions that a training left beside its one.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.process import free_port

RESULTS = Path(__file__).parent / "results"
SERVICE = """
import time
from pillion import Model, Run, Stream, task, train

class Works(Model):
    def load(self, artifact=None):
        pass

    def save(self, path):
        (path / "weights").write_text("w" * 100_000)

    @task
    def work(self, number: int) -> int:
        time.sleep(number % 7 * 0.03)
        return number * number

    @train
    @classmethod
    def fit(cls, data: Stream[int], *, run: Run) -> "Works":
        model = cls()
        found = run.restore()
        for step in range(0 if found is None else found.state["step"] + 1, 4):
            time.sleep(0.03)
            run.checkpoint(model, step=step)
        return model
"""
LONGEST = 1.5
"""Seconds, from the start or the first answer to the kill."""
QUIET = 180.0


class Server:
    """One ``pillion serve`` after the other on one port and one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        (folder / "service.py").write_text(SERVICE)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        # A job is ERRORED after so many losses in a row; here no job is to blame for them.
        limits = {"PILLION_JOBS__MAX_ATTEMPTS": "100", "PILLION_JOBS__TRAININGS": "2"}
        command = ["serve", "service.py:Works", "--data-dir", "data", "--http-port", str(self.port)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pillion.cli.main", *command, "--grpc-port", "0", "--admin-port", "0"],
                cwd=self.folder, env=os.environ | limits, stdout=log, stderr=log,
            )  # fmt: skip

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def ask(self, method: str, path: str, body: object = None, key: str = "") -> tuple[int, Any] | None:
        """Status and answer; None where there was none."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        headers = {"content-type": "application/json"} | ({"idempotency-key": key} if key else {})
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError):
            return None
        finally:
            connection.close()

    def insist(self, method: str, path: str, body: object = None, key: str = "") -> tuple[int, Any]:
        """Asked until there is an answer that says something of the request."""
        deadline = time.monotonic() + QUIET
        while time.monotonic() < deadline:
            answer = self.ask(method, path, body, key)
            if answer is not None and answer[0] not in (429, 503):
                return answer
            time.sleep(0.05)
        raise TimeoutError(f"{method} {path}: no answer in {QUIET} s")


def hand_in(server: Server, numbers: list[int], told: dict[int, set[str]], paced: float) -> None:
    """Each job until its id has been told; every fifth once more, as a client does that lost its answer."""
    for number in numbers:
        if number % 10 == 9:
            path, field = "/api/v1/WorkWorksTrain", "training_id"
            body: dict[str, Any] = {"model_name": f"model-{number}", "parameters": {"data": [number]}}
        else:
            path, field, body = "/api/v1/task/work/job", "prediction_id", {"inputs": number}
        for _ in range(2 if number % 5 == 0 else 1):
            status, answer = server.insist("POST", path, body, f"job-{number}")
            assert status == 202, answer
            told[number].add(answer[field])
        time.sleep(paced)


def listed(server: Server) -> dict[str, Any] | None:
    """Every job by its id; None while nobody answers."""
    answer = server.ask("GET", "/management/jobs?limit=1000")
    if answer is None or answer[0] != 200:
        return None
    return {one.get("prediction_id") or one["training_id"]: one for one in answer[1]["jobs"]}


def run(folder: Path, jobs: int, kills: int, seed: int) -> dict[str, Any]:
    """Do all of it; what was counted."""
    draw = random.Random(seed)
    server = Server(folder)
    told: dict[int, set[str]] = {number: set() for number in range(jobs)}
    ends: dict[str, Any] = {}
    changed = 0
    # Handed in over the whole time, so that kills meet jobs at all ages.
    paced = 0.6 * kills * LONGEST / jobs
    client = threading.Thread(target=hand_in, args=(server, list(range(jobs)), told, paced))
    began = time.monotonic()
    server.start()
    client.start()
    try:
        for _ in range(kills):
            if draw.random() < 0.5:
                server.insist("GET", "/management/jobs?limit=1")
            moment = time.monotonic() + draw.uniform(0.0, LONGEST)
            while (left := moment - time.monotonic()) > 0:
                with suppress(TimeoutError):
                    changed += _compare(ends, listed(server) or {})
                time.sleep(min(left, 0.2))
            server.kill()
            server.start()
        client.join(QUIET)
        assert not client.is_alive()
        after = _settled(server)
        changed += _compare(ends, after)
        return {
            "jobs": jobs,
            "kills": kills,
            "seed": seed,
            "seconds": round(time.monotonic() - began, 1),
            "runs": sum(one["attempts"] for one in after.values()),
            **_judged(server, told, after),
            "ends_changed": changed,
        }
    finally:
        server.kill()


def _compare(ends: dict[str, Any], seen: dict[str, Any]) -> int:
    """How many jobs differ from how they had ended; ends are remembered."""
    different = sum(ends[identity] != seen.get(identity) for identity in ends) if seen else 0
    ends |= {identity: one for identity, one in seen.items() if one["state"] not in ("QUEUED", "RUNNING")}
    return different


def _settled(server: Server) -> dict[str, Any]:
    deadline = time.monotonic() + QUIET
    while time.monotonic() < deadline:
        found = listed(server)
        if found and all(one["state"] not in ("QUEUED", "RUNNING") for one in found.values()):
            return found
        time.sleep(0.1)
    raise TimeoutError(f"jobs still run after {QUIET} s: {found}")


def _judged(server: Server, told: dict[int, set[str]], after: dict[str, Any]) -> dict[str, int]:
    wrong = versions = 0
    for number, identities in told.items():
        for identity in identities & after.keys():
            if after[identity]["kind"] == "training":
                own = Path(after[identity].get("details", {}).get("path", "/nowhere/at/all"))  # NAME/VERSION/files
                made = [one for one in own.parents[1].glob("*") if (one / "files").is_dir()]
                versions += len(made) != 1
            else:
                path = f"/api/v1/task/work/job/results?prediction_id={identity}"
                wrong += server.insist("GET", path) != (200, number * number)
    known = set().union(*told.values())
    return {
        "keys_without_a_job": sum(not identities & after.keys() for identities in told.values()),
        "keys_with_several_jobs": sum(len(identities) > 1 for identities in told.values()),
        "promised_and_gone": len(known - after.keys()),
        "of_nobody": len(after.keys() - known),
        "not_completed": sum(one["state"] != "COMPLETED" for one in after.values()),
        "wrong_results": wrong,
        "versions_too_many_or_few": versions,
    }


FAULTS = (
    "keys_without_a_job", "keys_with_several_jobs", "promised_and_gone", "of_nobody", "not_completed", "wrong_results",
    "versions_too_many_or_few", "ends_changed",
)  # fmt: skip


def report(found: dict[str, Any]) -> str:
    """Markdown."""
    rows = [f"| {fault.replace('_', ' ')} | {found[fault]} |" for fault in FAULTS]
    where = f"Python {platform.python_version()}, {os.cpu_count()} CPUs, seed {found['seed']}"
    lines = [
        "# Jobs: a server that is killed",
        "",
        (__doc__ or "").partition("\n\n")[2].strip(),
        "",
        f"{where}: {found['kills']} kills while {found['jobs']} jobs were done, in {found['seconds']} s.",
        "",
        "| | jobs |",
        "|---|---|",
        *rows,
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=100)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=20261126)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pillion-job-kills-") as folder:
        found = run(Path(folder), options.jobs, options.kills, options.seed)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "job-kills.json").write_text(json.dumps(found, indent=1) + "\n")
    (RESULTS / "job-kills.md").write_text(report(found))
    print(report(found))
    sys.exit(any(found[fault] for fault in FAULTS))


if __name__ == "__main__":
    main()
