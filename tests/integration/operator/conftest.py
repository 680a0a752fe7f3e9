"""A control plane whose controllers make ReplicaSets and pods, with an audit log; pods are run by nobody."""

from __future__ import annotations

import functools
import http.server
import itertools
import os
import shutil
import threading
from typing import TYPE_CHECKING

import pytest

from e2e.cluster.node.apiserver import AUTOSCALING, WORKLOADS, ControlPlane
from pillion.resources.crd import KINDS, crd_yaml
from pillion_operator.rbac import activator_manifests, manifests
from tests.integration.definitions import wait_until_established
from tests.integration.operator.forwarder import Forwarder
from tests.integration.operator.harness import Api, OperatorProcess, apply, running
from tests.integration.operator.injectors import install

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.models import IrisModels

_AUDIT_POLICY = """
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
"""
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def audit_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("audit") / "audit.log"


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory, audit_log: Path) -> Iterator[ControlPlane]:
    policy = tmp_path_factory.mktemp("policy") / "policy.yaml"
    policy.write_text(_AUDIT_POLICY)
    flags = [f"--audit-policy-file={policy}", f"--audit-log-path={audit_log}", "--audit-log-mode=blocking"]
    # In MiB; by default it begins a new file after 100, and those who read it from its beginning miss the former.
    flags += ["--audit-log-maxsize=100000"]
    # An autoscaler looks every fifteen seconds by default.
    looks = ["--horizontal-pod-autoscaler-sync-period=1s", "--horizontal-pod-autoscaler-cpu-initialization-period=0s"]
    controllers = (*WORKLOADS, *AUTOSCALING, "job-controller")
    with ControlPlane(controllers=controllers, apiserver_flags=flags, controller_flags=looks) as started:
        for kind in KINDS:
            started.kubectl("apply", "--server-side", "-f", "-", stdin=crd_yaml(kind))
        for kind in KINDS:
            wait_until_established(started, kind)
        yield started


@pytest.fixture
def web(tmp_path: Path, iris: IrisModels) -> Iterator[str]:
    """A web server with a model's file, and one that is none; its address."""
    folder = tmp_path / "web"
    folder.mkdir()
    shutil.copy(iris.onnx, folder / "m.onnx")
    (folder / "broken.onnx").write_bytes(b"no model")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def api(cluster: ControlPlane) -> Iterator[Api]:
    api = Api(cluster.kubeconfig)
    yield api
    api.close()


@pytest.fixture
def namespace(cluster: ControlPlane) -> str:
    # Which ports of the activator a service has follows from its name and its namespace's: others may run the same
    # tests on this machine, on a cluster of their own.
    name = f"operator-{os.getpid()}-{next(_numbers)}"
    cluster.create_namespace(name)
    return name


@pytest.fixture(scope="session")
def operator_kubeconfig(cluster: ControlPlane) -> Path:
    """A kubeconfig with exactly the rights that the chart grants for the whole cluster."""
    cluster.kubectl("create", "namespace", "pillion-system")
    cluster.kubectl("create", "serviceaccount", "pillion-operator", "--namespace", "pillion-system")
    apply(cluster, *manifests(service_account="pillion-operator", operator_namespace="pillion-system"))
    return cluster.kubeconfig_for_service_account("pillion-system", "pillion-operator")


@pytest.fixture(scope="session")
def activator_kubeconfig(cluster: ControlPlane, operator_kubeconfig: Path) -> Path:
    """A kubeconfig with exactly the rights that the chart grants the activator for the whole cluster."""
    cluster.kubectl("create", "serviceaccount", "pillion-activator", "--namespace", "pillion-system")
    apply(cluster, *activator_manifests(service_account="pillion-activator", operator_namespace="pillion-system"))
    return cluster.kubeconfig_for_service_account("pillion-system", "pillion-activator")


@pytest.fixture(scope="module")
def operator(operator_kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    """One operator for the whole cluster, under the chart's rights, for the tests of one module."""
    log = tmp_path_factory.mktemp("operator") / "operator.log"
    settings = {"lease_namespace": "pillion-system", "activator_service": "pillion-activator"}
    with running(operator_kubeconfig, log, **settings) as process:
        yield process.wait_leading()


@pytest.fixture(scope="session")
def forwarder() -> Iterator[Forwarder]:
    """The address by which the API server reaches the replicas of a webhook."""
    with Forwarder() as started:
        yield started


@pytest.fixture(scope="session")
def sidecar_kubeconfig(cluster: ControlPlane, api: Api, forwarder: Forwarder) -> Path:
    """A kubeconfig of an operator with the sidecar injector, installed for one namespace of its own."""
    return install(cluster, api, forwarder)
