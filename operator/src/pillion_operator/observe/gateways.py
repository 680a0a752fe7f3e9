"""Reading a Gateway: what it listens on, and its addresses. Source: Gateway API v1, Gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pillion_operator.state.manifest import number_at, objects_at, text_at
from pillion_operator.state.routes import GatewayFacts, Listener

if TYPE_CHECKING:
    from pillion_operator.state.manifest import Manifest

__all__ = ["gateway_facts"]


def gateway_facts(gateway: Manifest | None) -> GatewayFacts:
    """Return the facts about a Gateway; its status says the addresses that it really has."""
    if gateway is None:
        return GatewayFacts(found=False)
    listeners = (
        Listener(text_at(one, "name"), text_at(one, "protocol"), number_at(one, "port"), text_at(one, "hostname"))
        for one in objects_at(gateway, "spec", "listeners")
    )
    addresses = (text_at(one, "value") for one in objects_at(gateway, "status", "addresses"))
    return GatewayFacts(found=True, listeners=tuple(listeners), addresses=tuple(filter(None, addresses)))
