"""The pod template: the serving container, the storage init container, what lies around them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pillion.resources.conventions import annotation
from pillion_operator.builders.auth import auth_parts
from pillion_operator.builders.configmap import CONFIG_FILE, config_annotations
from pillion_operator.builders.declared import DECLARED_PATH
from pillion_operator.builders.merge import merge_objects
from pillion_operator.builders.own_models import own_parts
from pillion_operator.builders.placement import POD_VARIABLE
from pillion_operator.builders.security import container_security, pod_security
from pillion_operator.builders.storage import StorageParts, storage_parts
from pillion_operator.builders.tls import tls_parts
from pillion_operator.state.manifest import array, object_at, objects_at
from pillion_operator.state.names import (
    ADMIN_PORT,
    GRPC_PORT,
    HTTP_PORT,
    MODELS_PLACED_ANNOTATION,
    PREDICTOR,
    STABLE,
    VARIANT_LABEL,
    common_labels,
    models_config_name,
    runtime_config_name,
)

if TYPE_CHECKING:
    from pydantic import JsonValue

    from pillion.resources.base import JsonObject
    from pillion_operator.builders.context import BuildContext

__all__ = ["pod_template"]

#: Fields of the manifest's component that are the pod's own, in wire form.
_POD_FIELDS: Final = (
    "activeDeadlineSeconds", "affinity", "automountServiceAccountToken", "dnsConfig", "dnsPolicy",
    "enableServiceLinks", "hostAliases", "hostIPC", "hostNetwork", "hostPID", "hostUsers", "hostname",
    "hostnameOverride", "imagePullSecrets", "nodeName", "nodeSelector", "os", "overhead", "preemptionPolicy",
    "priority", "priorityClassName", "readinessGates", "resourceClaims", "resources", "restartPolicy",
    "runtimeClassName", "schedulerName", "schedulingGates", "securityContext", "serviceAccountName",
    "setHostnameAsFQDN", "shareProcessNamespace", "subdomain", "terminationGracePeriodSeconds", "tolerations",
    "topologySpreadConstraints", "volumes",
)  # fmt: skip


def pod_template(context: BuildContext) -> JsonObject:
    """Return the template of the Deployment's pods.

    Raises:
        PlanError: the model's storage cannot be reached from a pod.
    """
    storage = storage_parts(context)
    predictor = context.predictor.to_api()
    spec = _defaults(context, storage)
    runtime_pod = {field: value for field, value in context.runtime_pod.items() if field in _POD_FIELDS}
    own = {field: value for field, value in predictor.items() if field in _POD_FIELDS}
    if "serviceAccount" in predictor:
        own.setdefault("serviceAccountName", predictor["serviceAccount"])
    spec = merge_objects(merge_objects(spec, runtime_pod), own)
    init: list[JsonObject] = [storage.container] if storage else []
    # A native sidecar starts before the files are fetched, a plain init container may need them.
    init += objects_at(predictor, "initContainers")
    if init:
        spec["initContainers"] = array(init)
    spec["containers"] = array([_serving_container(context, storage), *context.sidecars])
    metadata: JsonObject = {
        "labels": {**object_at(context.runtime_pod, "labels"), **(context.predictor.labels or {}), **_labels(context)},
        "annotations": _annotations(context),
    }
    return {"metadata": metadata, "spec": spec}


def _labels(context: BuildContext) -> dict[str, JsonValue]:
    labels: dict[str, JsonValue] = {**common_labels(context.name, context.component)}
    # A Service of these pods alone, and not of a newer revision beside them, knows them by it.
    return labels | ({VARIANT_LABEL: STABLE} if context.component == PREDICTOR else {})


def _annotations(context: BuildContext) -> JsonObject:
    annotations: JsonObject = {}
    metrics = context.predictor.metrics
    scraped = annotation(context.service.metadata, "enable-prometheus-scraping") != "false"
    if context.ours and scraped and (metrics is None or metrics.enabled is not False):
        annotations |= {
            "prometheus.io/scrape": "true",
            "prometheus.io/port": str(ADMIN_PORT),
            "prometheus.io/path": "/metrics",
        }
    annotations |= object_at(context.runtime_pod, "annotations") | (context.predictor.annotations or {})
    if context.ours and context.predictor.model_placement is not None:
        annotations[MODELS_PLACED_ANNOTATION] = "true"
    return annotations | (config_annotations(context) if context.ours else {})


def _defaults(context: BuildContext, storage: StorageParts | None) -> JsonObject:
    selector: JsonObject = {"matchLabels": dict(context.selector)}
    spec: JsonObject = {
        "automountServiceAccountToken": False,
        # Variables of neighbouring Services could be taken for settings of the runtime.
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": context.window_seconds + context.longest_request_seconds + 5,
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": key,
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": selector,
            }
            for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
        ],
    }
    if context.ours:
        spec["securityContext"] = pod_security()
    volumes: list[JsonObject] = []
    if storage:
        volumes += [{"name": "models", **_models_volume(context)}, *storage.volumes]
    if storage or context.ours:
        volumes.append({"name": "tmp", "emptyDir": {}})
    if context.ours:
        name = runtime_config_name(context.name, context.component)
        volumes += [{"name": "config", "configMap": {"name": name}}, {"name": "run", "emptyDir": {"medium": "Memory"}}]
        # There may be no such ConfigMap, now or later: pods are the same with declared models and without.
        declared: JsonObject = {"name": models_config_name(context.name, context.component), "optional": True}
        volumes.append({"name": "declared", "configMap": declared})
        volumes += (
            *tls_parts(context.service).volumes,
            *auth_parts(context.service).volumes,
            *own_parts(context).volumes,
        )
    if context.fetches:
        volumes += [volume for volume in context.credentials.of_server.volumes if volume not in volumes]
    if volumes:
        spec["volumes"] = array(volumes)
    secrets: list[JsonObject] = [{"name": name} for name in context.settings.image_pull_secrets]
    if context.ours and secrets:
        spec["imagePullSecrets"] = array(secrets)
    return spec


def _models_volume(context: BuildContext) -> JsonObject:
    volume = context.predictor.storage.volume if context.predictor.storage else None
    if volume is None:
        return {"emptyDir": {}}
    if volume.ephemeral is not None:
        return {"ephemeral": volume.ephemeral}
    given: JsonObject = {"sizeLimit": volume.size_limit, "medium": volume.medium or None}
    return {"emptyDir": {field: value for field, value in given.items() if value is not None}}


def _serving_container(context: BuildContext, storage: StorageParts | None) -> JsonObject:
    mounts: list[JsonObject] = [*storage.mounts] if storage else []
    base: JsonObject = {"resources": {"requests": dict(context.settings.requests)}}
    if context.fetches:
        # Nothing where there are none: pods are not to be others with the first Model than without.
        given = context.credentials.of_server
        base |= {"env": array(given.env)} if given.env else {}
        mounts += given.mounts
    if context.ours and context.predictor.model_placement is not None:
        source: JsonObject = {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}
        variable: JsonObject = {"name": POD_VARIABLE, "valueFrom": source}
        base["env"] = array([*objects_at(base, "env"), variable])
    if context.ours:
        mounts += [
            # By subPath, so that running pods never see the file of the version that replaces them.
            {"name": "config", "mountPath": f"/etc/pillion/{CONFIG_FILE}", "subPath": CONFIG_FILE, "readOnly": True},
            {"name": "run", "mountPath": "/run/pillion"},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - in the pod
            {"name": "declared", "mountPath": DECLARED_PATH, "readOnly": True},
            *tls_parts(context.service).mounts,
            *auth_parts(context.service).mounts,
            *own_parts(context).mounts,
        ]
        base |= _our_defaults()
    elif not any(probe in context.container for probe in ("readinessProbe", "startupProbe")):
        base["readinessProbe"] = {"tcpSocket": {"port": HTTP_PORT}, "periodSeconds": 2}
    if mounts:
        base["volumeMounts"] = array(mounts)
    container = merge_objects(base, context.container)
    if context.ours:
        container["securityContext"] = merge_objects(
            object_at(context.container, "securityContext"), container_security()
        )
    return container


def _our_defaults() -> JsonObject:
    def probe(path: str, **times: int) -> JsonObject:
        return {"httpGet": {"path": path, "port": ADMIN_PORT}, **times}

    return {
        "ports": [
            {"name": "http", "containerPort": HTTP_PORT, "protocol": "TCP"},
            {"name": "grpc", "containerPort": GRPC_PORT, "protocol": "TCP"},
            {"name": "admin", "containerPort": ADMIN_PORT, "protocol": "TCP"},
        ],
        "startupProbe": probe("/livez", periodSeconds=1, failureThreshold=120, timeoutSeconds=2),
        "livenessProbe": probe("/livez", periodSeconds=10, failureThreshold=3, timeoutSeconds=5),
        "readinessProbe": probe("/readyz", periodSeconds=2, failureThreshold=2, timeoutSeconds=2),
        "lifecycle": {"preStop": {"exec": {"command": ["python", "-m", "pillion.server.prestop"]}}},
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
