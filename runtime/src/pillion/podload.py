"""How busy a pod is, by what its runtime counts: which metrics say so, for whoever reads them from outside.

The operator scales by them, and `pillion top` shows them. No metrics library is needed: the base install has none.
"""

from __future__ import annotations

import math
import re
from typing import Final

__all__ = ["ALWAYS", "FINISHED", "RUNNING", "SAMPLE", "TIMES", "WAITING", "value_of"]

RUNNING: Final = ("pillion_in_flight", "pillion_application_requests_in_flight", "pillion_application_websockets")
"""Gauges of what runs now."""
WAITING: Final = ("pillion_queue_length", "pillion_application_queue_depth")
"""Gauges of what waits now."""
FINISHED: Final = ("pillion_requests_total", "pillion_application_requests_total")
"""Counters of what has ended."""
TIMES: Final = ("pillion_request_duration_seconds", "pillion_application_request_duration_seconds")
"""Histograms of how long it took."""
ALWAYS: Final = "pillion_build_info"
"""Every runtime counts it, however idle: an answer without it is not a runtime's."""
SAMPLE: Final = re.compile(r"(?P<name>pillion_[a-z_]+)(?:\{(?P<labels>.*)\})?[ \t]*(?P<value>\S*)")
"""A name, labels, which may hold braces, and a value, after which a time may stand. Source: Prometheus text 0.0.4."""


def value_of(said: str) -> float | None:
    """The value of a sample; None where it cannot be that of a count."""
    try:
        value = float(said)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None
