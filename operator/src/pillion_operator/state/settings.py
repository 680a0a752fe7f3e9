"""What the operator's configuration says about the children it makes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pillion.policy import ConsentPolicy

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class RenderSettings:
    """Choices of whoever installed the operator; the same for every InferenceService.

    Attributes:
        runtime_image: the image of the built-in runtimes and of the storage init container.
        image_pull_policy: its pull policy.
        image_pull_secrets: names of Secrets for pulling it, looked up in the InferenceService's namespace.
        cluster_domain: the domain of cluster DNS.
        pickle_policy: what is said of formats that can run code, where a namespace says nothing else.
        code_policy: the same of classes that are fetched like a model.
        trusted_types: types that skops files may hold in every namespace.
        activator: whether the installation has an activator, without which a service always has a pod.
        operator_namespace: where the operator's own pods are, empty where it runs outside the cluster.
        requests: what a runtime container asks for where the manifest says nothing. There is no CPU limit by default:
            throttling hurts the tail more than sharing does.
        storage_requests: the same for the storage init container.
    """

    runtime_image: str = "localhost/pillion-runtime:dev"
    image_pull_policy: str = "IfNotPresent"
    image_pull_secrets: tuple[str, ...] = ()
    cluster_domain: str = "cluster.local"
    pickle_policy: ConsentPolicy = ConsentPolicy.PER_OBJECT
    code_policy: ConsentPolicy = ConsentPolicy.PER_OBJECT
    trusted_types: tuple[str, ...] = ()
    activator: bool = False
    operator_namespace: str = ""
    requests: Mapping[str, str] = field(default_factory=lambda: {"cpu": "100m", "memory": "256Mi"})
    storage_requests: Mapping[str, str] = field(default_factory=lambda: {"cpu": "100m", "memory": "128Mi"})
