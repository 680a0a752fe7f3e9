"""Many InferenceServices at once: how long until every child is there, and what it costs.

    python -m bench.operator_scale --services 100 --output operator.json

etcd, a real API server and one operator run on this machine; no kubelet, and no controllers unless `--controllers`
asks for them. Creation is by eight clients. Times are wall-clock; CPU seconds are of the operator's process and of the
API server's, since on a shared machine they say more. Afterwards: how soon a deleted Deployment is back, and what
an idle operator does in `--idle-seconds`.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from e2e.cluster.node.apiserver import WORKLOADS, ControlPlane
from pillion.resources.crd import KINDS, crd_yaml
from pillion_operator.client.connection import from_kubeconfig

if TYPE_CHECKING:
    from collections.abc import Callable

NAMESPACE = "scale"
SERVICES = f"/apis/serving.pillion.dev/v1beta1/namespaces/{NAMESPACE}/inferenceservices"
CHILDREN = {
    "deployments": f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments",
    "services": f"/api/v1/namespaces/{NAMESPACE}/services",
    "configmaps": f"/api/v1/namespaces/{NAMESPACE}/configmaps",
}
METADATA = {"Accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"}
TICKS = os.sysconf("SC_CLK_TCK")


def client(kubeconfig: Path) -> httpx.Client:
    info = from_kubeconfig(kubeconfig).login()
    return httpx.Client(base_url=info.server, verify=info.as_ssl_context(), timeout=60, trust_env=False)


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def peak_rss_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return round(int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024, 1)


def pid_of(name: str, parent: int) -> int:
    """The child process of this one with that program name."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                command = (entry / "cmdline").read_bytes().split(b"\0")[0].decode()
            except OSError:
                continue
            if int(fields[1]) == parent and command.endswith(name):
                return int(entry.name)
    raise LookupError(name)


def wait(look: Callable[[], object], within: float = 300.0, pause: float = 0.05) -> float:
    """Seconds until `look` is true."""
    started = time.monotonic()
    while not look():
        if time.monotonic() - started > within:
            raise TimeoutError(f"not within {within:g} s")
        time.sleep(pause)
    return time.monotonic() - started


def count(api: httpx.Client, path: str) -> int:
    items = api.get(path, params={"labelSelector": "serving.pillion.dev/inferenceservice"}, headers=METADATA)
    return len(items.raise_for_status().json()["items"] or ())


def has_all(api: httpx.Client, path: str, number: int) -> bool:
    return count(api, path) >= number


def manifest(number: int) -> dict[str, Any]:
    return {
        "apiVersion": "serving.pillion.dev/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": f"iris-{number}"},
        "spec": {"predictor": {"sklearn": {"storageUri": "s3://models/iris"}}},
    }


def requests(port: int) -> dict[str, float]:
    """The operator's own count of its requests: all, and those that change something."""
    totals = {"requests": 0.0, "writes": 0.0, "lease": 0.0}
    for line in httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text.splitlines():
        if line.startswith("pillion_operator_api_requests_total{"):
            number = float(line.rsplit(" ", 1)[1])
            if 'kind="leases"' in line:
                totals["lease"] += number
                continue
            totals["requests"] += number
            if not any(f'verb="{verb}"' in line for verb in ("get", "list", "discover")):
                totals["writes"] += number
    return totals


def run(services: int, workers: int, idle_seconds: float, *, controllers: bool) -> dict[str, Any]:
    with (
        ControlPlane(controllers=WORKLOADS if controllers else ()) as plane,
        tempfile.TemporaryDirectory() as folder,
        client(plane.kubeconfig) as api,
    ):
        for kind in KINDS:
            plane.kubectl("apply", "--server-side", "-f", "-", stdin=crd_yaml(kind))
        plane.kubectl("create", "namespace", NAMESPACE)
        api_server = pid_of("kube-apiserver", os.getpid())
        log = Path(folder, "operator.log")
        with log.open("wb") as output:
            operator = subprocess.Popen(
                [sys.executable, "-m", "pillion_operator", "--kubeconfig", str(plane.kubeconfig)],
                env=os.environ
                | {"PILLION_OPERATOR_HTTP_PORT": "0", "PILLION_OPERATOR_HTTP_HOST": "127.0.0.1"}
                | {"PILLION_OPERATOR_WORKERS": str(workers)},
                stderr=output,
            )
        try:
            return measure(api, operator, api_server, log, services, idle_seconds)
        finally:
            operator.terminate()
            operator.wait(20)


def measure(
    api: httpx.Client,
    operator: subprocess.Popen[bytes],
    api_server: int,
    log: Path,
    services: int,
    idle_seconds: float,
) -> dict[str, Any]:
    wait(lambda: "probes answer on port" in log.read_text())
    message = next(line for line in log.read_text().splitlines() if "probes answer on port" in line)
    port = int(json.loads(message)["message"].rsplit(" ", 1)[1])
    wait(lambda: httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False).status_code == 200)
    wait(lambda: "pillion_operator_leader 1.0" in httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text)
    before = requests(port)
    cpu, server_cpu = cpu_seconds(operator.pid), cpu_seconds(api_server)

    started = time.monotonic()
    creating = threading.Thread(target=create, args=(api, services))
    creating.start()
    for path in CHILDREN.values():
        # Seldom enough that looking is not what is measured.
        wait(functools.partial(has_all, api, path, services), pause=0.25)
    all_children = time.monotonic() - started
    creating.join()
    result: dict[str, Any] = {
        "services": services,
        "seconds_to_all_children": round(all_children, 2),
        "operator_cpu_seconds": round(cpu_seconds(operator.pid) - cpu, 2),
        "apiserver_cpu_seconds": round(cpu_seconds(api_server) - server_cpu, 2),
    }
    settled = wait(lambda: quiet(port), within=120)
    after = requests(port)
    result |= {
        "seconds_until_settled": round(all_children + settled, 2),
        "operator_cpu_seconds_until_settled": round(cpu_seconds(operator.pid) - cpu, 2),
        "writes_per_service": round((after["writes"] - before["writes"]) / services, 2),
        "requests_per_service": round((after["requests"] - before["requests"]) / services, 2),
        "operator_peak_rss_mib": peak_rss_mib(operator.pid),
    }
    result["repair_seconds"] = repairs(api)
    wait(lambda: quiet(port), within=60)
    idle_from, cpu = requests(port), cpu_seconds(operator.pid)
    time.sleep(idle_seconds)
    idle = requests(port)
    result["idle"] = {
        "seconds": idle_seconds,
        "writes_without_lease": idle["writes"] - idle_from["writes"],
        "reads": (idle["requests"] - idle["writes"]) - (idle_from["requests"] - idle_from["writes"]),
        "lease_requests": idle["lease"] - idle_from["lease"],
        "operator_cpu_seconds_a_minute": round((cpu_seconds(operator.pid) - cpu) * 60 / max(idle_seconds, 1), 2),
    }
    return result


def create(api: httpx.Client, services: int) -> None:
    def one(number: int) -> None:
        api.post(SERVICES, json=manifest(number)).raise_for_status()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(services)))


def quiet(port: int) -> bool:
    """Whether nothing but the lease was asked for in half a second."""
    before = requests(port)
    time.sleep(0.5)
    after = requests(port)
    return after["requests"] == before["requests"]


def repairs(api: httpx.Client, rounds: int = 15) -> dict[str, float]:
    seconds = []
    for number in range(rounds):
        path = f"{CHILDREN['deployments']}/iris-{number}-predictor"
        uid = api.get(path).json()["metadata"]["uid"]
        started = time.monotonic()
        api.delete(path).raise_for_status()
        wait(functools.partial(fresh, api, path, uid), pause=0.002)
        seconds.append(time.monotonic() - started)
        time.sleep(0.1)
    return {"median": round(statistics.median(seconds), 3), "worst": round(max(seconds), 3), "rounds": rounds}


def fresh(api: httpx.Client, path: str, uid: str) -> bool:
    answer = api.get(path)
    return answer.status_code == 200 and answer.json()["metadata"]["uid"] != uid


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--services", type=int, default=100)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--idle-seconds", type=float, default=65.0)
    parser.add_argument("--controllers", action="store_true", help="run the Deployment and ReplicaSet controllers too")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    result = run(given.services, given.workers, given.idle_seconds, controllers=given.controllers)
    result["load_average"] = os.getloadavg()[0]
    text = json.dumps(result, indent=2)
    print(text)
    if given.output:
        given.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
