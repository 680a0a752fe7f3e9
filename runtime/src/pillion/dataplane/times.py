"""When a request passed where: filled in on its way, for those who asked before it began.

Traces, exemplars and logs are made of it after the request has ended. A request that nobody asked about has none, and
what it costs is the look whether it has one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from pillion.tracing.nested import NestedSpan, Trace

__all__ = ["Times"]


class Times(msgspec.Struct):
    """Seconds on the data plane's clock (``time.monotonic`` by default); 0 where the request has not been.

    A request goes: arrived (decoded, handed over) - started (admitted, out of the queue) - batched (its batch began) -
    ended (computed) - left (the data plane's answer). Where nothing is batched ``batched`` stays 0.
    """

    trace_id: str = ""
    """The trace it belongs to, where it is sampled: 32 hexadecimal digits. Becomes the exemplar."""
    model: str = ""
    version: str = ""
    """Who answered, as the data plane resolved it."""
    arrived: float = 0.0
    started: float = 0.0
    ended: float = 0.0
    left: float = 0.0
    batched: float = 0.0
    """When the batch began that this request was computed in; between ``started`` and ``ended``."""
    batch_size: int = 0
    """Requests in that batch."""
    span_id: int = 0
    """The request's own, where it is sampled."""
    spans: list[NestedSpan] = []
    """What its code did, of which spans are made."""

    @property
    def trace(self) -> Trace | None:
        """The place of its code in its trace, where it is sampled."""
        if not self.trace_id:
            return None
        from pillion.tracing.nested import Trace  # noqa: PLC0415 - only for requests that are sampled

        return Trace(self.trace_id, self.span_id, self.spans)

    def shared(self, arrived: float, batched: float, ended: float, size: int) -> None:
        """Note the same of a call that ``size`` requests shared: all that it waited, it waited for its batch."""
        self.started, self.batched, self.ended, self.batch_size = arrived, batched, ended, size

    def computed(self, started: float, ended: float) -> None:
        """Note when the model's code ran, whatever came of it."""
        self.started = started
        self.ended = ended
