"""The decision at the beginning of a request, and the hand-over at its end. Everything here is the event loop's."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Protocol

from pillion.tracing.context import TRACEPARENT, TRACESTATE, is_unsampled, parse_traceparent
from pillion.tracing.record import RequestTrace, TraceRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pillion.dataplane.times import Times
    from pillion.tracing.environment import TracingSettings
    from pillion.tracing.record import Attributes

__all__ = ["TraceSink", "Tracer"]

_LONGEST_STATE = 512
"""What W3C Trace Context (3.3.1.5) asks everybody to pass on; it is in each span of a trace."""


class TraceSink(Protocol):
    """Where traces of requests that have ended go."""

    def offer(self, record: TraceRecord) -> None:
        """Take one, or drop it: never wait."""
        ...


class Tracer:
    """Chooses the requests that are traced.

    Args:
        settings: of the environment.
        sink: where their records go.
        bits: random numbers of so many bits.
    """

    def __init__(
        self, settings: TracingSettings, sink: TraceSink, bits: Callable[[int], int] = random.getrandbits
    ) -> None:
        self._sampler = settings.sampler
        self._bound = settings.sampler.bound
        self._parent_based = settings.sampler.parent_based
        self._propagate = settings.propagate
        self._sink = sink
        self._bits = bits

    def sampled(self, headers: Mapping[bytes, bytes]) -> RequestTrace | None:
        """The identity of a request that is to be traced; None for the others, which it costs next to nothing."""
        given = headers.get(TRACEPARENT) if self._propagate else None
        if given is None:
            return self._begun()
        if self._parent_based and is_unsampled(given):
            return None
        parent = parse_traceparent(given)
        if parent is None:
            return self._begun()
        if not (parent.sampled if self._parent_based else self._sampler.keeps(parent.trace_id)):
            return None
        state = headers.get(TRACESTATE, b"")
        if len(state) > _LONGEST_STATE or not state.isascii():
            state = b""
        return RequestTrace(parent.trace_id, self._bits(64) or 1, parent.span_id, state.decode())

    def _begun(self) -> RequestTrace | None:
        """A trace that begins here, if it is to be."""
        low = self._bits(64)
        if low >= self._bound:  # as Sampler.keeps, which looks at the lower half of an id only
            return None
        return RequestTrace((self._bits(64) or 1) << 64 | low, self._bits(64) or 1)

    def ended(
        self,
        trace: RequestTrace,
        name: str,
        began: float,
        ended: float,
        times: Times,
        attributes: Attributes,
        *,
        failed: bool,
    ) -> None:
        """Hand a traced request over. Never waits."""
        unix = time.time() - time.monotonic()
        self._sink.offer(TraceRecord(trace, name, began, ended, times, attributes, failed, unix))
