"""W3C Trace Context: the identity of a trace as it travels in ``traceparent``.

Read by hand: nearly every request of a traced system brings the header, and most say that they are not sampled.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["TRACEPARENT", "TRACESTATE", "TraceParent", "header_of", "is_unsampled", "parse_traceparent", "trace_id_of"]

TRACEPARENT: Final = b"traceparent"
TRACESTATE: Final = b"tracestate"
_FORM: Final = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_UNSAMPLED: Final = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f][02468ace]")
_SAMPLED: Final = 0x01


class TraceParent(msgspec.Struct, frozen=True):
    """The caller's place in its trace."""

    trace_id: int
    span_id: int
    sampled: bool


def is_unsampled(value: bytes) -> bool:
    """Whether it is a valid trace that is not sampled: what most requests bring, told at a fifth of reading it."""
    return _UNSAMPLED.fullmatch(value) is not None


def parse_traceparent(value: bytes | None) -> TraceParent | None:
    """The caller's trace; None where there is none, or none that is valid: then a new one begins (W3C, 4.3)."""
    found = None if value is None else _FORM.fullmatch(value)
    if found is None:
        return None
    version, trace, span, flags, more = found.groups()
    # Later versions may say more behind the flags, the first may not; ff is no version.
    if version == b"ff" or (version == b"00" and more is not None):
        return None
    trace_id, span_id = int(trace, 16), int(span, 16)
    if not trace_id or not span_id:
        return None
    return TraceParent(trace_id, span_id, bool(int(flags, 16) & _SAMPLED))


def header_of(scope: Mapping[str, Any], name: bytes) -> bytes | None:
    """A header of a request as ASGI has it."""
    return next((value for key, value in scope.get("headers", ()) if key == name), None)


def trace_id_of(headers: Mapping[bytes, bytes]) -> str:
    """The trace's id as logs have it, whether it is sampled or not; empty without a trace."""
    parent = parse_traceparent(headers.get(TRACEPARENT))
    return "" if parent is None else f"{parent.trace_id:032x}"
