"""A sink that keeps what it is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pillion.tracing.record import TraceRecord


class Kept:
    def __init__(self) -> None:
        self.records: list[TraceRecord] = []

    def offer(self, record: TraceRecord) -> None:
        self.records.append(record)
