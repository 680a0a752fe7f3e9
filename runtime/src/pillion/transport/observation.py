"""Requests that somebody wants to know of: those that are traced, logged, or whose payload is kept.

All of it is decided once, when a request begins, so that the others go the quick way and pay for a look at most. What
there is to tell is told when the request has ended.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import msgspec

from pillion.dataplane.times import Times

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pillion.payload.log import PayloadLog
    from pillion.payload.record import PayloadRecord
    from pillion.tracing.record import RequestTrace
    from pillion.tracing.tracer import Tracer

__all__ = ["Chooser", "Observed"]


class Observed(msgspec.Struct):
    """One such request, from its beginning to its end."""

    began: float
    times: Times
    trace: RequestTrace | None = None
    logged: bool = False
    payload: PayloadRecord | None = None


class Chooser:
    """Which requests are observed.

    Args:
        tracer: chooses those that are traced.
        access: share of requests that are logged.
        payloads: chooses those whose payload is kept.
        clock: the data plane's.
        chance: a number from 0 to below 1.
    """

    def __init__(
        self,
        tracer: Tracer | None,
        access: float,
        payloads: PayloadLog | None,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.tracer = tracer
        self.payloads = payloads
        self.clock = clock
        self._access = access
        self._chance = chance

    def choose(self, headers: Mapping[bytes, bytes], *, prediction: bool = True) -> Observed | None:
        """What is to be known of a request; None for nothing. Only calls of models are traced and kept."""
        logged = self._access > 0 and self._chance() < self._access
        trace = self.tracer.sampled(headers) if prediction and self.tracer is not None else None
        payload = self.payloads.choose(headers) if prediction and self.payloads is not None else None
        if not logged and trace is None and payload is None:
            return None
        times = Times() if trace is None else Times(trace.hexadecimal, span_id=trace.span_id)
        return Observed(self.clock(), times, trace, logged, payload)
