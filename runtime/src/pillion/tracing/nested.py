"""The place in a trace of what a request's code does: its steps, its calls of other models and services.

Kept in one list of the request, which becomes spans when the request has ended. A request that is not traced has none,
and costs a look.
"""

from __future__ import annotations

import contextlib
import random
import time
from typing import TYPE_CHECKING

import msgspec

from pillion.tracing.context import parse_traceparent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pillion.tracing.record import Attributes

__all__ = ["NestedSpan", "Trace", "trace_of_header"]


class NestedSpan(msgspec.Struct):
    """One of these. Times are seconds on the monotonic clock."""

    name: str
    span_id: int
    parent_id: int
    began: float
    ended: float
    attributes: Attributes
    failed: bool = False
    remote: bool = False
    """Whether another server did the work."""


class Trace(msgspec.Struct):
    """Where code is."""

    trace_id: str
    """32 hexadecimal digits."""
    span_id: int
    spans: list[NestedSpan] | None = None
    """Where more of them go; None where the trace is only passed on."""
    sampled: bool = True

    @property
    def header(self) -> str:
        """``traceparent`` of what is sent from here."""
        return f"00-{self.trace_id}-{self.span_id:016x}-{'01' if self.sampled else '00'}"

    @contextlib.contextmanager
    def span(self, name: str, attributes: Attributes, *, remote: bool = False) -> Iterator[Trace]:
        """Note what happens within, and how it ended."""
        if self.spans is None:
            yield self
            return
        one = NestedSpan(
            name, random.getrandbits(64) or 1, self.span_id, time.monotonic(), 0.0, attributes, remote=remote
        )
        try:
            yield Trace(self.trace_id, one.span_id, self.spans)
        except Exception:
            one.failed = True
            raise
        finally:
            one.ended = time.monotonic()
            self.spans.append(one)


def trace_of_header(value: bytes | None) -> Trace | None:
    """The trace that a request belongs to whose own code is not traced, to be passed on."""
    parent = parse_traceparent(value)
    return None if parent is None else Trace(f"{parent.trace_id:032x}", parent.span_id, sampled=parent.sampled)
