"""The parts of a node and of metrics-server that tests play: pods that are Ready, and the CPU that they use."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
from typing import TYPE_CHECKING, Any

from tests.integration.definitions import eventually as established
from tests.integration.operator.harness import PATHS, Api

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.cluster.node.apiserver import ControlPlane

SELECTOR = "serving.pillion.dev/inferenceservice=iris"
_METRICS = "/apis/metrics.k8s.io/v1beta1/namespaces/{}/pods"

#: metrics-server's kind, kept by the API server itself: the autoscaler's controller cannot tell who serves it.
METRICS_API = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: pods.metrics.k8s.io
  annotations: {api-approved.kubernetes.io: "unapproved, stands in for metrics-server in a test"}
spec:
  group: metrics.k8s.io
  scope: Namespaced
  names: {plural: pods, singular: podmetrics, kind: PodMetrics, listKind: PodMetricsList}
  versions:
    - name: v1beta1
      served: true
      storage: true
      schema:
        openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}
"""


def address(number: int) -> str:
    """An address for a pod, from 0 to 255, of this process alone: others may run the same test on this machine."""
    return f"127.{os.getpid() % 200 + 20}.{os.getpid() // 200 % 250}.{number}"


def now() -> str:
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def pods(api: Api, namespace: str) -> list[dict[str, Any]]:
    """The pods of `iris` that are not on their way out."""
    found = api.list("Pod", namespace, labelSelector=SELECTOR)
    return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]


def make_ready(api: Api, namespace: str, listed: list[dict[str, Any]] | None = None) -> int:
    """Make every pod of `iris` Ready since a minute ago, or those that were listed; return how many there are."""
    since = (dt.datetime.now(dt.UTC) - dt.timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    ready = [{"type": "Ready", "status": "True", "lastTransitionTime": since}]
    found = pods(api, namespace) if listed is None else listed
    for pod in found:
        if pod["status"].get("phase") != "Running":
            status = {"phase": "Running", "startTime": since, "conditions": ready}
            name = pod["metadata"]["name"]
            report(api, namespace, name, status)
    return len(found)


def report(api: Api, namespace: str, name: str, status: dict[str, Any]) -> None:
    """Say how a pod is; nothing where it went since it was listed, as somebody else decides about that."""
    path = f"{PATHS['Pod'].format(namespace)}/{name}/status?fieldManager=kubelet"
    answer = api.send("PATCH", path, {"status": status}, "application/merge-patch+json")
    assert answer.status_code in {200, 404}, answer.text


@contextlib.contextmanager
def metrics_served(cluster: ControlPlane) -> Iterator[None]:
    """A metrics API for the length of the block."""
    cluster.kubectl("apply", "--server-side", "-f", "-", stdin=METRICS_API)
    # It fails at once while the definition has no conditions yet.
    established(lambda: cluster.kubectl("wait", "--for=condition=Established", "crd/pods.metrics.k8s.io"))
    yield
    cluster.kubectl("delete", "-f", "-", "--timeout=100s", stdin=METRICS_API)


def use_cpu(api: Api, namespace: str, millicores: int) -> None:
    """Say of every pod of `iris` that it uses so much CPU."""
    PATHS["PodMetrics"] = _METRICS
    for pod in pods(api, namespace):
        metadata = {"name": pod["metadata"]["name"], "labels": pod["metadata"]["labels"]}
        containers = [{"name": "runtime", "usage": {"cpu": f"{millicores}m", "memory": "64Mi"}}]
        body = {"timestamp": now(), "window": "15s", "containers": containers, "metadata": metadata}
        known = api.get("PodMetrics", namespace, metadata["name"])
        if known is None:
            api.create(namespace, {"apiVersion": "metrics.k8s.io/v1beta1", "kind": "PodMetrics", **body})
        else:
            path = f"{_METRICS.format(namespace)}/{metadata['name']}"
            api.send("PATCH", path, body, "application/merge-patch+json").raise_for_status()
