"""One request whose payload is kept."""

from __future__ import annotations

import msgspec

__all__ = ["PayloadRecord"]


class PayloadRecord(msgspec.Struct):
    """What the events of one request have in common."""

    event_id: str
    """``Ce-Id`` of the caller, else the request's id once that is known."""
    metadata: str
    """Chosen request headers, as JSON: names to lists of values."""
