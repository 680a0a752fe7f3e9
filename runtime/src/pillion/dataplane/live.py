"""What runs now, for whoever asks.

Only calls that may have to wait are noted, by their lane and where they leave the event loop anyway; those answered at
once on the loop are over before anybody could ask. Nothing of their content is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pillion.dataplane.call import Call
    from pillion.dataplane.lane import Lane

__all__ = ["LiveCall", "LiveRequest", "live_requests"]


class LiveCall(msgspec.Struct):
    """A call in a lane, as the lane notes it. Seconds on the data plane's clock."""

    call: Call
    arrived: float
    deadline: float | None
    started: float | None = None
    """None while it waits for its turn."""


class LiveRequest(msgspec.Struct, frozen=True):
    """The same for people."""

    request_id: str
    protocol: str
    model: str
    version: str
    phase: str
    """``queued`` or ``running``."""
    age: float
    """Seconds since it reached the data plane."""
    in_phase: float
    """Seconds since its phase began."""
    deadline_left: float | None
    """Seconds, below 0 where it has passed; None without a deadline."""
    client: str
    trace_id: str


def live_requests(lanes: Iterator[Lane], now: float) -> list[LiveRequest]:
    """Everything in those lanes, the oldest first."""
    found = [
        LiveRequest(
            request_id=live.call.request_id,
            protocol=live.call.protocol.value,
            model=lane.metrics.model,
            version=lane.metrics.version,
            phase="queued" if live.started is None else "running",
            age=now - live.arrived,
            in_phase=now - (live.arrived if live.started is None else live.started),
            deadline_left=None if live.deadline is None else live.deadline - now,
            client="" if live.call.client is None else live.call.client(),
            trace_id="" if live.call.times is None else live.call.times.trace_id,
        )
        for lane in lanes
        for live in lane.live.values()
    ]
    return sorted(found, key=lambda request: -request.age)
