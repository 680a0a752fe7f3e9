"""The chart's release under test."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from e2e.harness.waiting import eventually

if TYPE_CHECKING:
    from e2e.harness.target import Target

CHART = Path(__file__).resolve().parents[2] / "charts" / "pillion"
NAMESPACE = "pillion-e2e-system"
NAME = "pillion"
OPERATOR = "pillion-operator"
#: What `kubectl get` takes for every kind that the chart installs.
_EVERYTHING = (
    "all,configmaps,serviceaccounts,roles,rolebindings,clusterroles,clusterrolebindings,poddisruptionbudgets,"
    "clusterservingruntimes,leases"
)


@dataclass(frozen=True, slots=True)
class Release:
    """`helm install pillion charts/pillion` in a namespace of its own, which enforces the restricted standard."""

    target: Target

    @property
    def installed(self) -> bool:
        """Whether Helm knows the release."""
        return self.target.helm.run("status", NAME, f"--namespace={NAMESPACE}", check=False).status == 0

    def ensure(self, *values: str) -> None:
        """Install or upgrade to the checkout's chart and images, with further `--set=` options."""
        self._prepare()
        self.target.helm("upgrade", "--install", *self._arguments(), *values)

    def install(self) -> float:
        """Install it and return the seconds until `--wait` came back."""
        self._prepare()
        start = time.monotonic()
        self.target.helm("install", *self._arguments())
        return time.monotonic() - start

    def uninstall(self) -> None:
        """Uninstall it and wait until its pods are gone."""
        self.target.helm("uninstall", NAME, f"--namespace={NAMESPACE}", "--wait")
        eventually(self.pods, lambda pods: not pods, within=60, what="the operator's pods are gone")

    def delete_definitions(self) -> None:
        """Delete the CRDs, and so every object of them, as the last step of leaving nothing."""
        kubectl = self.target.kubectl
        names = kubectl("get", "crd", "--output=name").split()
        ours = [name for name in names if name.endswith(".serving.pillion.dev")]
        if ours:
            kubectl("delete", *ours, "--wait")

    def pods(self) -> list[dict[str, Any]]:
        """Return the operator's pods."""
        return self.target.kubectl.items(
            "pods", f"--namespace={NAMESPACE}", "--selector=app.kubernetes.io/component=operator"
        )

    def ready_pods(self) -> list[str]:
        """Return the names of the operator's pods that are ready."""
        return [
            pod["metadata"]["name"]
            for pod in self.pods()
            if any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))
        ]

    def holder(self) -> str:
        """Return who holds the Lease; empty where nobody does. A container that restarts is somebody else."""
        lease = self.target.kubectl.get("lease", OPERATOR, NAMESPACE)
        return (lease or {}).get("spec", {}).get("holderIdentity") or ""

    def leader(self) -> str:
        """Return the name of the pod that holds the Lease; empty where none does."""
        holder = self.holder()
        # An identity may have a part after the pod's name that tells two lives of it apart.
        return next((name for pod in self.pods() if holder.startswith(name := pod["metadata"]["name"])), "")

    def leftovers(self) -> list[str]:
        """Return what bears the release's labels anywhere in the cluster, CRDs left out."""
        listed = self.target.kubectl(
            "get", _EVERYTHING, "--all-namespaces", f"--selector=app.kubernetes.io/instance={NAME}", "--output=name"
        )
        return listed.split()

    def logs(self) -> str:
        """Return what the operator's replicas logged."""
        return self.target.kubectl(
            "logs",
            f"--namespace={NAMESPACE}",
            "--selector=app.kubernetes.io/component=operator",
            "--tail=-1",
            "--prefix",
        )

    def _arguments(self) -> list[str]:
        registry, _, rest = self.target.image("operator").rpartition("/")
        return [
            NAME,
            str(CHART),
            f"--namespace={NAMESPACE}",
            f"--set=image.registry={registry}",
            f"--set=image.tag={rest.partition(':')[2]}",
            "--wait",
            "--timeout=90s",
        ]

    def _prepare(self) -> None:
        self.target.image("operator")
        self.target.image("runtime")
        ensure_namespace(self.target, NAMESPACE)


def ensure_namespace(target: Target, name: str, *, standard: str = "restricted") -> None:
    """Make a namespace that enforces a Pod Security Standard, and warns by it, where it is not there."""
    marks = {f"pod-security.kubernetes.io/{mode}": standard for mode in ("enforce", "warn", "audit")}
    target.kubectl.apply(
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name, "labels": {"pillion.dev/e2e": "true", **marks}},
        },
        namespace="default",
    )
