"""The EndpointSlice that leads a Service to the activator, and what keeps a service from having no pods.

Its ports are the durable map: which port of the activator stands for which port of the Service. A number once given
stays until the slice goes, so that neither a new leader nor a restart changes where a connection comes out.
Whether the activator holds connections is said here; at which addresses its replicas are, they write themselves.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from pillion.resources.conventions import NO_AUTOSCALER, annotation
from pillion_operator.scaling.behavior import behavior_of
from pillion_operator.state.kinds import ENDPOINT_SLICE
from pillion_operator.state.manifest import Manifest, array, key_of, object_at
from pillion_operator.state.names import (
    ACTIVATOR_ANNOTATION,
    ACTIVATOR_PORTS,
    ENDPOINTS_MANAGER,
    ENDPOINTS_MANAGER_LABEL,
    HOLDS_ANNOTATION,
    SERVICE_NAME_LABEL,
    activator_slice_name,
)
from pillion_operator.state.slices import ports_of

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

    from pillion.resources import InferenceService
    from pillion.resources.base import JsonObject
    from pillion_operator.builders.context import BuildContext
    from pillion_operator.state.settings import RenderSettings

__all__ = [
    "activator_slice",
    "endpoints_for",
    "planned_before",
    "ports_for",
    "zero_after",
    "zero_obstacle",
]


def zero_obstacle(service: InferenceService, settings: RenderSettings, container: str, *, counted: bool) -> str:
    """Say why one pod stays although `minReplicas` is 0; nothing where it need not.

    `counted` says whether the pods count requests, which only Pillion's runtime does as the operator reads it.
    """
    autoscaler_class = annotation(service.metadata, "autoscalerClass")
    if not settings.activator:
        return "this installation has no activator: set activator.enabled in the chart's values"
    if autoscaler_class in NO_AUTOSCALER:
        return f"the annotation autoscalerClass is {autoscaler_class}: remove it"
    if service.spec.predictor.network_policy is not None:
        return "the activator would let everybody by whom networkPolicy keeps out: remove networkPolicy"
    if not counted:
        return f"the container {container!r} is not Pillion's runtime, and nobody can tell when it is idle"
    if _down(service) is None:
        return "autoScaling.behavior.scaleDown.selectPolicy is Disabled: remove it"
    return ""


def zero_after(service: InferenceService, settings: RenderSettings, *, counted: bool) -> float | None:
    """Return the seconds without a request after which no pod is needed; None where one always is."""
    if service.spec.predictor.min_replicas != 0 or zero_obstacle(service, settings, "", counted=counted):
        return None
    return _down(service)


def _down(service: InferenceService) -> float | None:
    given = service.spec.predictor.auto_scaling
    behavior, _ = behavior_of(given.behavior if given else None)
    return None if behavior.down.select == "Disabled" else behavior.down.window


def activator_slice(context: BuildContext, ports: Sequence[str]) -> JsonObject:
    """Return the slice without its numbers, which are not known here. Source: discovery.k8s.io/v1."""
    labels = {ENDPOINTS_MANAGER_LABEL: ENDPOINTS_MANAGER, SERVICE_NAME_LABEL: context.child_name}
    body: JsonObject = {"addressType": "IPv4", "ports": array({"name": port} for port in ports)}
    return context.manifest(ENDPOINT_SLICE, activator_slice_name(context.name), body, labels)


def planned_before(live: Manifest) -> Manifest:
    """Return a slice that there is as it was planned, for a service of which nothing can be planned now."""
    metadata = {
        name: object_at(live, "metadata").get(name) for name in ("name", "namespace", "labels", "ownerReferences")
    }
    ports = array({"name": port} for port in ports_of(live))
    kind = ENDPOINT_SLICE
    return {
        "apiVersion": kind.api_version,
        "kind": kind.name,
        "metadata": metadata,
        "addressType": "IPv4",
        "ports": ports,
    }


def ports_for(planned: Manifest, has: Mapping[str, int], taken: Container[int]) -> dict[str, int] | None:
    """Return a number for each port of the planned slice: the one that it has, else a free one; None where none is.

    Where to look first depends on the service, so that a number that has just become free is seldom given away at once
    to another, for which some node may not know it yet.
    """
    names = list(ports_of(planned))
    # A port that is called otherwise now, as with TLS, is the same service's all the same.
    spare = [number for name, number in has.items() if name not in names]
    given: dict[str, int] = {}
    start = zlib.crc32(str(key_of(planned)).encode())
    for name in names:
        number = has.get(name) or (spare.pop() if spare else _free(start, taken, (*given.values(), *has.values())))
        if number is None:
            return None
        given[name] = number
    return given


def _free(start: int, taken: Container[int], given: Iterable[int]) -> int | None:
    mine = set(given)
    for step in range(len(ACTIVATOR_PORTS)):
        number = ACTIVATOR_PORTS[(start + step) % len(ACTIVATOR_PORTS)]
        if number not in taken and number not in mine:
            return number
    return None


def endpoints_for(planned: Manifest, ports: Mapping[str, int], activator: str, *, held: bool) -> Manifest:
    """Return the slice with its numbers, and with whether that activator is to hold the Service's connections.

    Where it is, the addresses are its replicas': they are not ours to say. Where it is not, there are to be none.
    """
    entries: list[JsonObject] = [{"name": name, "port": number, "protocol": "TCP"} for name, number in ports.items()]
    annotations: JsonObject = {ACTIVATOR_ANNOTATION: activator, HOLDS_ANNOTATION: "true" if held else "false"}
    metadata = object_at(planned, "metadata") | {"annotations": annotations}
    withdrawn: JsonObject = {} if held else {"endpoints": []}
    return {**planned, "metadata": metadata, "ports": array(entries), **withdrawn}
