from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from pillion.dataplane.times import Times
from pillion.tracing.record import RequestTrace, TraceRecord
from pillion.tracing.spans import SpanBatch
from tests.integration.observe.receivers import attributes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.proto.trace.v1.trace_pb2 import Span


def spans_of(record: TraceRecord) -> Sequence[Span]:
    batch = SpanBatch({})
    batch.add(record)
    return ExportTraceServiceRequest.FromString(batch.serialised()).resource_spans[0].scope_spans[0].spans


def named(times: Times) -> dict[str, tuple[float, float]]:
    """Spans by name, with their beginning and end in seconds."""
    record = TraceRecord(RequestTrace(1, 2), "POST /", 1.0, 9.0, times, {}, failed=False, unix=0.0)
    return {span.name: (span.start_time_unix_nano / 1e9, span.end_time_unix_nano / 1e9) for span in spans_of(record)}


@pytest.mark.parametrize(
    ("times", "parts"),
    [
        (Times(), {"pillion.decode": (1.0, 9.0)}),
        # Refused in the queue: it never ran.
        (
            Times(arrived=2.0, left=4.0),
            {"pillion.decode": (1.0, 2.0), "pillion.admission": (2.0, 4.0), "pillion.encode": (4.0, 9.0)},
        ),
        (
            Times(arrived=2.0, started=3.0, ended=5.0, left=6.0),
            {
                "pillion.decode": (1.0, 2.0),
                "pillion.admission": (2.0, 3.0),
                "pillion.compute": (3.0, 5.0),
                "pillion.encode": (6.0, 9.0),
            },
        ),
        (
            Times(arrived=2.0, started=3.0, batched=4.0, batch_size=7, ended=5.0, left=6.0),
            {
                "pillion.decode": (1.0, 2.0),
                "pillion.admission": (2.0, 3.0),
                "pillion.batch": (3.0, 4.0),
                "pillion.compute": (4.0, 5.0),
                "pillion.encode": (6.0, 9.0),
            },
        ),
    ],
    ids=["unreadable", "never-ran", "ran", "in-a-batch"],
)
def test_a_request_has_the_spans_that_it_came_to(times: Times, parts: dict[str, tuple[float, float]]) -> None:
    assert {"POST /": (1.0, 9.0), **parts} == named(times)


def test_a_batch_says_how_many_it_holds() -> None:
    times = Times(arrived=2.0, started=3.0, batched=4.0, batch_size=7, ended=5.0, left=6.0, model="iris", version="1")
    record = TraceRecord(RequestTrace(1, 2), "POST /", 1.0, 9.0, times, {}, failed=False, unix=0.0)
    (batch,) = (span for span in spans_of(record) if span.name == "pillion.batch")
    assert {"pillion.model.name": "iris", "pillion.model.version": "1", "pillion.batch.size": 7} == attributes(batch)
