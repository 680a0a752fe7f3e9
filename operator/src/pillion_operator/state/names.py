"""The names that Pillion gives: labels, annotations, field managers, children. Changing one is an API change."""

from __future__ import annotations

from typing import Final

from pillion.resources.base import GROUP

FIELD_MANAGER: Final = "pillion-operator"
#: The number of replicas has a field manager of its own: whatever stops applying a field resets it.
SCALE_MANAGER: Final = "pillion-operator-scale"

OWNER_LABEL: Final = f"{GROUP}/inferenceservice"
TRAINING_LABEL: Final = f"{GROUP}/trainingjob"
BATCH_LABEL: Final = f"{GROUP}/batchprediction"
COMPONENT_LABEL: Final = f"{GROUP}/component"
VARIANT_LABEL: Final = f"{GROUP}/variant"
#: Its values on pods.
STABLE: Final = "stable"
CANARY: Final = "canary"
#: Values of the label of components. Those beside the predictor may be there.
PREDICTOR: Final = "predictor"
TRANSFORMER: Final = "transformer"
EXPLAINER: Final = "explainer"
BESIDE: Final = (TRANSFORMER, EXPLAINER)
BUILTIN_LABEL: Final = f"{GROUP}/builtin"
MANAGED_BY_LABEL: Final = "app.kubernetes.io/managed-by"

#: On an EndpointSlice: whose it is, and the Service that it is for. Source: discovery.k8s.io/v1.
ENDPOINTS_MANAGER_LABEL: Final = "endpointslice.kubernetes.io/managed-by"
SERVICE_NAME_LABEL: Final = "kubernetes.io/service-name"
ENDPOINTS_MANAGER: Final = "pillion"

#: What the chart labels the operator's own pods with, whatever the release is called.
OPERATOR_POD_LABELS: Final = {"app.kubernetes.io/component": "operator"}

CONFIG_HASH_ANNOTATION: Final = f"{GROUP}/config-hash"
"""On the pod template: a digest of what the runtime reads only at its start. A change rolls the pods."""
SPEC_HASH_ANNOTATION: Final = f"{GROUP}/spec-hash"
"""On the Job of a training or batch prediction: a digest of what of the spec cannot be changed any more."""
REVISION_ANNOTATION: Final = f"{GROUP}/revision"
"""On the pod template: a digest of the template, by which pods of the newest version are known."""

REVISION_STATE_ANNOTATION: Final = f"{GROUP}/revision-state"
"""On a ControllerRevision: what came of it."""
REVISION_GENERATION_ANNOTATION: Final = f"{GROUP}/revision-generation"
"""On a ControllerRevision: the generation of the manifest that its state is about."""
REVISION_MESSAGE_ANNOTATION: Final = f"{GROUP}/revision-message"
"""On a ControllerRevision: why it failed, in words."""

ROLLOUT_STEP_ANNOTATION: Final = f"{GROUP}/rollout-step"
"""On the Deployment of a revision that gets a share: how many steps it has passed."""
ROLLOUT_SINCE_ANNOTATION: Final = f"{GROUP}/rollout-since"
"""On the same: since when it has the share of its step."""

MODELS_HASH_ANNOTATION: Final = f"{GROUP}/models-hash"
"""On running pods: a digest of the declared models. A kubelet that sees it change brings their file at once."""

MODELS_PLACED_ANNOTATION: Final = f"{GROUP}/models-placed"
"""On pods that follow the placement of declared models; the others have all of them."""

PICKLE_POLICY_LABEL: Final = f"{GROUP}/pickle-policy"
"""On a Namespace: its policy for formats that can run code. Whoever may label namespaces decides."""
CODE_POLICY_LABEL: Final = f"{GROUP}/code-policy"
"""On a Namespace: its policy for classes that are fetched like a model."""

MODELS_CONSENT_ANNOTATION: Final = f"{GROUP}/models-consent"
"""On an InferenceService: what the Model objects of its pods may bring, words with commas between them."""

MANAGED_LABEL: Final = f"{GROUP}/managed"
"""On an InferenceService of KServe: whether this operator serves it, `"true"` or `"false"`."""
ALLOW_PICKLE_ANNOTATION: Final = f"{GROUP}/allowPickle"
"""On the same: what `allowPickle` is in a manifest of ours; KServe's has no such field."""
CONVERTED_ANNOTATION: Final = "conversion.pillion.dev/applied"
"""On the InferenceService that stands for one of KServe: a digest of what was applied. Its prefix is its own, as those
that manifests use are told of where they mean nothing."""

SIDECAR_LABEL: Final = f"{GROUP}/sidecar"
"""On a pod: the InferenceService whose models a sidecar is to serve to the pod's containers."""
SIDECAR_PREFIX: Final = f"{GROUP}/sidecar-"
SIDECAR_CONTAINERS_ANNOTATION: Final = f"{SIDECAR_PREFIX}containers"
"""On such a pod: the containers that get the sidecar's sockets, with commas between them; by default all."""
SIDECAR_ADMIN_PORT_ANNOTATION: Final = f"{SIDECAR_PREFIX}admin-port"
"""On such a pod: the port of the sidecar's metrics and probes, where the application wants the usual one."""
SIDECAR_RUNTIME_ANNOTATION: Final = f"{SIDECAR_PREFIX}runtime"
"""Written on such a pod: the sidecar's runtime.yaml, as of the pod's admission."""

WEBHOOK_SECRET: Final = "pillion-operator-webhook"  # noqa: S105 - a name, not a secret
WEBHOOK_CONFIGURATION: Final = "pillion-sidecar"

RESTARTED_AT_ANNOTATION: Final = "kubectl.kubernetes.io/restartedAt"

#: Containers that serve predictions: ours, and KServe's.
RUNTIME_CONTAINER: Final = "runtime"
STORAGE_CONTAINER: Final = "storage"
#: Containers of a training's pod: the one that trains, and the one that stores what a program has left.
TRAINING_CONTAINER: Final = "training"
OUTPUT_CONTAINER: Final = "output"
#: The container of a batch prediction's pod.
BATCH_CONTAINER: Final = "batch"
QUEUE_LABEL: Final = "kueue.x-k8s.io/queue-name"

HTTP_PORT: Final = 8080
GRPC_PORT: Final = 8081
ADMIN_PORT: Final = 8082
ACTIVATOR_ANNOTATION: Final = f"{GROUP}/activator"
"""On an EndpointSlice of ours: the activator that it is the map of, as `namespace/service`."""
HOLDS_ANNOTATION: Final = f"{GROUP}/activator-holds"
"""On such a slice: `true` while the activator is to take the Service's connections, and keeps its addresses there."""
#: Who writes the addresses into such a slice.
ACTIVATOR_FIELD_MANAGER: Final = "pillion-activator"
#: Where the activator answers probes, and says for what it listens.
ACTIVATOR_ADMIN_PORT: Final = 8084
#: Its ports that stand for ports of Services: below those that the kernel gives to outgoing connections.
ACTIVATOR_PORTS: Final = range(20_000, 30_000)


def component_name(service: str, component: str) -> str:
    """Return the name of a component's Deployment, Service and PodDisruptionBudget."""
    return f"{service}-{component}"


def predictor_name(service: str) -> str:
    """Return the name of the predictor's Deployment, Service and PodDisruptionBudget."""
    return component_name(service, PREDICTOR)


def canary_name(service: str) -> str:
    """Return the name of the Deployment of a revision that gets a share."""
    return f"{predictor_name(service)}-canary"


def activator_slice_name(service: str) -> str:
    """Return the name of the EndpointSlice that leads to the activator."""
    return f"{predictor_name(service)}-activator"


def service_trainings_name(service: str) -> str:
    """Return the name of the Role, and of its binding, by which pods of the service make TrainingJobs."""
    return f"{predictor_name(service)}-trainings"


def stable_name(service: str) -> str:
    """Return the name of the Service of the last good revision alone, where a Gateway shares requests out."""
    return f"{predictor_name(service)}-stable"


def runtime_config_name(service: str, component: str = PREDICTOR) -> str:
    """Return the name of the ConfigMap that holds runtime.yaml."""
    return f"{component_name(service, component)}-runtime"


def runtime_config_of_canary(service: str) -> str:
    """Return the name of the ConfigMap that holds runtime.yaml of a revision that gets a share."""
    return f"{canary_name(service)}-runtime"


def certificate_name(service: str) -> str:
    """Return the name of the Certificate of cert-manager."""
    return predictor_name(service)


def models_config_name(service: str, component: str = PREDICTOR) -> str:
    """Return the name of the ConfigMap that holds the models that Model objects add."""
    return f"{component_name(service, component)}-models"


def revision_name(service: str, digest: str) -> str:
    """Return the name of the ControllerRevision that keeps a revision."""
    return f"{predictor_name(service)}-{digest}"


def owner_labels(service: str, component: str = PREDICTOR) -> dict[str, str]:
    """Return the labels by which the children of a component are found; also the Deployment's selector."""
    return {OWNER_LABEL: service, COMPONENT_LABEL: component}


def common_labels(service: str, component: str = PREDICTOR) -> dict[str, str]:
    """Return the labels that every child carries."""
    return owner_labels(service, component) | {
        "app.kubernetes.io/name": "pillion-runtime",
        "app.kubernetes.io/instance": service,
        MANAGED_BY_LABEL: FIELD_MANAGER,
    }


def training_job_name(training: str) -> str:
    """Return the name of a training's Job."""
    return f"{training}-training"


def training_labels(training: str) -> dict[str, str]:
    """Return the labels of a training's Job and pods."""
    return {
        TRAINING_LABEL: training,
        COMPONENT_LABEL: "training",
        "app.kubernetes.io/name": "pillion-training",
        "app.kubernetes.io/instance": training,
        MANAGED_BY_LABEL: FIELD_MANAGER,
    }


def batch_job_name(batch: str) -> str:
    """Return the name of a batch prediction's Job."""
    return f"{batch}-batch"


def batch_labels(batch: str) -> dict[str, str]:
    """Return the labels of a batch prediction's Job and pods."""
    return {
        BATCH_LABEL: batch,
        COMPONENT_LABEL: "batch",
        "app.kubernetes.io/name": "pillion-batch",
        "app.kubernetes.io/instance": batch,
        MANAGED_BY_LABEL: FIELD_MANAGER,
    }
