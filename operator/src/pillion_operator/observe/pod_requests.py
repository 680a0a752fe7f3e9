"""What pods have answered, how many of it with an error of the server's, and how long it took."""

from __future__ import annotations

import re
from typing import Final

from pillion.errors import ErrorCode
from pillion_operator.analysis.window import RequestCounts
from pillion_operator.observe.pod_metrics import read_text

__all__ = ["RequestSamples", "requests_of"]

_FINISHED: Final = frozenset({"pillion_requests_total", "pillion_application_requests_total"})
_BUCKETS: Final = frozenset(
    {"pillion_request_duration_seconds_bucket", "pillion_application_request_duration_seconds_bucket"}
)
#: Codes that say nothing against the caller; an application's code is the status of HTTP.
_SERVERS: Final = frozenset(
    {
        ErrorCode.MODEL_FAILED, ErrorCode.INTERNAL, ErrorCode.NOT_READY, ErrorCode.QUEUE_FULL, ErrorCode.STORAGE_FULL,
        ErrorCode.DEADLINE_EXCEEDED,
    }
)  # fmt: skip
#: A quote inside another label's value is escaped, so none of them can pass for these.
_CODE: Final = re.compile(r'(?:^|,)code="([^"\\]*)"')
_BOUND: Final = re.compile(r'(?:^|,)le="([0-9]+(?:[.][0-9]+)?(?:e[+-]?[0-9]+)?|[+]Inf)"')


class RequestSamples:
    """Adds up the requests of a pod's models and applications."""

    names: Final = _FINISHED | _BUCKETS

    def __init__(self) -> None:
        self._requests = 0.0
        self._failed = 0.0
        self._buckets: dict[float, float] = {}

    def add(self, name: str, labels: str, value: float) -> None:
        """Take one sample."""
        if name in _FINISHED:
            self._requests += value
            code = _CODE.search(labels)
            self._failed += value if code is not None and _failed(code[1]) else 0.0
            return
        bound = _BOUND.search(labels)
        if bound is not None:
            seconds = float(bound[1])
            self._buckets[seconds] = self._buckets.get(seconds, 0.0) + value

    def result(self) -> RequestCounts:
        """Return the counts."""
        return RequestCounts(self._requests, self._failed, self._buckets)


def requests_of(text: str) -> RequestCounts | None:
    """Read a runtime's metrics; None where they are not a runtime's."""
    return read_text(text, RequestSamples())


def _failed(code: str) -> bool:
    return code in _SERVERS or (code.isdecimal() and int(code) >= 500)
