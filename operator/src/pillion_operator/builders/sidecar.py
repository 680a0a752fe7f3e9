"""A pod's sidecar: what a pod asks for, and what is to be changed in it. Pure: a pod in, a JSON patch out.

The runtime comes as a native sidecar, an init container that goes on (`restartPolicy: Always`): it starts before the
application, is ended after it, and does not keep a Job from completing. The patch is idempotent, since the API server
may ask again after other webhooks have changed the pod.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pillion.resources.nearest import nearest_of
from pillion_operator.builders.configmap import CONFIG_FILE
from pillion_operator.builders.merge import covers, merge_objects
from pillion_operator.state.manifest import annotations_of, array, labels_of, number_at, object_at, objects_at, text_at
from pillion_operator.state.names import (
    ADMIN_PORT,
    RUNTIME_CONTAINER,
    SIDECAR_ADMIN_PORT_ANNOTATION,
    SIDECAR_CONTAINERS_ANNOTATION,
    SIDECAR_LABEL,
    SIDECAR_PREFIX,
    SIDECAR_RUNTIME_ANNOTATION,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import JsonValue

    from pillion.resources.base import JsonObject
    from pillion_operator.state.manifest import Manifest

__all__ = ["HTTP_SOCKET", "Sidecar", "SidecarError", "SidecarRequest", "sidecar_patch", "sidecar_request"]

#: What every container and volume that is added is called by.
_PREFIX: Final = "pillion-"
_SIDECAR: Final = f"{_PREFIX}{RUNTIME_CONTAINER}"
_SOCKETS: Final = f"{_PREFIX}sockets"
_FOLDER: Final = "/run/pillion-sidecar"
HTTP_SOCKET: Final = f"{_FOLDER}/http.sock"
_GRPC_SOCKET: Final = f"{_FOLDER}/grpc.sock"
#: The user of our images, for pods whose containers are root's.
_USER: Final = 65532
#: Models that take longer to load than this are given up: the container is started again.
_LOADING_SECONDS: Final = 3600
_LEAST_PORT, _MOST_PORT = 1024, 65535
#: What the application's side of the pod decides, or has no meaning beside it.
_NOT_TAKEN: Final = ("name", "lifecycle", "ports", "env", "startupProbe", "livenessProbe", "readinessProbe")


class SidecarError(ValueError):
    """The pod cannot get the sidecar that it asks for; the text names the field and the remedy."""


@dataclass(frozen=True, slots=True)
class SidecarRequest:
    """What a pod asks for.

    Attributes:
        service: the InferenceService, of the pod's namespace.
        containers: those that get the sockets.
        admin_port: of the sidecar's metrics and probes.
    """

    service: str
    containers: tuple[str, ...]
    admin_port: int


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What the pod is to get: the template of the service's own pods, and its runtime.yaml."""

    template: Manifest
    runtime_file: str


def sidecar_request(pod: Manifest) -> SidecarRequest | None:
    """Return what the pod asks for by its label and annotations; None where it asks for nothing.

    Raises:
        SidecarError: it cannot be had.
    """
    service = labels_of(pod).get(SIDECAR_LABEL)
    if service is None:
        return None
    if not service:
        raise SidecarError(
            f"metadata.labels[{SIDECAR_LABEL}] is empty: write the name of an InferenceService of this namespace, or "
            "remove the label"
        )
    annotations = annotations_of(pod)
    known = (SIDECAR_CONTAINERS_ANNOTATION, SIDECAR_ADMIN_PORT_ANNOTATION, SIDECAR_RUNTIME_ANNOTATION)
    for name in annotations:
        if name.startswith(SIDECAR_PREFIX) and name not in known:
            near = nearest_of(name, known[:2])
            raise SidecarError(
                f"metadata.annotations[{name}] is not known: "
                + (f"did you mean {near}?" if near else f"there are {' and '.join(known[:2])}")
            )
    _check_names(pod)
    return SidecarRequest(service, _containers(pod, annotations), _admin_port(pod, annotations))


def _check_names(pod: Manifest) -> None:
    """Refuse what stands where ours goes, unless it is ours already: the API server may ask twice."""
    if SIDECAR_RUNTIME_ANNOTATION in annotations_of(pod):
        return
    for field in ("initContainers", "containers", "volumes"):
        for item in objects_at(pod, "spec", field):
            name = text_at(item, "name")
            if name.startswith(_PREFIX):
                raise SidecarError(
                    f"spec.{field}[{name}]: names that begin with {_PREFIX} are the sidecar's in a pod with the label "
                    f"{SIDECAR_LABEL}: choose another"
                )


def _containers(pod: Manifest, annotations: Mapping[str, str]) -> tuple[str, ...]:
    there = tuple(text_at(container, "name") for container in objects_at(pod, "spec", "containers"))
    given = annotations.get(SIDECAR_CONTAINERS_ANNOTATION)
    if given is None:
        return there
    named = tuple(name.strip() for name in given.split(","))
    for name in named:
        if name not in there:
            raise SidecarError(
                f"metadata.annotations[{SIDECAR_CONTAINERS_ANNOTATION}] names {name!r}, which is no container of the "
                f"pod: write some of {', '.join(there)}, with commas between them, or remove the annotation for all"
            )
    return named


def _admin_port(pod: Manifest, annotations: Mapping[str, str]) -> int:
    where = f"metadata.annotations[{SIDECAR_ADMIN_PORT_ANNOTATION}]"
    given = annotations.get(SIDECAR_ADMIN_PORT_ANNOTATION, str(ADMIN_PORT))
    port = int(given) if given.isascii() and given.isdecimal() and len(given) <= len(str(_MOST_PORT)) else 0
    if not _LEAST_PORT <= port <= _MOST_PORT:
        raise SidecarError(f"{where} is {given!r}: write a port from {_LEAST_PORT} to {_MOST_PORT}")
    ours = SIDECAR_RUNTIME_ANNOTATION in annotations
    for field in ("containers", "initContainers"):
        for container in objects_at(pod, "spec", field):
            name = text_at(container, "name")
            taken = any(number_at(held, "containerPort") == port for held in objects_at(container, "ports"))
            if taken and not (ours and name.startswith(_PREFIX)):
                raise SidecarError(
                    f"the container {name!r} has port {port}, which the sidecar's metrics and probes would take: "
                    f"give them another by {where}"
                )
    return port


def sidecar_patch(pod: Manifest, sidecar: Sidecar, request: SidecarRequest) -> list[JsonObject]:
    """Return the JSON patch (RFC 6902) that gives the pod its sidecar; empty where it has it.

    Raises:
        SidecarError: the service's pods are not such that they can stand beside an application.
    """
    spec = object_at(pod, "spec")
    made = dict(spec)
    own_init, runtime = _steps(sidecar, request, spec)
    made["initContainers"] = array(_placed(objects_at(spec, "initContainers"), [*own_init, runtime]))
    made["volumes"] = array(_by_name(objects_at(spec, "volumes"), _volumes(sidecar)))
    secrets = objects_at(sidecar.template, "spec", "imagePullSecrets")
    if secrets:
        made["imagePullSecrets"] = array(_by_name(objects_at(spec, "imagePullSecrets"), secrets))
    patch = _annotated(pod, sidecar.runtime_file)
    for field in ("initContainers", "volumes", "imagePullSecrets"):
        patch += _changed(f"/spec/{field}", spec.get(field), made.get(field))
    for index, container in enumerate(objects_at(spec, "containers")):
        if text_at(container, "name") in request.containers:
            connected = _connected(container)
            for field in ("volumeMounts", "env"):
                patch += _changed(f"/spec/containers/{index}/{field}", container.get(field), connected.get(field))
    return patch


def _annotated(pod: Manifest, runtime_file: str) -> list[JsonObject]:
    known = annotations_of(pod)
    if not object_at(pod, "metadata").get("annotations"):
        return [{"op": "add", "path": "/metadata/annotations", "value": {SIDECAR_RUNTIME_ANNOTATION: runtime_file}}]
    escaped = SIDECAR_RUNTIME_ANNOTATION.replace("~", "~0").replace("/", "~1")
    return _changed(f"/metadata/annotations/{escaped}", known.get(SIDECAR_RUNTIME_ANNOTATION), runtime_file)


def _changed(path: str, before: JsonValue, after: JsonValue) -> list[JsonObject]:
    """Return the operation that puts `after` there; `add` replaces what is there already (RFC 6902, 4.1)."""
    return [] if before == after else [{"op": "add", "path": path, "value": after}]


def _steps(sidecar: Sidecar, request: SidecarRequest, spec: Manifest) -> tuple[list[JsonObject], JsonObject]:
    """Return the init containers that come before the runtime, and the runtime."""
    containers = objects_at(sidecar.template, "spec", "containers")
    serving = next((found for found in containers if found.get("name") == RUNTIME_CONTAINER), None)
    where = f"metadata.labels[{SIDECAR_LABEL}]"
    if serving is None:
        raise SidecarError(
            f"{where}: the InferenceService {request.service!r} is not served by Pillion's runtime, which is the one "
            "that answers on a unix socket: name another, or choose such a runtime for it"
        )
    others = [text_at(found, "name") for found in containers if found is not serving]
    if others:
        raise SidecarError(
            f"{where}: the InferenceService {request.service!r} has containers beside the runtime "
            f"({', '.join(others)}), which a sidecar cannot bring: name another, or remove them"
        )
    before = [_renamed(step) for step in objects_at(sidecar.template, "spec", "initContainers")]
    return [_usable(step, spec) for step in before], _usable(_runtime(serving, request), spec)


def _runtime(serving: JsonObject, request: SidecarRequest) -> JsonObject:
    _refuse_flags(serving, request)
    kept = {field: value for field, value in serving.items() if field not in _NOT_TAKEN}
    sockets: JsonObject = {"volumeMounts": [{"name": _SOCKETS.removeprefix(_PREFIX), "mountPath": _FOLDER}]}

    def probe(path: str, **times: int) -> JsonObject:
        return {"httpGet": {"path": path, "port": request.admin_port}, **times}

    return _renamed(merge_objects(kept, sockets) | {"name": RUNTIME_CONTAINER}) | {
        "restartPolicy": "Always",
        "env": array(_environment(objects_at(serving, "env"), request)),
        # The application starts when its models are ready, so that its first call is answered whatever client it has.
        "startupProbe": probe("/readyz", periodSeconds=1, failureThreshold=_LOADING_SECONDS, timeoutSeconds=2),
        "livenessProbe": probe("/livez", periodSeconds=10, failureThreshold=3, timeoutSeconds=5),
        "readinessProbe": probe("/readyz", periodSeconds=2, failureThreshold=2, timeoutSeconds=2),
        # No preStop: the kubelet would run it at once, while the application still makes calls.
    }


def _refuse_flags(serving: JsonObject, request: SidecarRequest) -> None:
    """Refuse arguments that would win over what the sidecar sets by variables, as flags do."""
    given = serving.get("args")
    words = [str(word).partition("=")[0] for word in given] if isinstance(given, list) else []
    for variable in _ours(request):
        flag = "--" + variable.removeprefix("PILLION_").lower().replace("_", "-").replace("--", "-")
        if flag in words:
            raise SidecarError(
                f"metadata.labels[{SIDECAR_LABEL}]: the InferenceService {request.service!r} has {flag} among its "
                f"args, which a sidecar sets itself: give it to its own pods as {variable} among its env instead"
            )


def _environment(given: Sequence[JsonObject], request: SidecarRequest) -> list[JsonObject]:
    """Return the variables: what the sidecar sets comes in place of what the service has."""
    ours = _ours(request)
    mine: list[JsonObject] = [{"name": name, "value": value} for name, value in ours.items()]
    return [*(variable for variable in given if variable.get("name") not in ours), *mine]


def _ours(request: SidecarRequest) -> dict[str, str]:
    """Return what a sidecar sets: calls come by the sockets, so the ports leave the application's address alone."""
    return {
        "PILLION_HTTP__SOCKET": HTTP_SOCKET,
        "PILLION_GRPC__SOCKET": _GRPC_SOCKET,
        # Only containers that mount the folder see them, whoever their user is.
        "PILLION_HTTP__SOCKET_MODE": "666",
        "PILLION_GRPC__SOCKET_MODE": "666",
        "PILLION_HTTP__HOST": "127.0.0.1",
        "PILLION_HTTP__PORT": "0",
        "PILLION_GRPC__HOST": "127.0.0.1",
        "PILLION_GRPC__PORT": "0",
        "PILLION_ADMIN__PORT": str(request.admin_port),
        # A unix socket is one process's.
        "PILLION_WORKERS": "1",
    }


def _renamed(container: JsonObject) -> JsonObject:
    """Return the container with the sidecar's prefix before its own name and those of its volumes."""
    mounts = [mount | {"name": f"{_PREFIX}{mount.get('name')}"} for mount in objects_at(container, "volumeMounts")]
    renamed = container | {"name": f"{_PREFIX}{container.get('name')}"}
    return renamed | ({"volumeMounts": array(mounts)} if mounts else {})


def _usable(container: JsonObject, spec: Manifest) -> JsonObject:
    """Return the container such that it is nobody's but ours in a pod that runs as root."""
    context = object_at(container, "securityContext")
    as_root = number_at(spec, "securityContext", "runAsUser", default=-1) == 0
    if not as_root or "runAsUser" in context or context.get("runAsNonRoot") is not True:
        return container
    return container | {"securityContext": context | {"runAsUser": _USER}}


def _volumes(sidecar: Sidecar) -> list[JsonObject]:
    found: list[JsonObject] = []
    for volume in objects_at(sidecar.template, "spec", "volumes"):
        name = f"{_PREFIX}{volume.get('name')}"
        found.append(_frozen(name) if volume.get("name") == "config" else volume | {"name": name})
    return [*found, {"name": _SOCKETS, "emptyDir": {"medium": "Memory"}}]


def _frozen(name: str) -> JsonObject:
    """Return the volume with runtime.yaml, from the pod itself: what it was admitted with, whatever changes later."""
    source: JsonObject = {"fieldPath": f"metadata.annotations['{SIDECAR_RUNTIME_ANNOTATION}']"}
    return {"name": name, "downwardAPI": {"items": [{"path": CONFIG_FILE, "fieldRef": source}]}}


def _connected(container: JsonObject) -> JsonObject:
    """Return the application's container with the sockets, and the variable that clients of Pillion look for."""
    mounts = objects_at(container, "volumeMounts")
    for mount in mounts:
        if text_at(mount, "mountPath").rstrip("/") == _FOLDER and mount.get("name") != _SOCKETS:
            raise SidecarError(
                f"spec.containers[{container.get('name')}].volumeMounts: {_FOLDER} is where the sidecar's sockets go: "
                "mount yours elsewhere"
            )
    if not any(mount.get("name") == _SOCKETS for mount in mounts):
        mounts = [*mounts, {"name": _SOCKETS, "mountPath": _FOLDER, "readOnly": True}]
    variables = objects_at(container, "env")
    if not any(variable.get("name") == "PILLION_URL" for variable in variables):
        variables = [*variables, {"name": "PILLION_URL", "value": f"unix://{HTTP_SOCKET}"}]
    return container | {"volumeMounts": array(mounts), "env": array(variables)}


def _placed(there: Sequence[JsonObject], ours: Sequence[JsonObject]) -> list[JsonObject]:
    """Return the init containers with ours after the sidecars that come first, which may be the pod's network.

    Those that are there already stay where they are, with what others have added to them.
    """
    names = {text_at(container, "name") for container in there}
    new = [container for container in ours if container["name"] not in names]
    mine = {text_at(container, "name"): container for container in ours}
    kept = [_merged(found, mine.get(text_at(found, "name"))) for found in there]
    at = next((index for index, found in enumerate(kept) if found.get("restartPolicy") != "Always"), len(kept))
    return [*kept[:at], *new, *kept[at:]]


def _merged(there: JsonObject, ours: JsonObject | None) -> JsonObject:
    return there if ours is None or covers(there, ours) else merge_objects(there, ours)


def _by_name(there: Sequence[JsonObject], ours: Sequence[JsonObject]) -> list[JsonObject]:
    mine = {text_at(item, "name"): item for item in ours}
    kept = [_merged(found, mine.get(text_at(found, "name"))) for found in there]
    names = {text_at(item, "name") for item in there}
    return [*kept, *(item for name, item in mine.items() if name not in names)]
