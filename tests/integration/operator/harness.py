"""Real operator processes against a real API server, and what tests ask of both."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
import yaml

from pillion_operator.client.connection import from_kubeconfig
from tests.waiting import WITHIN, until_now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from e2e.cluster.node.apiserver import ControlPlane

T = TypeVar("T")
_STILL_LOOKS = 3
Object = dict[str, Any]

PILLION = "/apis/serving.pillion.dev/v1beta1"
PATHS = {
    "InferenceService": f"{PILLION}/namespaces/{{}}/inferenceservices",
    "ServingRuntime": f"{PILLION}/namespaces/{{}}/servingruntimes",
    "Model": f"{PILLION}/namespaces/{{}}/models",
    "TrainingJob": f"{PILLION}/namespaces/{{}}/trainingjobs",
    "BatchPrediction": f"{PILLION}/namespaces/{{}}/batchpredictions",
    "Job": "/apis/batch/v1/namespaces/{}/jobs",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "ReplicaSet": "/apis/apps/v1/namespaces/{}/replicasets",
    "ControllerRevision": "/apis/apps/v1/namespaces/{}/controllerrevisions",
    "Service": "/api/v1/namespaces/{}/services",
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "PodDisruptionBudget": "/apis/policy/v1/namespaces/{}/poddisruptionbudgets",
    "HorizontalPodAutoscaler": "/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
    "ServiceMonitor": "/apis/monitoring.coreos.com/v1/namespaces/{}/servicemonitors",
    "PodMonitor": "/apis/monitoring.coreos.com/v1/namespaces/{}/podmonitors",
    "Ingress": "/apis/networking.k8s.io/v1/namespaces/{}/ingresses",
    "Gateway": "/apis/gateway.networking.k8s.io/v1/namespaces/{}/gateways",
    "HTTPRoute": "/apis/gateway.networking.k8s.io/v1/namespaces/{}/httproutes",
    "GRPCRoute": "/apis/gateway.networking.k8s.io/v1/namespaces/{}/grpcroutes",
    "TLSRoute": "/apis/gateway.networking.k8s.io/v1/namespaces/{}/tlsroutes",
    "Certificate": "/apis/cert-manager.io/v1/namespaces/{}/certificates",
    "Pod": "/api/v1/namespaces/{}/pods",
    "Secret": "/api/v1/namespaces/{}/secrets",
    "Event": "/api/v1/namespaces/{}/events",
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "ResourceQuota": "/api/v1/namespaces/{}/resourcequotas",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
    "Lease": "/apis/coordination.k8s.io/v1/namespaces/{}/leases",
}


class Api:
    """The API server as a user of some kubeconfig sees it."""

    def __init__(self, kubeconfig: Path) -> None:
        info = from_kubeconfig(kubeconfig).login()
        self._http = httpx.Client(
            base_url=info.server,
            headers=dict(info.as_http_headers()),
            verify=info.as_ssl_context(),
            timeout=60,
            trust_env=False,
        )

    def close(self) -> None:
        self._http.close()

    def send(
        self, method: str, path: str, body: object = None, content_type: str = "application/json"
    ) -> httpx.Response:
        content = None if body is None else json.dumps(body)
        return self._http.request(method, path, content=content, headers={"Content-Type": content_type})

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        answer = self.send("GET", f"{PATHS[kind].format(namespace)}/{name}")
        if answer.status_code == 404:
            return None
        answer.raise_for_status()
        found: Object = answer.json()
        return found

    def list(self, kind: str, namespace: str, **params: str) -> list[Object]:
        query = "&".join(f"{name}={value}" for name, value in params.items())
        answer = self.send("GET", f"{PATHS[kind].format(namespace)}?{query}")
        answer.raise_for_status()
        items: list[Object] = answer.json()["items"]
        return items

    def create(self, namespace: str, manifest: Object) -> Object:
        answer = self.send("POST", PATHS[manifest["kind"]].format(namespace), manifest)
        assert answer.status_code == 201, answer.text
        created: Object = answer.json()
        return created

    def patch(
        self, kind: str, namespace: str, name: str, patch: Object, *, subresource: str = "", manager: str = "somebody"
    ) -> Object:
        path = f"{PATHS[kind].format(namespace)}/{name}" + (f"/{subresource}" if subresource else "")
        kind_of_patch = (
            "merge-patch"
            if subresource or kind in {"InferenceService", "Model", "TrainingJob", "BatchPrediction"}
            else "strategic-merge-patch"
        )
        answer = self.send("PATCH", f"{path}?fieldManager={manager}", patch, f"application/{kind_of_patch}+json")
        assert answer.status_code == 200, answer.text
        patched: Object = answer.json()
        return patched

    def history(self, kind: str, namespace: str, since: str) -> tuple[Object, ...]:
        """Every state of the objects that was stored after that resource version: a watch replays them all.

        The watch ends after a second, and a busy server may not have come to the newest by then: it is asked anew.
        """

        def version(found: Object) -> int:
            return int(found["metadata"]["resourceVersion"])

        def look() -> list[tuple[Object, ...]]:
            newest = {version(found) for found in self.list(kind, namespace) if version(found) > int(since)}
            path = f"{PATHS[kind].format(namespace)}?watch=1&resourceVersion={since}&timeoutSeconds=1"
            answer = self.send("GET", path)
            answer.raise_for_status()
            states = tuple(json.loads(line)["object"] for line in answer.text.splitlines())
            return [states] if newest <= {version(found) for found in states} else []

        return eventually(look)[0]

    def delete(self, kind: str, namespace: str, name: str) -> None:
        self.send("DELETE", f"{PATHS[kind].format(namespace)}/{name}").raise_for_status()


def eventually(look: Callable[[], T], *, within: float = WITHIN, pause: float | None = None) -> T:
    """Return the first value of `look` that is true; fail with the last one after the deadline."""
    return until_now(look, within, pause)


def condition(service: Object | None, kind: str) -> Object:
    conditions = ((service or {}).get("status") or {}).get("conditions") or []
    return next((c for c in conditions if c["type"] == kind), {})


def inference_service(name: str = "iris", *, annotations: dict[str, str] | None = None, **predictor: Any) -> Object:
    predictor = predictor or {"sklearn": {"storageUri": "s3://models/iris"}}
    return {
        "apiVersion": "serving.pillion.dev/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name, "annotations": annotations or {}},
        "spec": {"predictor": predictor},
    }


def training_job(name: str = "digits", **spec: Any) -> Object:
    wanted = {
        "module": "/code/digits.py:Digits",
        "dataset": {"uri": "s3://data/digits.jsonl"},
        "output": {"uri": "s3://models/out"},
        **spec,
    }
    return {
        "apiVersion": "serving.pillion.dev/v1beta1",
        "kind": "TrainingJob",
        "metadata": {"name": name},
        "spec": {field: value for field, value in wanted.items() if value is not None},
    }


def batch_prediction(name: str = "iris", **spec: Any) -> Object:
    wanted = {
        "model": {"storageUri": "s3://models/iris", "modelFormat": {"name": "sklearn"}},
        "input": {"uri": "s3://data/flowers/*.csv"},
        "output": {"uri": "s3://data/predicted"},
        **spec,
    }
    return {
        "apiVersion": "serving.pillion.dev/v1beta1",
        "kind": "BatchPrediction",
        "metadata": {"name": name},
        "spec": {field: value for field, value in wanted.items() if value is not None},
    }


class OperatorProcess:
    """`pillion-operator` as a child process.

    It lists what it watches every ten minutes and not every one, so that no test waits long enough for that to make up
    for a change that it should have been told of: a test of what is only found by listing says how often.
    """

    def __init__(self, kubeconfig: Path, log: Path, **settings: str) -> None:
        self.log_path = log
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PILLION_")}
        environment |= {f"PILLION_OPERATOR_{name.upper()}": value for name, value in settings.items()}
        environment["PILLION_OPERATOR_HTTP_PORT"] = settings.get("http_port", "0")
        environment["PILLION_OPERATOR_HTTP_HOST"] = "127.0.0.1"
        environment.setdefault("PILLION_OPERATOR_LEASE_NAMESPACE", "default")
        environment.setdefault("PILLION_OPERATOR_RESYNC_SECONDS", "600")
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pillion_operator", "--kubeconfig", str(kubeconfig)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self._port = 0

    @property
    def pid(self) -> int:
        return self._process.pid

    def log(self) -> str:
        return self.log_path.read_text()

    def lines(self) -> list[Object]:
        lines = self.log().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("\n")]

    def wait_logged(self, text: str, within: float = WITHIN) -> None:
        def look() -> bool:
            if text in self.log():
                return True
            assert self._process.poll() is None, f"the operator ended with {self._process.returncode}:\n{self.log()}"
            return False

        eventually(look, within=within)

    def wait_ready(self) -> OperatorProcess:
        self.wait_logged("metrics and probes answer on port")
        eventually(lambda: self.probe("/readyz")[0] == 200)
        return self

    def wait_leading(self) -> OperatorProcess:
        self.wait_ready()
        eventually(lambda: self.metric("pillion_operator_leader") == 1)
        return self

    @property
    def port(self) -> int:
        if not self._port:
            line = next(line for line in self.lines() if "probes answer on port" in line["message"])
            self._port = int(line["message"].rsplit(" ", 1)[1])
        return self._port

    def probe(self, path: str) -> tuple[int, str]:
        answer = httpx.get(f"http://127.0.0.1:{self.port}{path}", trust_env=False, timeout=60)
        return answer.status_code, answer.text

    def metric(self, name: str, **labels: str) -> float:
        """The sum over all label sets that have these labels."""
        return _sum(self.probe("/metrics")[1], name, **labels)

    def writes(self) -> float:
        """Requests that changed something, the lease aside. One scrape: the lease is renewed between any two."""
        return _writes(self.probe("/metrics")[1])

    def at_rest(self) -> tuple[float, float]:
        """Writes and reconciles so far, once what went before is through.

        That is where no service waits for a worker, and for three seconds there was neither a write nor a reconcile
        nor a change of anything that is watched: the controllers of the cluster take their time, and what they do is
        written down here in turn. Of the whole operator: what is asked of one namespace is `auditing.Writes`' to say.
        """
        seen: list[tuple[float, ...]] = []

        def look() -> tuple[float, float] | None:
            text = self.probe("/metrics")[1]
            counters = ("pillion_operator_reconciles_total", "pillion_operator_watch_events_total")
            seen.append((_writes(text), *(_sum(text, name) for name in counters)))
            still = len(seen) > _STILL_LOOKS and len(set(seen[-_STILL_LOOKS - 1 :])) == 1
            return (seen[-1][0], seen[-1][1]) if still and not _sum(text, "pillion_operator_queue_depth") else None

        counts = eventually(look, pause=1.0)
        assert counts is not None
        return counts

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self, within: float = WITHIN) -> int:
        return self._process.wait(within)

    def stop(self) -> int:
        """End it in an orderly way and return its exit code."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
        try:
            return self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise


def _writes(text: str) -> float:
    name = "pillion_operator_api_requests_total"
    verbs = ("apply", "create", "delete", "patch", "patch status", "patch scale", "update")
    leases = sum(_sum(text, name, verb=verb, kind="leases") for verb in ("create", "update"))
    return sum(_sum(text, name, verb=verb) for verb in verbs) - leases


def _sum(text: str, name: str, **labels: str) -> float:
    total = 0.0
    for line in text.splitlines():
        if line.startswith((f"{name} ", f"{name}{{")) and all(f'{k}="{v}"' in line for k, v in labels.items()):
            total += float(line.rsplit(" ", 1)[1])
    return total


@contextlib.contextmanager
def running(kubeconfig: Path, log: Path, **settings: str) -> Iterator[OperatorProcess]:
    """An operator process that is ended with the block."""
    process = OperatorProcess(kubeconfig, log, **settings)
    try:
        yield process
    except AssertionError as error:
        error.add_note(f"the operator said:\n{process.log()[-20_000:]}")
        raise
    finally:
        process.stop()


def audited(log: Path, user: str, since: int = 0) -> list[Object]:
    """What the API server took note of in its audit log of requests of a user; a line under way is not whole yet.

    From the byte ``since`` on, which begins a line.
    """
    with log.open("rb") as file:
        file.seek(since)
        lines = file.read().decode().splitlines(keepends=True)
    return [json.loads(line) for line in lines if user in line and line.endswith("\n")]


def apply(control_plane: ControlPlane, *manifests: Object) -> None:
    text = yaml.safe_dump_all(manifests)
    control_plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)
