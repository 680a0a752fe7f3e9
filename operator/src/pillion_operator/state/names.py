"""The names that Pillion gives: labels, annotations, field managers, children. Changing one is an API change."""

from __future__ import annotations

from typing import Final

from pillion.resources.base import GROUP

FIELD_MANAGER: Final = "pillion-operator"
#: The number of replicas has a field manager of its own: whatever stops applying a field resets it.
SCALE_MANAGER: Final = "pillion-operator-scale"

OWNER_LABEL: Final = f"{GROUP}/inferenceservice"
TRAINING_LABEL: Final = f"{GROUP}/trainingjob"
COMPONENT_LABEL: Final = f"{GROUP}/component"
BUILTIN_LABEL: Final = f"{GROUP}/builtin"
MANAGED_BY_LABEL: Final = "app.kubernetes.io/managed-by"

#: What the chart labels the operator's own pods with, whatever the release is called.
OPERATOR_POD_LABELS: Final = {"app.kubernetes.io/component": "operator"}

CONFIG_HASH_ANNOTATION: Final = f"{GROUP}/config-hash"
"""On the pod template: a digest of what the runtime reads only at its start. A change rolls the pods."""
SPEC_HASH_ANNOTATION: Final = f"{GROUP}/spec-hash"
"""On the Job of a training: a digest of what of the spec cannot be changed any more."""
REVISION_ANNOTATION: Final = f"{GROUP}/revision"
"""On the pod template: a digest of the template, by which pods of the newest version are known."""

MODELS_HASH_ANNOTATION: Final = f"{GROUP}/models-hash"
"""On running pods: a digest of the declared models. A kubelet that sees it change brings their file at once."""

PICKLE_POLICY_LABEL: Final = f"{GROUP}/pickle-policy"
"""On a Namespace: its policy for formats that can run code. Whoever may label namespaces decides."""
CODE_POLICY_LABEL: Final = f"{GROUP}/code-policy"
"""On a Namespace: its policy for classes that are fetched like a model."""

RESTARTED_AT_ANNOTATION: Final = "kubectl.kubernetes.io/restartedAt"

#: Containers that serve predictions: ours, and KServe's.
RUNTIME_CONTAINER: Final = "runtime"
STORAGE_CONTAINER: Final = "storage"
#: Containers of a training's pod: the one that trains, and the one that stores what a program has left.
TRAINING_CONTAINER: Final = "training"
OUTPUT_CONTAINER: Final = "output"
QUEUE_LABEL: Final = "kueue.x-k8s.io/queue-name"

HTTP_PORT: Final = 8080
GRPC_PORT: Final = 8081
ADMIN_PORT: Final = 8082


def predictor_name(service: str) -> str:
    """Return the name of the predictor's Deployment, Service and PodDisruptionBudget."""
    return f"{service}-predictor"


def runtime_config_name(service: str) -> str:
    """Return the name of the ConfigMap that holds runtime.yaml."""
    return f"{predictor_name(service)}-runtime"


def models_config_name(service: str) -> str:
    """Return the name of the ConfigMap that holds the models that Model objects add."""
    return f"{predictor_name(service)}-models"


def owner_labels(service: str) -> dict[str, str]:
    """Return the labels by which the children of a service are found; also the Deployment's selector."""
    return {OWNER_LABEL: service, COMPONENT_LABEL: "predictor"}


def common_labels(service: str) -> dict[str, str]:
    """Return the labels that every child carries."""
    return owner_labels(service) | {
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
