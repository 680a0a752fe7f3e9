"""A real Gateway: Envoy Gateway from its own chart, with Envoy behind it, and what listens at the edge of the cluster.

The definitions of the Gateway API are those of its standard channel, and they and the Gateway go with the block. Where
a cluster has them already they are somebody's, and are neither changed nor deleted.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from e2e.cluster.node import gosources
from e2e.harness import manifests
from e2e.harness.release import ensure_namespace
from e2e.harness.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from e2e.harness.certificates import Pair
    from e2e.harness.manifests import Manifest
    from e2e.harness.target import Target

NAMESPACE = "pillion-e2e-edge"
NAME = "edge"
#: Of the listener that hands TLS on to the pods.
PASSTHROUGH_PORT = 8443
_RELEASE = "pillion-e2e-gateway"
#: Not the usual one: a cluster of somebody else may run Envoy Gateway as well.
_CONTROLLER = "pillion.dev/e2e-gateway"
_API = "gateway.networking.k8s.io/v1"
_SECRET = "edge-tls"


@dataclass(frozen=True, slots=True)
class Edge:
    """A Gateway that listens: the sections `http`, `https` for hosts of one domain, and `passthrough`."""

    #: Where all of its listeners are.
    address: str

    def reference(self, section: str | None = None) -> Manifest:
        """Return `spec.networking.gateway` of a service that is to be reached by it."""
        return {"name": NAME, "namespace": NAMESPACE, **({"sectionName": section} if section else {})}


def unlimited(route: str) -> Manifest:
    """Return the policy by which Envoy Gateway leaves calls by a GRPCRoute the time that they take."""
    return {
        "apiVersion": "gateway.envoyproxy.io/v1alpha1",
        "kind": "BackendTrafficPolicy",
        "metadata": {"name": route},
        "spec": {
            "targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "GRPCRoute", "name": route}],
            "timeout": {"http": {"requestTimeout": "0s"}},
        },
    }


@contextlib.contextmanager
def gateway(target: Target, domain: str, certificate: Pair) -> Iterator[Edge]:
    """Run a Gateway that ends TLS of `*.domain` with the certificate, until the end of the block."""
    kubectl = target.kubectl
    image = target.image("gateway")
    ours = _definitions(target)
    for file in ours:
        kubectl("apply", "--server-side", f"--filename={file}")
    ensure_namespace(target, NAMESPACE, standard="privileged")
    try:
        with tempfile.TemporaryDirectory(prefix="pillion-gateway-") as scratch:
            _install(target, Path(scratch), image)
        kubectl.apply(manifests.tls_secret(_SECRET, certificate), *_objects(domain), namespace=NAMESPACE)
        eventually(
            lambda: kubectl.get("gateway", NAME, NAMESPACE) or {},
            _programmed,
            within=120,
            what="the Gateway listens",
        )
        found = kubectl.get("gateway", NAME, NAMESPACE) or {}
        yield Edge(found["status"]["addresses"][0]["value"])
    finally:
        _remove(target, ours)


def _definitions(target: Target) -> list[Path]:
    """Return the files of definitions that the cluster has to be given, those of the Gateway API first."""
    own = gosources.envoy_gateway() / "charts" / "gateway-helm" / "charts" / "crds" / "crds" / "generated"
    there = target.kubectl("get", "crd", "--output=name")
    standard = [] if "/httproutes.gateway.networking.k8s.io" in there else gosources.gateway_api()
    return [*standard, *([] if ".gateway.envoyproxy.io" in there else sorted(own.glob("*.yaml")))]


def _install(target: Target, scratch: Path, image: str) -> None:
    chart = scratch / "chart"
    # Files of Go's module cache cannot be written to, and the released chart is made of it by filling its values in.
    shutil.copytree(gosources.envoy_gateway() / "charts" / "gateway-helm", chart, copy_function=shutil.copyfile)
    for folder in (chart, *(path for path in chart.rglob("*") if path.is_dir())):
        folder.chmod(0o755)
    (chart / "values.tmpl.yaml").rename(chart / "values.yaml")
    values = scratch / "values.json"
    values.write_text(json.dumps(_values(image)))
    target.helm(
        "upgrade", "--install", _RELEASE, str(chart), f"--namespace={NAMESPACE}", f"--values={values}", "--skip-crds",
        "--wait", "--timeout=150s",
    )  # fmt: skip  # what, then how


def _values(image: str) -> dict[str, Any]:
    used = {"image": image, "pullPolicy": "IfNotPresent"}
    # Each second: what starts here is waited for.
    often = {"startupProbe": {"periodSeconds": 1}, "readinessProbe": {"periodSeconds": 1}}
    containers = [{"name": name, **often} for name in ("envoy", "shutdown-manager")]
    kubernetes = {
        # There is nobody who gives a LoadBalancer its address.
        "envoyService": {"type": "ClusterIP"},
        "envoyDeployment": {
            "container": {"resources": {"requests": {"cpu": "50m", "memory": "64Mi"}}},
            "patch": {
                "type": "StrategicMerge",
                "value": {"spec": {"template": {"spec": {"containers": containers}}}},
            },
        },
    }
    return {
        "global": {"images": {"envoyGateway": used, "envoyProxy": used}},
        "crds": {"enabled": False},
        "topologyInjector": {"enabled": False},
        "deployment": {"envoyGateway": {"resources": {"requests": {"cpu": "50m", "memory": "64Mi"}}}},
        "config": {
            "envoyGateway": {
                "gateway": {"controllerName": _CONTROLLER},
                # One replica: a lease of a former one would be waited for.
                "provider": {"type": "Kubernetes", "kubernetes": {"leaderElection": {"disable": True}}},
                "envoyProxy": {
                    "provider": {"type": "Kubernetes", "kubernetes": kubernetes},
                    # Of a minute: nobody is served any more when it goes, and its namespace is waited for.
                    "shutdown": {"drainTimeout": "5s", "minDrainDuration": "2s"},
                },
            }
        },
    }


def _objects(domain: str) -> Sequence[Manifest]:
    from_all = {"namespaces": {"from": "All"}}
    listeners: list[Manifest] = [
        {"name": "http", "protocol": "HTTP", "port": 80},
        {
            "name": "https",
            "protocol": "HTTPS",
            "port": 443,
            "hostname": f"*.{domain}",
            "tls": {"mode": "Terminate", "certificateRefs": [{"name": _SECRET}]},
        },
        {"name": "passthrough", "protocol": "TLS", "port": PASSTHROUGH_PORT, "tls": {"mode": "Passthrough"}},
    ]
    spec = {"gatewayClassName": _RELEASE, "listeners": [one | {"allowedRoutes": from_all} for one in listeners]}
    return (
        {
            "apiVersion": _API,
            "kind": "GatewayClass",
            "metadata": {"name": _RELEASE},
            "spec": {"controllerName": _CONTROLLER},
        },
        {"apiVersion": _API, "kind": "Gateway", "metadata": {"name": NAME}, "spec": spec},
    )


def _programmed(found: Manifest) -> bool:
    status = found.get("status", {})
    holds = any(one["type"] == "Programmed" and one["status"] == "True" for one in status.get("conditions", []))
    return holds and bool(status.get("addresses"))


def _remove(target: Target, definitions: Sequence[Path]) -> None:
    kubectl = target.kubectl
    # The controller takes its own mark off the class, so it goes after that.
    for kind, scope in (("gateway", [NAME, f"--namespace={NAMESPACE}"]), ("gatewayclass", [_RELEASE])):
        kubectl.run("delete", kind, *scope, "--ignore-not-found", "--timeout=60s", check=False)
    target.helm.run("uninstall", _RELEASE, f"--namespace={NAMESPACE}", "--wait", "--ignore-not-found", check=False)
    # The next Gateway has the same name.
    kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=100s")
    for file in reversed(definitions):
        kubectl("delete", f"--filename={file}", "--ignore-not-found", "--timeout=60s")
