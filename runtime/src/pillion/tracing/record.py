"""What is known of a traced request when it has ended: numbers and names, of which spans are made elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from pillion.dataplane.times import Times

__all__ = ["Attributes", "RequestTrace", "TraceRecord"]

Attributes = dict[str, str | int | float | bool]


class RequestTrace(msgspec.Struct, frozen=True):
    """The identity of a sampled request: its own span, and that of whoever sent it."""

    trace_id: int
    span_id: int
    parent_id: int | None = None
    state: str = ""
    """``tracestate`` as it came."""

    @property
    def hexadecimal(self) -> str:
        """The trace's id as logs and exemplars have it."""
        return f"{self.trace_id:032x}"


class TraceRecord(msgspec.Struct, frozen=True):
    """A traced request that has ended. Times are seconds on the data plane's clock."""

    trace: RequestTrace
    name: str
    began: float
    ended: float
    times: Times
    attributes: Attributes
    failed: bool
    """Whether the server is at fault, as OpenTelemetry's conventions draw that line for each protocol."""
    unix: float
    """What to add to these seconds to have Unix time."""
