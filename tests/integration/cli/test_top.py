"""`pillion top` against a real API server and operator; the pods are a runtime on this machine, which is under load."""

from __future__ import annotations

import json
import re
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.integration.operator.harness import Api, OperatorProcess, eventually, inference_service
from tests.unit.cli.command import PORTS, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.cluster.node.apiserver import ControlPlane
    from tests.integration.cli.user import User
    from tests.models import IrisModels

READY = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
OWN: dict[str, Any] = {"containers": [{"name": "own", "image": "example.com/own:1"}]}


@pytest.fixture(scope="module")
def ports(iris: IrisModels) -> Iterator[dict[str, int]]:
    """A runtime that answers requests without a pause."""
    ended = threading.Event()
    with serving("--json", f"iris={iris.skops}", *PORTS) as lines:
        found = json.loads(lines[0])["ports"]

        def ask() -> None:
            with httpx.Client(base_url=f"http://127.0.0.1:{found['http']}", trust_env=False) as client:
                while not ended.wait(0.01):
                    client.post(
                        "/v1/models/iris:predict", json={"instances": [[5.1, 3.5, 1.4, 0.2]]}
                    ).raise_for_status()

        caller = threading.Thread(target=ask)
        caller.start()
        yield found
        ended.set()
        caller.join()


def running(api: Api, namespace: str, name: str, number: int) -> None:
    """Play the kubelet for that many pods of a service."""
    selector = f"serving.pillion.dev/inferenceservice={name}"

    def pods() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = api.list("Pod", namespace, labelSelector=selector)
        return found if len(found) >= number else []

    for pod in eventually(pods):
        status = {"status": {"phase": "Running", "conditions": [READY]}}
        api.patch("Pod", namespace, pod["metadata"]["name"], status, subresource="status", manager="kubelet")


def test_what_pods_count_is_shown_for_each_service(
    operator: OperatorProcess, api: Api, user: User, ports: dict[str, int]
) -> None:
    api.create(user.namespace, inference_service("busy", minReplicas=2, sklearn={"storageUri": "s3://models/iris"}))
    own = inference_service("own", **OWN)
    # Requests that come through a transformer are the predictor's.
    own["spec"]["transformer"] = OWN
    api.create(user.namespace, own)
    running(api, user.namespace, "busy", 2)
    running(api, user.namespace, "own", 2)
    log = user.folder / "forwarded.log"
    asking = user.forwarding_to(ports["admin"], log)

    told = asking.types("top", "--seconds", "3", "--json")
    shown = asking.types("top", "--seconds", "3")

    assert 0 == told.returncode, told.stderr
    busy, own = json.loads(told.stdout)["services"]
    assert ("busy", 2, 2, {}) == (busy["name"], busy["replicas"], busy["ready"], busy["unread"])
    assert busy["rps"] > 0
    assert 0 < busy["p95Seconds"] < 30
    # There is one caller, who may wait just now, and both pods are the runtime that it waits for.
    assert busy["queue"] in {0, 1, 2}
    assert ("own", 1, 1, None) == (own["name"], own["replicas"], own["ready"], own["rps"])
    assert ["its runtime is not Pillion's"] == list(own["unread"].values())
    header, first, second = shown.stdout.splitlines()
    assert ["NAME", "REPLICAS", "READY", "IN", "FLIGHT", "QUEUE", "RPS", "P95"] == header.split()
    assert ["busy", "2", "2"] == first.split()[:3]
    assert re.fullmatch(r"busy +2 +2( +[0-9.]+){4}m?s", first)
    assert ["own", "1", "1", "-", "-", "-", "-"] == second.split()
    assert "not counted: pod own-predictor-" in shown.stderr
    assert all(line.endswith(" :8082") for line in log.read_text().splitlines())


def test_a_pod_that_does_not_run_is_counted_as_a_replica_and_named(
    operator: OperatorProcess, api: Api, user: User
) -> None:
    api.create(user.namespace, inference_service("waiting"))
    eventually(lambda: api.list("Pod", user.namespace))

    (service,) = json.loads(user.types("top", "waiting", "--json").stdout)["services"]

    assert (1, 0, None) == (service["replicas"], service["ready"], service["inFlight"])
    assert ["it is not running"] == list(service["unread"].values())


def test_all_namespaces_are_shown_with_their_names(operator: OperatorProcess, api: Api, user: User) -> None:
    api.create(user.namespace, inference_service("far"))

    done = user.types("top", "--all-namespaces", "--seconds", "0.1")

    assert done.stdout.startswith("NAMESPACE ")
    assert [user.namespace, "far"] in [line.split()[:2] for line in done.stdout.splitlines()]


def test_a_namespace_without_services_says_so(user: User) -> None:
    assert "no InferenceServices in this namespace; -A looks everywhere\n" == user.types("top").stdout


def test_who_may_not_read_is_told_which_right_is_missing(cluster: ControlPlane, user: User) -> None:
    done = replace(user, kubeconfig=cluster.kubeconfig_for("jane")).types("top")

    assert (5, True) == (done.returncode, "not allowed (context pillion-integration): inferenceservices" in done.stderr)
