"""Which requests are traced: OpenTelemetry's samplers, as decisions about numbers.

Made before there is a span, so that a request that is not sampled costs a comparison. By the same rule as the SDK's
``TraceIdRatioBased``, so that services that share a ratio keep the same traces.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec

__all__ = ["ALWAYS", "Sampler", "sampler_named"]

_RANGE: Final = 1 << 64
_PARENT_BASED: Final = "parentbased_"


class Sampler(msgspec.Struct, frozen=True):
    """A decision about traces: ``bound`` of 2^64 traces are kept; with ``parent_based`` the caller's counts."""

    bound: int
    parent_based: bool = True

    def keeps(self, trace_id: int) -> bool:
        """Whether a trace of that id is sampled."""
        return trace_id % _RANGE < self.bound


ALWAYS: Final = Sampler(_RANGE)
"""The default: ``parentbased_always_on``."""


def sampler_named(name: str, argument: str) -> Sampler:
    """The sampler of ``OTEL_TRACES_SAMPLER`` and ``OTEL_TRACES_SAMPLER_ARG``.

    Raises:
        ValueError: there is none of that name, or the share is not a number from 0 to 1; the text says what is.
    """
    rule = name.removeprefix(_PARENT_BASED)
    parent_based = rule != name
    match rule:
        case "always_on":
            return Sampler(_RANGE, parent_based)
        case "always_off":
            return Sampler(0, parent_based)
        case "traceidratio":
            return Sampler(round(_share(argument) * _RANGE), parent_based)
        case _:
            known = "always_on, always_off, traceidratio, or one of these behind parentbased_"
            raise ValueError(f"OTEL_TRACES_SAMPLER={name}: there is no such sampler here; use {known}")


def _share(text: str) -> float:
    try:
        share = float(text) if text else 1.0
    except ValueError:
        share = math.nan
    if not 0 <= share <= 1:
        raise ValueError(f"OTEL_TRACES_SAMPLER_ARG={text}: expected a number from 0 to 1")
    return share
