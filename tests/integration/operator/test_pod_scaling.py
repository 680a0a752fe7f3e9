"""Scaling on what pods count themselves: a real operator, a real API server, and pods that answer on real sockets."""

from __future__ import annotations

import contextlib
import http.server
import threading
from typing import TYPE_CHECKING

import pytest

from tests.integration.operator.harness import Api, OperatorProcess, eventually
from tests.integration.operator.kubelet import address, make_ready, pods, report
from tests.integration.operator.scaled import autoscaler, change, create, replicas, scaling
from tests.integration.operator.test_autoscaling import counts_since, version

if TYPE_CHECKING:
    from collections.abc import Iterator


_ADMIN_PORT = 8082


class CountingPods:
    """Every pod of `iris`, at an address of its own, with the same load, or with its share of what all have."""

    def __init__(self, at: int = 1) -> None:
        self._at = at
        self._servers: dict[str, http.server.ThreadingHTTPServer] = {}
        self.in_progress = 0.0
        self.in_all: float | None = None
        self.asked = 0

    def ready(self, api: Api, namespace: str) -> int:
        """Give every pod an address at which it answers, and make it Ready."""
        found = pods(api, namespace)
        for pod in found:
            name = pod["metadata"]["name"]
            if name not in self._servers:
                ip = address(self._at * 10 + len(self._servers))
                self._servers[name] = self._serve(ip, name)
                report(api, namespace, name, {"podIP": ip, "podIPs": [{"ip": ip}]})
        # No others: one that came meanwhile has no address yet, and would be Ready without.
        return make_ready(api, namespace, found)

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """Each has a request in progress while the block runs."""
        before, self.in_progress = self.in_progress, max(self.in_progress, 1)
        yield
        self.in_progress = before

    def silence(self) -> None:
        for server in self._servers.values():
            server.shutdown()
            server.server_close()

    def text(self, pod: str) -> str:
        """What a pod counts."""
        del pod
        load = self.in_progress if self.in_all is None else self.in_all / len(self._servers)
        return f'pillion_in_flight{{model="m"}} {load}\n'

    def _serve(self, ip: str, pod: str) -> http.server.ThreadingHTTPServer:
        counting = self

        class Admin(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                counting.asked += 1
                text = f'pillion_build_info{{version="1"}} 1.0\n{counting.text(pod)}'
                self.send_response(200)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
                """Say nothing."""

        server = http.server.ThreadingHTTPServer((ip, _ADMIN_PORT), Admin)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server


@pytest.fixture
def counting() -> Iterator[CountingPods]:
    found = CountingPods()
    with contextlib.ExitStack() as stack:
        stack.callback(found.silence)
        yield found


def running(api: Api, namespace: str, counting: CountingPods, count: int) -> None:
    """Wait until so many pods are asked for; those that come answer and are Ready."""

    def look() -> bool:
        return counting.ready(api, namespace) == count == replicas(api, namespace)

    eventually(look, pause=0.2)


def test_requests_in_progress_make_more_pods_and_the_condition_says_by_which_figures(
    operator: OperatorProcess, api: Api, namespace: str, counting: CountingPods
) -> None:
    create(api, namespace, minReplicas=1, maxReplicas=6, scaleMetric="concurrency", scaleTarget=10)
    running(api, namespace, counting, 1)
    counting.in_all = 25

    running(api, namespace, counting, 3)

    assert autoscaler(api, namespace) is None
    message = scaling(api, namespace, "Autoscaling")["message"]
    assert "Between 1 and 6 pods, by requests in progress" in message
    # Only the count was written, as any scaler writes it.
    deployment = api.get("Deployment", namespace, "iris-predictor")
    assert deployment is not None
    owned = [entry["fieldsV1"].get("f:spec", {}) for entry in deployment["metadata"]["managedFields"]]
    assert not [fields for fields in owned if "f:replicas" in fields]


def test_load_that_goes_takes_pods_away_as_fast_as_the_manifest_allows(
    operator: OperatorProcess, api: Api, namespace: str, counting: CountingPods
) -> None:
    behavior = {
        "scaleDown": {
            "stabilizationWindowSeconds": 0,
            "policies": [{"type": "Pods", "value": 1, "periodSeconds": 1}],
        }
    }
    create(
        api, namespace, minReplicas=1, maxReplicas=4, scaleMetric="concurrency", scaleTarget=10,
        autoScaling={"behavior": behavior},
    )  # fmt: skip
    running(api, namespace, counting, 1)
    scaled = api.patch("Deployment", namespace, "iris-predictor", {"spec": {"replicas": 3}}, subresource="scale")

    running(api, namespace, counting, 1)

    since = scaled["metadata"]["resourceVersion"]
    seen = [3, *(wanted for wanted, _ in counts_since(api, namespace, since))]
    assert {3, 2, 1} == set(seen)
    assert seen == sorted(seen, reverse=True)


def test_another_metric_hands_the_count_over_and_back_without_taking_a_pod(
    operator: OperatorProcess, api: Api, namespace: str, counting: CountingPods
) -> None:
    create(api, namespace, minReplicas=1, maxReplicas=6, scaleMetric="concurrency", scaleTarget=10)
    running(api, namespace, counting, 1)
    counting.in_all = 25
    running(api, namespace, counting, 3)
    since = version(api, namespace)

    change(api, namespace, scaleMetric="cpu", scaleTarget=50)
    eventually(lambda: autoscaler(api, namespace))
    change(api, namespace, scaleMetric="concurrency", scaleTarget=10)
    eventually(lambda: autoscaler(api, namespace) is None)
    scaling(api, namespace, "Autoscaling")

    assert [] == [wanted for wanted, _ in counts_since(api, namespace, since) if wanted < 3]


def test_pods_that_do_not_answer_keep_the_count_and_the_condition_says_so(
    operator: OperatorProcess, api: Api, namespace: str, counting: CountingPods
) -> None:
    create(api, namespace, minReplicas=1, maxReplicas=6, scaleMetric="rps", scaleTarget=10)
    running(api, namespace, counting, 1)
    counting.silence()
    api.patch("Deployment", namespace, "iris-predictor", {"spec": {"replicas": 2}}, subresource="scale")

    found = scaling(api, namespace, "MetricsUnavailable")

    assert "False" == found["status"]
    assert "no Ready pod tells the operator what it counts" in found["message"]
    assert "8082" in found["message"]
    assert 2 == replicas(api, namespace)
