"""Who asks, for handlers: the request's id, its connection, and what somebody wants to know of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from pillion.dataplane.call import Call

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from pillion.dataplane.call import WireProtocol
    from pillion.transport.http.budget import HeldBytes
    from pillion.transport.observation import Observed

__all__ = ["Caller", "client_of"]


class Caller(msgspec.Struct):
    """The circumstances of one request over HTTP."""

    request_id: str
    scope: MutableMapping[str, Any]
    observed: Observed | None = None
    held: HeldBytes | None = None
    """What its body takes of the memory for all bodies, where it is not small."""
    priority: int = 0
    """As its header asks for it."""

    def call(self, protocol: WireProtocol, deadline: float | None) -> Call:
        """The same as the data plane takes it."""
        times = None if self.observed is None else self.observed.times
        return Call(protocol, self.request_id, deadline, times, self.client, self.priority)

    def client(self) -> str:
        """The address at the other end of the connection; empty where it is not known."""
        return client_of(self.scope)


def client_of(scope: MutableMapping[str, Any]) -> str:
    """The address at the other end of a connection; empty where it is not known."""
    client = scope.get("client")
    return f"{client[0]}:{client[1]}" if client else ""
