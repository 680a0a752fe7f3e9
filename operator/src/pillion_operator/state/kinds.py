"""The kinds of Kubernetes objects that the operator knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pillion.resources.base import GROUP, VERSION
from pillion_operator.state.names import (
    ENDPOINTS_MANAGER,
    ENDPOINTS_MANAGER_LABEL,
    FIELD_MANAGER,
    MANAGED_BY_LABEL,
    OWNER_LABEL,
)

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
KSERVE_INFERENCE_SERVICE: Final = Kind("serving.kserve.io", "v1beta1", "InferenceService", "inferenceservices")
TRAINING_JOB: Final = Kind(GROUP, VERSION, "TrainingJob", "trainingjobs")
BATCH_PREDICTION: Final = Kind(GROUP, VERSION, "BatchPrediction", "batchpredictions")
JOB: Final = Kind("batch", "v1", "Job", "jobs")
DEPLOYMENT: Final = Kind("apps", "v1", "Deployment", "deployments")
CONTROLLER_REVISION: Final = Kind("apps", "v1", "ControllerRevision", "controllerrevisions")
SERVICE: Final = Kind("", "v1", "Service", "services")
ENDPOINT_SLICE: Final = Kind("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices")
CONFIG_MAP: Final = Kind("", "v1", "ConfigMap", "configmaps")
POD_DISRUPTION_BUDGET: Final = Kind("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets")
NAMESPACE: Final = Kind("", "v1", "Namespace", "namespaces", namespaced=False)
HORIZONTAL_POD_AUTOSCALER: Final = Kind("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
NETWORK_POLICY: Final = Kind("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies")
SERVICE_MONITOR: Final = Kind("monitoring.coreos.com", "v1", "ServiceMonitor", "servicemonitors")
POD_MONITOR: Final = Kind("monitoring.coreos.com", "v1", "PodMonitor", "podmonitors")
INGRESS: Final = Kind("networking.k8s.io", "v1", "Ingress", "ingresses")
GATEWAY: Final = Kind("gateway.networking.k8s.io", "v1", "Gateway", "gateways")
HTTP_ROUTE: Final = Kind("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes")
GRPC_ROUTE: Final = Kind("gateway.networking.k8s.io", "v1", "GRPCRoute", "grpcroutes")
TLS_ROUTE: Final = Kind("gateway.networking.k8s.io", "v1", "TLSRoute", "tlsroutes")
CERTIFICATE: Final = Kind("cert-manager.io", "v1", "Certificate", "certificates")
POD: Final = Kind("", "v1", "Pod", "pods")
SECRET: Final = Kind("", "v1", "Secret", "secrets")
SERVICE_ACCOUNT: Final = Kind("", "v1", "ServiceAccount", "serviceaccounts")
PERSISTENT_VOLUME_CLAIM: Final = Kind("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims")
EVENT: Final = Kind("", "v1", "Event", "events")
MUTATING_WEBHOOK_CONFIGURATION: Final = Kind(
    "admissionregistration.k8s.io",
    "v1",
    "MutatingWebhookConfiguration",
    "mutatingwebhookconfigurations",
    namespaced=False,
)
VALIDATING_WEBHOOK_CONFIGURATION: Final = Kind(
    "admissionregistration.k8s.io",
    "v1",
    "ValidatingWebhookConfiguration",
    "validatingwebhookconfigurations",
    namespaced=False,
)
SUBJECT_ACCESS_REVIEW: Final = Kind(
    "authorization.k8s.io", "v1", "SubjectAccessReview", "subjectaccessreviews", namespaced=False
)
ROLE: Final = Kind("rbac.authorization.k8s.io", "v1", "Role", "roles")
ROLE_BINDING: Final = Kind("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings")
LEASE: Final = Kind("coordination.k8s.io", "v1", "Lease", "leases")

#: The way in from outside the cluster.
GATEWAY_ROUTES: Final = (HTTP_ROUTE, GRPC_ROUTE, TLS_ROUTE)
ROUTES: Final = (INGRESS, *GATEWAY_ROUTES)
#: What the operator makes for an InferenceService; the plan says which of them, and in which order.
CHILDREN: Final = (
    CONFIG_MAP,
    SERVICE,
    ENDPOINT_SLICE,
    NETWORK_POLICY,
    DEPLOYMENT,
    POD_DISRUPTION_BUDGET,
    HORIZONTAL_POD_AUTOSCALER,
    SERVICE_MONITOR,
    POD_MONITOR,
    CERTIFICATE,
    ROLE,
    ROLE_BINDING,
    *ROUTES,
)
#: Kinds that a cluster may have or not; which of them it has is asked from time to time.
OPTIONAL: Final = (SERVICE_MONITOR, POD_MONITOR, CERTIFICATE, ROLE, ROLE_BINDING, *ROUTES)
#: Read only through the watch, found by the owner's label.
LABELLED: Final = (*CHILDREN, CONTROLLER_REVISION, POD, JOB)
RUNTIMES: Final = (SERVING_RUNTIME, CLUSTER_SERVING_RUNTIME)


def selector_of(kind: Kind) -> str:
    """Return the selector by which objects of a labelled kind are watched and listed; empty for other kinds.

    Pods and Jobs belong to several kinds; a selector cannot say "one label or the other", so it is what all have.
    """
    if kind in {POD, JOB}:
        return f"{MANAGED_BY_LABEL}={FIELD_MANAGER}"
    if kind == ENDPOINT_SLICE:
        # Those of Kubernetes' own controller, one for each Service, carry the labels of the Service.
        return f"{ENDPOINTS_MANAGER_LABEL}={ENDPOINTS_MANAGER},{OWNER_LABEL}"
    return OWNER_LABEL if kind in LABELLED else ""
