"""``/debug/requests``: what waits and runs now, as JSON for programs and as a table for people. Never what it holds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pillion.dataplane.live import LiveRequest

__all__ = ["as_json", "as_text"]

_MOST: Final = 500
_COLUMNS: Final = ("AGE", "PHASE", "IN PHASE", "LEFT", "MODEL", "VERSION", "PROTOCOL", "CLIENT", "ID")


def as_json(requests: Sequence[LiveRequest]) -> bytes:
    """The oldest of them, and how many there are."""
    return json.dumps(
        {
            "running": sum(request.phase == "running" for request in requests),
            "queued": sum(request.phase == "queued" for request in requests),
            "truncated": len(requests) > _MOST,
            "requests": [
                {
                    "id": request.request_id,
                    "protocol": request.protocol,
                    "model": request.model,
                    "version": request.version,
                    "phase": request.phase,
                    "ageSeconds": round(request.age, 3),
                    "phaseSeconds": round(request.in_phase, 3),
                    "deadlineLeftSeconds": None if request.deadline_left is None else round(request.deadline_left, 3),
                    "client": request.client,
                    "traceId": request.trace_id,
                }
                for request in requests[:_MOST]
            ],
        }
    ).encode()


def as_text(requests: Sequence[LiveRequest]) -> bytes:
    """The same in columns."""
    rows = [
        (
            f"{request.age:.3f}s",
            request.phase,
            f"{request.in_phase:.3f}s",
            "-" if request.deadline_left is None else f"{request.deadline_left:.3f}s",
            request.model,
            request.version,
            request.protocol,
            request.client or "-",
            request.request_id,
        )
        for request in requests[:_MOST]
    ]
    widths = [max(len(row[place]) for row in (_COLUMNS, *rows)) for place in range(len(_COLUMNS))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (_COLUMNS, *rows)
    ]
    running = sum(request.phase == "running" for request in requests)
    head = f"{running} running, {len(requests) - running} queued"
    if len(requests) > _MOST:
        head += f"; the oldest {_MOST} are shown"
    return "\n".join([head, *lines, ""]).encode()
