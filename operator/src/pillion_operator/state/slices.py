"""Reading the EndpointSlices that lead to the activator: the operator makes them, the activator follows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pillion_operator.state.manifest import annotations_of, number_at, object_at, objects_at, text_at, value_at
from pillion_operator.state.names import ACTIVATOR_ANNOTATION, HOLDS_ANNOTATION

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pillion_operator.state.manifest import Manifest

__all__ = ["addresses_of", "holds", "ports_of", "ready_in"]


def ports_of(slice_: Manifest | None) -> dict[str, int]:
    """Return which port of the activator stands for each port of the Service."""
    return {text_at(port, "name"): number_at(port, "port") for port in objects_at(slice_ or {}, "ports")}


def addresses_of(slice_: Manifest | None) -> tuple[str, ...]:
    """Return where it leads."""
    return tuple(sorted(address for one in objects_at(slice_ or {}, "endpoints") for address in _addresses(one)))


def ready_in(slice_: Manifest) -> Iterable[str]:
    """Yield the addresses that are Ready; nothing said means Ready. Source: discovery.k8s.io/v1 EndpointSlice."""
    for endpoint in objects_at(slice_, "endpoints"):
        if object_at(endpoint, "conditions").get("ready") is not False:
            yield from _addresses(endpoint)


def holds(slice_: Manifest, activator: str = "") -> bool:
    """Whether the slice says that the activator, or this very one, is to hold the Service's connections."""
    said = annotations_of(slice_)
    return said.get(HOLDS_ANNOTATION) == "true" and activator in {"", said.get(ACTIVATOR_ANNOTATION, "")}


def _addresses(endpoint: Manifest) -> Iterable[str]:
    addresses = value_at(endpoint, "addresses")
    return map(str, addresses) if isinstance(addresses, list) else ()
