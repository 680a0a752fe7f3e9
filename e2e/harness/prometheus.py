"""A real Prometheus in the stage's namespace, which finds pods by their prometheus.io annotations."""

from __future__ import annotations

import json
import urllib.parse
from typing import TYPE_CHECKING, Any

from e2e.harness import manifests
from e2e.harness.release import NAMESPACE

if TYPE_CHECKING:
    from e2e.harness.manifests import Manifest
    from e2e.harness.stage import Stage

_PORT = 9090
#: The usual rules for annotations, as the community's chart has them.
_CONFIGURATION = """\
global: {{scrape_interval: 2s, scrape_timeout: 2s}}
scrape_configs:
  - job_name: pods
    kubernetes_sd_configs: [{{role: pod, namespaces: {{names: [{namespaces}]}}}}]
    relabel_configs:
      - source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_scrape]
        action: keep
        regex: "true"
      - source_labels: [__meta_kubernetes_pod_phase]
        action: keep
        regex: Running
      - source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_path]
        action: replace
        target_label: __metrics_path__
        regex: (.+)
      - source_labels: [__meta_kubernetes_pod_ip, __meta_kubernetes_pod_annotation_prometheus_io_port]
        action: replace
        regex: (.+);(\\d+)
        replacement: $1:$2
        target_label: __address__
      - source_labels: [__meta_kubernetes_namespace]
        target_label: namespace
      - source_labels: [__meta_kubernetes_pod_name]
        target_label: pod
"""


class Prometheus:
    """Scrapes the stage's namespace and the operator's."""

    def __init__(self, stage: Stage) -> None:
        """Refer to the stage's only Prometheus."""
        self._stage = stage

    def start(self) -> None:
        """Start it and wait until it answers."""
        stage = self._stage
        scraped = (stage.namespace, NAMESPACE)
        text = _CONFIGURATION.format(namespaces=", ".join(scraped))
        for namespace in scraped:
            stage.target.kubectl.apply(*self._access(), namespace=namespace)
        stage.apply(
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "prometheus"}},
            manifests.config_map("prometheus", text={"prometheus.yml": text}),
            manifests.pod(
                "prometheus",
                stage.target.image("prometheus"),
                arguments=["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/data"],
                config_maps={"prometheus": "/etc/prometheus"},
                writable={"data": "/data"},
                service_account="prometheus",
                ports=[_PORT],
            ),
            manifests.service("prometheus", _PORT),
        )
        stage.target.kubectl("wait", "pod/prometheus", f"--namespace={stage.namespace}", "--for=condition=Ready")

    def query(self, expression: str) -> dict[str, float]:
        """Return the value of each series, by its labels as text; empty while it starts."""
        path = f"/api/v1/namespaces/{self._stage.namespace}/services/prometheus:{_PORT}/proxy/api/v1/query"
        done = self._stage.target.kubectl.run(
            "get", "--raw", f"{path}?query={urllib.parse.quote(expression)}", check=False
        )
        if done.status != 0:
            return {}
        answer: dict[str, Any] = json.loads(done.stdout)
        return {str(series["metric"]): float(series["value"][1]) for series in answer["data"]["result"]}

    def _access(self) -> list[Manifest]:
        name = f"prometheus-{self._stage.namespace}"
        return [
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "Role",
                "metadata": {"name": name},
                "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}],
            },
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "RoleBinding",
                "metadata": {"name": name},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
                "subjects": [{"kind": "ServiceAccount", "name": "prometheus", "namespace": self._stage.namespace}],
            },
        ]
