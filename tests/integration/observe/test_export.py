"""Sending traces to a collector that does not always answer well."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from pillion.dataplane.times import Times
from pillion.tracing.endpoint import Endpoint
from pillion.tracing.environment import TracingSettings
from pillion.tracing.export import TraceExport
from pillion.tracing.record import RequestTrace, TraceRecord
from pillion.web_address import web_address
from tests.integration.observe.receivers import receiver
from tests.waiting import until_now

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.observe.receivers import Received

SOON = TracingSettings(interval=0.01)


@pytest.fixture
def received() -> Iterator[Received]:
    with receiver() as found:
        yield found


def export(received: Received, *, compress: bool = False, timeout: float = 20.0) -> TraceExport:
    address = web_address(f"{received.url}/v1/traces", of="a collector")
    headers = {"authorization": "Bearer abc"}
    return TraceExport(SOON, Endpoint(address, headers, timeout, compress), {"service.name": "test"})


def record(number: int) -> TraceRecord:
    return TraceRecord(RequestTrace(number, 1), "GET /", 1.0, 2.0, Times(), {}, failed=False, unix=0.0)


def test_a_batch_is_sent_again_after_an_answer_that_asks_for_it(received: Received) -> None:
    received.status = 503
    sending = export(received)
    sending.offer(record(1))
    until_now(lambda: len(received.requests) == 1)
    received.status = 200
    until_now(lambda: sending.counts["exported"] == 1)
    sending.close()
    assert received.requests[0] == received.requests[1]
    assert {"exported": 1, "failed": 0, "dropped": 0} == sending.counts


def test_a_batch_that_the_collector_refuses_is_given_up_and_the_next_one_goes(
    received: Received, caplog: pytest.LogCaptureFixture
) -> None:
    received.status = 400
    sending = export(received)
    sending.offer(record(1))
    until_now(lambda: sending.counts["failed"] == 1)
    received.status = 200
    sending.offer(record(2))
    until_now(lambda: sending.counts["exported"] == 1)
    sending.close()
    assert 2 == len(received.requests)
    assert ["the collector answered 400"] == [line.message.rpartition(": ")[2] for line in caplog.records]


def test_a_collector_that_is_away_costs_its_time_and_no_more(received: Received) -> None:
    gone = export(received, timeout=0.2)
    received.status = 503
    gone.offer(record(1))
    until_now(lambda: gone.counts["failed"] == 1)
    gone.close()


def test_bodies_are_gzipped_where_that_is_asked_for_and_headers_are_sent(received: Received) -> None:
    sending = export(received, compress=True)
    sending.offer(record(7))
    sending.close()
    ((path, headers, body),) = received.requests
    assert ("/v1/traces", "gzip", "application/x-protobuf", "Bearer abc") == (
        path,
        headers["content-encoding"],
        headers["content-type"],
        headers["authorization"],
    )
    spans = ExportTraceServiceRequest.FromString(gzip.decompress(body)).resource_spans[0].scope_spans[0].spans
    assert [(7).to_bytes(16, "big")] == list({span.trace_id for span in spans})
