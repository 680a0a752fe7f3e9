"""Which EndpointSlices are believed to be the map. Pure.

Whoever may write EndpointSlices in a namespace could otherwise have the activator listen where it should not, or under
the name of a service that is not there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pillion_operator.state.kinds import INFERENCE_SERVICE
from pillion_operator.state.manifest import Key, Manifest, annotations_of, key_of, labels_of, objects_at, text_at
from pillion_operator.state.names import (
    ACTIVATOR_ANNOTATION,
    ACTIVATOR_PORTS,
    ENDPOINTS_MANAGER,
    ENDPOINTS_MANAGER_LABEL,
    OWNER_LABEL,
    SERVICE_NAME_LABEL,
    activator_slice_name,
    predictor_name,
)
from pillion_operator.state.slices import addresses_of, ports_of

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["distrust", "is_for", "is_of_former_release"]

#: A predictor has at most its HTTP, HTTPS and gRPC ports.
_MOST_PORTS: Final = 8


def is_for(manifest: Manifest, activator: str) -> bool:
    """Whether the slice says that it is the map of that activator; others in the cluster have theirs."""
    ours = labels_of(manifest).get(ENDPOINTS_MANAGER_LABEL) == ENDPOINTS_MANAGER
    return ours and annotations_of(manifest).get(ACTIVATOR_ANNOTATION) == activator


def is_of_former_release(manifest: Manifest, services: Mapping[Key, str], replicas: frozenset[str]) -> bool:
    """Whether an operator of a former release had the slice lead to these replicas: it named no activator."""
    ours = labels_of(manifest).get(ENDPOINTS_MANAGER_LABEL) == ENDPOINTS_MANAGER
    named = ACTIVATOR_ANNOTATION in annotations_of(manifest)
    return ours and not named and not replicas.isdisjoint(addresses_of(manifest)) and not distrust(manifest, services)


def distrust(manifest: Manifest, services: Mapping[Key, str]) -> str:
    """Say why a slice is not believed; nothing where it is. `services` are the uids of the InferenceServices."""
    key, labels = key_of(manifest), labels_of(manifest)
    service = labels.get(OWNER_LABEL, "")
    if key.name != activator_slice_name(service):
        return f"it is not called {activator_slice_name(service)!r}"
    if labels.get(SERVICE_NAME_LABEL) != predictor_name(service):
        return f"its label {SERVICE_NAME_LABEL} is not {predictor_name(service)!r}"
    uid = services.get(Key(key.namespace, service))
    if uid is None:
        return f"there is no InferenceService {service!r}"
    owner = next((one for one in objects_at(manifest, "metadata", "ownerReferences") if one.get("controller")), {})
    said = tuple(text_at(owner, field) for field in ("apiVersion", "kind", "name", "uid"))
    if said != (INFERENCE_SERVICE.api_version, INFERENCE_SERVICE.name, service, uid):
        return f"the InferenceService {service!r} is not the controller among its ownerReferences"
    ports = ports_of(manifest)
    if len(ports) > _MOST_PORTS:
        return f"it has {len(ports)} ports, and {_MOST_PORTS} are the most"
    outside = [number for number in ports.values() if number not in ACTIVATOR_PORTS]
    if outside:
        return f"port {outside[0]} is not from {ACTIVATOR_PORTS.start} to {ACTIVATOR_PORTS.stop - 1}"
    return ""
