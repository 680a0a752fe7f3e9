"""Manifests that scenarios apply: as short as users write them, and pods that fit the restricted standard."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from e2e.harness.certificates import Pair
    from e2e.harness.models import Artifact

Manifest = dict[str, Any]

API_VERSION = "serving.pillion.dev/v1beta1"


def inference_service(name: str, uri: str | None = None, *, tls: str | None = None, **predictor: object) -> Manifest:
    """Return an InferenceService for a scikit-learn model; `predictor` holds further fields of the predictor."""
    spec: dict[str, Any] = dict(predictor)
    if uri is not None:
        spec.setdefault("model", {"modelFormat": {"name": "sklearn"}, "storageUri": uri})
    if tls is not None:
        spec["tls"] = {"secretName": tls}
    return {
        "apiVersion": API_VERSION,
        "kind": "InferenceService",
        "metadata": {"name": name},
        "spec": {"predictor": spec},
    }


def config_map(name: str, *artifacts: Artifact, text: Mapping[str, str] | None = None) -> Manifest:
    """Return a ConfigMap with model files as binary data, and texts."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name},
        "data": dict(text or {}),
        "binaryData": {artifact.name: base64.b64encode(artifact.content).decode() for artifact in artifacts},
    }


def tls_secret(name: str, pair: Pair) -> Manifest:
    """Return a Secret of type kubernetes.io/tls."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": pair.certificate, "tls.key": pair.key},
    }


def secret(name: str, values: Mapping[str, str], annotations: Mapping[str, str] | None = None) -> Manifest:
    """Return an opaque Secret."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "annotations": dict(annotations or {})},
        "stringData": dict(values),
    }


def pod(
    name: str,
    image: str,
    command: Sequence[str] = (),
    *,
    arguments: Sequence[str] = (),
    config_maps: Mapping[str, str] | None = None,
    service_account: str | None = None,
    labels: Mapping[str, str] | None = None,
    writable: Mapping[str, str] | None = None,
    ports: Sequence[int] = (),
    claims: Mapping[str, str] | None = None,
) -> Manifest:
    """Return a pod of one container that is not started again.

    `config_maps` maps names of ConfigMaps to where they are mounted, `claims` the same for volume claims, `writable`
    volume names to where an empty folder is.
    """
    volumes: list[Manifest] = [{"name": "tmp", "emptyDir": {}}]
    mounts: list[Manifest] = [{"name": "tmp", "mountPath": "/tmp"}]
    for source, path in (config_maps or {}).items():
        volumes.append({"name": source, "configMap": {"name": source}})
        mounts.append({"name": source, "mountPath": path})
    for claim, path in (claims or {}).items():
        volumes.append({"name": claim, "persistentVolumeClaim": {"claimName": claim}})
        mounts.append({"name": claim, "mountPath": path})
    for volume, path in (writable or {}).items():
        volumes.append({"name": volume, "emptyDir": {}})
        mounts.append({"name": volume, "mountPath": path})
    container: Manifest = {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": mounts,
        "ports": [{"containerPort": port} for port in ports],
    }
    if command:
        container["command"] = list(command)
    if arguments:
        container["args"] = list(arguments)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name, **(labels or {})}},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 2,
            "automountServiceAccountToken": service_account is not None,
            **({"serviceAccountName": service_account} if service_account else {}),
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "runAsGroup": 0,
                "fsGroup": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": volumes,
        },
    }


def service(name: str, port: int, *, node_port: int | None = None) -> Manifest:
    """Return a Service in front of the pod that `pod` makes of the same name, also on a port of the node."""
    entry = {"port": port, "targetPort": port, **({"nodePort": node_port} if node_port else {})}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"type": "NodePort" if node_port else "ClusterIP", "selector": {"app": name}, "ports": [entry]},
    }


def claim(name: str) -> Manifest:
    """Return a volume claim of the default class."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "64Mi"}}},
    }
