"""A real Prometheus in the stage's namespace, which scrapes the pods that ask for it by prometheus.io annotations.

Debian builds Prometheus without Kubernetes discovery, so the pods are found here, by the rules that everybody uses.
"""

from __future__ import annotations

import json
import urllib.parse
from typing import TYPE_CHECKING, Any

from e2e.harness import manifests
from e2e.harness.release import NAMESPACE

if TYPE_CHECKING:
    from e2e.harness.stage import Stage

_PORT = 9090


class Prometheus:
    """Scrapes the stage's namespace and the operator's."""

    def __init__(self, stage: Stage) -> None:
        """Refer to the stage's only Prometheus."""
        self._stage = stage

    def start(self) -> None:
        """Start it and wait until it answers."""
        stage = self._stage
        configuration = {
            "global": {"scrape_interval": "2s", "scrape_timeout": "2s"},
            "scrape_configs": [{"job_name": "pods", "static_configs": self._discovered()}],
        }
        stage.apply(
            manifests.config_map("prometheus", text={"prometheus.yml": json.dumps(configuration)}),
            manifests.pod(
                "prometheus",
                stage.target.image("prometheus"),
                arguments=["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/data"],
                config_maps={"prometheus": "/etc/prometheus"},
                writable={"data": "/data"},
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

    def _discovered(self) -> list[dict[str, Any]]:
        """What discovery by annotations finds: address, path and labels of each pod that asks to be scraped."""
        found = []
        for namespace in (self._stage.namespace, NAMESPACE):
            for pod in self._stage.target.kubectl.items("pods", f"--namespace={namespace}"):
                marks = pod["metadata"].get("annotations", {})
                if marks.get("prometheus.io/scrape") == "true" and pod["status"].get("podIP"):
                    found.append(
                        {
                            "targets": [f"{pod['status']['podIP']}:{marks['prometheus.io/port']}"],
                            "labels": {
                                "__metrics_path__": marks.get("prometheus.io/path", "/metrics"),
                                "namespace": namespace,
                                "pod": pod["metadata"]["name"],
                            },
                        }
                    )
        return found
