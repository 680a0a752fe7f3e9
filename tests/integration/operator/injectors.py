"""Replicas of an operator with its sidecar webhook, asked by the API server over TLS, by the chart's configuration."""

from __future__ import annotations

import base64
import itertools
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from cryptography import x509

from e2e.cluster.node import gotools
from pillion_operator.rbac import manifests
from scripts.chart.install import render
from tests.integration.operator.harness import Api, Object, OperatorProcess, apply, eventually, inference_service

if TYPE_CHECKING:
    from types import TracebackType

    from e2e.cluster.node.apiserver import ControlPlane
    from tests.integration.operator.forwarder import Forwarder

CHART = Path(__file__).parents[3] / "charts" / "pillion"
HOME, APPS = "sidecar-home", "sidecar-apps"
LABEL = "serving.pillion.dev/sidecar"
_CONFIGURATION = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/pillion-sidecar"
_numbers = itertools.count(1)


def pod(service: str | None = "iris", annotations: dict[str, str] | None = None) -> Object:
    security = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"app-{next(_numbers)}",
            "labels": {} if service is None else {LABEL: service},
            "annotations": annotations or {},
        },
        "spec": {"containers": [{"name": "app", "image": "app:1", "securityContext": security}]},
    }


class Injectors:
    """Replicas of an operator with its webhook, behind one address."""

    def __init__(self, kubeconfig: Path, folder: Path, forwarder: Forwarder, **settings: str) -> None:
        self._kubeconfig = kubeconfig
        self._folder = folder
        self._forwarder = forwarder
        self._settings = {
            "namespaces": APPS,
            "lease_namespace": HOME,
            # Shorter than that a busy machine keeps a leader from renewing in time.
            "lease_duration_seconds": "8",
            "lease_renew_deadline_seconds": "5.4",
            "lease_retry_seconds": "0.5",
            "sidecar_injector": "true",
            "webhook_port": "0",
            "webhook_settle_seconds": "2",
            "webhook_hosts": "127.0.0.1,pillion-operator-webhook.sidecar-home.svc",
            **settings,
        }
        self.running: dict[OperatorProcess, int] = {}

    def begin(self, **settings: str) -> OperatorProcess:
        """Start one that is not asked yet."""
        log = self._folder / f"operator-{next(_numbers)}.log"
        process = OperatorProcess(self._kubeconfig, log, **(self._settings | settings))
        self.running[process] = 0
        return process

    def start(self) -> OperatorProcess:
        return self.publish(self.begin())

    def publish(self, process: OperatorProcess) -> OperatorProcess:
        """Have the API server ask it, once it listens."""
        process.wait_logged("the webhook answers on port")
        process.wait_ready()
        line = next(line for line in process.lines() if "webhook answers on port" in line["message"])
        self.running[process] = int(line["message"].rsplit(" ", 1)[1])
        self._point()
        return process

    def stop(self, process: OperatorProcess) -> int:
        """As Kubernetes does: the address leaves the Service while the process is told to end."""
        del self.running[process]
        self._point()
        return process.stop()

    def stop_all(self) -> None:
        for process in list(self.running):
            self.stop(process)

    def _point(self) -> None:
        self._forwarder.lead_to([port for port in self.running.values() if port])


def chart_objects(port: int) -> list[Object]:
    """What the chart installs for the webhook; there is no network of Services here, so its address stands in."""
    arguments = ["--set=sidecarInjector.enabled=true", "--set=scope=namespaced", f"--set=namespaces={{{APPS}}}"]
    made = render(gotools.ensure(["helm"])["helm"], CHART, f"--namespace={HOME}", *arguments)
    wanted = [found for found in made if found["kind"] in {"Secret", "MutatingWebhookConfiguration"}]
    for found in wanted:
        for webhook in found.get("webhooks", []):
            found["metadata"]["name"] = "pillion-sidecar"
            assert webhook["clientConfig"].pop("service")["path"] == "/sidecar"
            webhook["clientConfig"]["url"] = f"https://127.0.0.1:{port}/sidecar"
    return wanted


def install(cluster: ControlPlane, api: Api, forwarder: Forwarder) -> Path:
    """Make the namespaces, what the chart installs, a service, and a kubeconfig with exactly the chart's rights."""
    restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
    for name, labels in ((HOME, {}), (APPS, restricted)):
        apply(cluster, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    cluster.kubectl("create", "serviceaccount", "operator", f"--namespace={HOME}")
    rights = manifests(
        service_account="operator", operator_namespace=HOME, namespaces=(APPS,), name="sidecar", sidecar_injector=True
    )
    apply(cluster, *rights, *chart_objects(forwarder.port))
    eventually(lambda: api.get("ServiceAccount", APPS, "default"))
    api.create(APPS, inference_service())
    return cluster.kubeconfig_for_service_account(HOME, "operator")


def bundle(api: Api) -> list[x509.Certificate]:
    """The CAs that the API server trusts."""
    webhooks = api.send("GET", _CONFIGURATION).json()["webhooks"]
    told = base64.b64decode(webhooks[0]["clientConfig"].get("caBundle", ""))
    return x509.load_pem_x509_certificates(told) if told else []


def create(api: Api, made: Object, namespace: str = APPS) -> Any:
    return api.send("POST", f"/api/v1/namespaces/{namespace}/pods", made)


def admitted(api: Api, made: Object) -> Object:
    """Create it once the API server knows what was written a moment ago."""
    answer = eventually(lambda: (found := create(api, made)).status_code != 500 and found)
    assert answer.status_code == 201, answer.text
    found: Object = answer.json()
    return found


class Creations:
    """Pods that are made one after another until the block ends; `failed` holds what was refused."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._stop = threading.Event()
        self.made = 0
        self.failed: list[str] = []

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            answer = self._api.send("POST", f"/api/v1/namespaces/{APPS}/pods?dryRun=All", pod())
            self.made += 1
            if answer.status_code != 201 or "initContainers" not in answer.json()["spec"]:
                self.failed.append(answer.text)
