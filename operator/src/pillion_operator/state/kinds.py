"""The kinds of Kubernetes objects that the operator knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pillion.resources.base import GROUP, VERSION
from pillion_operator.state.names import FIELD_MANAGER, MANAGED_BY_LABEL, OWNER_LABEL, TRAINING_LABEL

if TYPE_CHECKING:
    from pillion_operator.state.manifest import Key


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind: how manifests name it and where the API server keeps it."""

    group: str
    version: str
    name: str
    plural: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """The `apiVersion` of its manifests."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def collection(self, namespace: str = "") -> str:
        """Return the path of all its objects, in one namespace where given."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        return f"{root}/namespaces/{namespace}/{self.plural}" if namespace else f"{root}/{self.plural}"

    def path(self, key: Key, subresource: str = "") -> str:
        """Return the path of one object or of a subresource of it."""
        path = f"{self.collection(key.namespace if self.namespaced else '')}/{key.name}"
        return f"{path}/{subresource}" if subresource else path


INFERENCE_SERVICE: Final = Kind(GROUP, VERSION, "InferenceService", "inferenceservices")
SERVING_RUNTIME: Final = Kind(GROUP, VERSION, "ServingRuntime", "servingruntimes")
CLUSTER_SERVING_RUNTIME: Final = Kind(
    GROUP, VERSION, "ClusterServingRuntime", "clusterservingruntimes", namespaced=False
)
MODEL: Final = Kind(GROUP, VERSION, "Model", "models")
TRAINING_JOB: Final = Kind(GROUP, VERSION, "TrainingJob", "trainingjobs")
JOB: Final = Kind("batch", "v1", "Job", "jobs")
DEPLOYMENT: Final = Kind("apps", "v1", "Deployment", "deployments")
SERVICE: Final = Kind("", "v1", "Service", "services")
CONFIG_MAP: Final = Kind("", "v1", "ConfigMap", "configmaps")
POD_DISRUPTION_BUDGET: Final = Kind("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets")
NAMESPACE: Final = Kind("", "v1", "Namespace", "namespaces", namespaced=False)
HORIZONTAL_POD_AUTOSCALER: Final = Kind("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
NETWORK_POLICY: Final = Kind("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies")
SERVICE_MONITOR: Final = Kind("monitoring.coreos.com", "v1", "ServiceMonitor", "servicemonitors")
POD_MONITOR: Final = Kind("monitoring.coreos.com", "v1", "PodMonitor", "podmonitors")
POD: Final = Kind("", "v1", "Pod", "pods")
SECRET: Final = Kind("", "v1", "Secret", "secrets")
SERVICE_ACCOUNT: Final = Kind("", "v1", "ServiceAccount", "serviceaccounts")
PERSISTENT_VOLUME_CLAIM: Final = Kind("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims")
EVENT: Final = Kind("", "v1", "Event", "events")
LEASE: Final = Kind("coordination.k8s.io", "v1", "Lease", "leases")

#: What the operator makes for an InferenceService; the plan says which of them, and in which order.
CHILDREN: Final = (
    CONFIG_MAP,
    SERVICE,
    NETWORK_POLICY,
    DEPLOYMENT,
    POD_DISRUPTION_BUDGET,
    HORIZONTAL_POD_AUTOSCALER,
    SERVICE_MONITOR,
    POD_MONITOR,
)
#: Kinds that a cluster may have or not; which of them it has is asked from time to time.
OPTIONAL: Final = (SERVICE_MONITOR, POD_MONITOR)
#: Read only through the watch, found by the owner's label.
LABELLED: Final = (*CHILDREN, POD, JOB)
RUNTIMES: Final = (SERVING_RUNTIME, CLUSTER_SERVING_RUNTIME)


def selector_of(kind: Kind) -> str:
    """Return the selector by which objects of a labelled kind are watched and listed; empty for other kinds.

    Pods are of services and of trainings; a selector cannot say "one label or the other", so it is what both have.
    """
    if kind == POD:
        return f"{MANAGED_BY_LABEL}={FIELD_MANAGER}"
    if kind == JOB:
        return TRAINING_LABEL
    return OWNER_LABEL if kind in LABELLED else ""
