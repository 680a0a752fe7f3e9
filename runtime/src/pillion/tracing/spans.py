"""The spans of requests that have ended, as OTLP's messages. Imports them, so only what sends imports this."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from pillion._version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from google.protobuf.internal.containers import RepeatedCompositeFieldContainer
    from opentelemetry.proto.common.v1.common_pb2 import KeyValue

    from pillion.tracing.record import Attributes, TraceRecord

__all__ = ["SpanBatch"]

_SCHEMA: Final = "https://opentelemetry.io/schemas/1.30.0"
_SAMPLED: Final = 0x01
_REMOTE_KNOWN: Final = 0x100
_REMOTE: Final = 0x200
"""Bits of a span's flags: that it is sampled, that it is known where its parent is, and that this is elsewhere."""


class SpanBatch:
    """What is sent at once: the spans of several requests by one sender."""

    def __init__(self, resource: Attributes) -> None:
        self._message = ExportTraceServiceRequest()
        sender = self._message.resource_spans.add()
        _put(sender.resource.attributes, resource)
        scope = sender.scope_spans.add(schema_url=_SCHEMA)
        scope.scope.name, scope.scope.version = "pillion", __version__
        self._spans = scope.spans
        self.traces = 0
        """Requests in it."""

    def add(self, record: TraceRecord) -> None:
        """Add the request's span and below it one for each part of its way that it has come to.

        ``pillion.decode`` until the data plane has it, ``pillion.admission`` until it may run, ``pillion.batch`` until
        its batch begins, ``pillion.compute`` in the model's code, ``pillion.encode`` until the connection has the
        answer. What that code did itself is below the request, too: ``pillion.step`` of a flow, ``pillion.call`` of
        another model, ``pillion.remote`` of another service.
        """
        self.traces += 1
        trace = record.trace
        trace_id, own = trace.trace_id.to_bytes(16, "big"), trace.span_id.to_bytes(8, "big")
        whole = self._spans.add(
            trace_id=trace_id,
            span_id=own,
            parent_span_id=b"" if trace.parent_id is None else trace.parent_id.to_bytes(8, "big"),
            trace_state=trace.state,
            flags=_SAMPLED | _REMOTE_KNOWN | (0 if trace.parent_id is None else _REMOTE),
            name=record.name,
            kind=Span.SPAN_KIND_SERVER,
            start_time_unix_nano=_nanoseconds(record, record.began),
            end_time_unix_nano=_nanoseconds(record, record.ended),
        )
        _put(whole.attributes, record.attributes)
        if record.failed:
            whole.status.code = Status.STATUS_CODE_ERROR
        for part in _parts(record):
            span = self._spans.add(
                trace_id=trace_id,
                span_id=(random.getrandbits(64) or 1).to_bytes(8, "big"),
                parent_span_id=own,
                trace_state=trace.state,
                flags=_SAMPLED | _REMOTE_KNOWN,
                name=part.name,
                kind=Span.SPAN_KIND_INTERNAL,
                start_time_unix_nano=_nanoseconds(record, part.began),
                end_time_unix_nano=_nanoseconds(record, max(part.began, part.ended)),
            )
            _put(span.attributes, part.attributes)

        for nested in record.times.spans:
            span = self._spans.add(
                trace_id=trace_id,
                span_id=nested.span_id.to_bytes(8, "big"),
                parent_span_id=nested.parent_id.to_bytes(8, "big"),
                trace_state=trace.state,
                flags=_SAMPLED | _REMOTE_KNOWN,
                name=nested.name,
                kind=Span.SPAN_KIND_CLIENT if nested.remote else Span.SPAN_KIND_INTERNAL,
                start_time_unix_nano=_nanoseconds(record, nested.began),
                end_time_unix_nano=_nanoseconds(record, nested.ended),
            )
            _put(span.attributes, nested.attributes)
            if nested.failed:
                span.status.code = Status.STATUS_CODE_ERROR

    def serialised(self) -> bytes:
        """The message."""
        return self._message.SerializeToString()


class _Part(NamedTuple):
    name: str
    began: float
    ended: float
    attributes: Attributes


def _parts(record: TraceRecord) -> Iterator[_Part]:
    """What the request went through. It ended in the first part whose end is not known."""
    times = record.times
    if not times.arrived:
        yield _Part("pillion.decode", record.began, record.ended, {})
        return
    model: Attributes = {"pillion.model.name": times.model, "pillion.model.version": times.version}
    yield _Part("pillion.decode", record.began, times.arrived, {})
    yield _Part("pillion.admission", times.arrived, times.started or times.left or record.ended, model)
    if times.started:
        begun = times.started
        if times.batched:
            yield _Part("pillion.batch", begun, times.batched, {**model, "pillion.batch.size": times.batch_size})
            begun = times.batched
        yield _Part("pillion.compute", begun, times.ended, model)
    if times.left:
        yield _Part("pillion.encode", times.left, record.ended, {})


def _put(attributes: RepeatedCompositeFieldContainer[KeyValue], values: Mapping[str, str | int | float | bool]) -> None:
    for key, value in values.items():
        entry = attributes.add(key=key)
        match value:
            case bool():
                entry.value.bool_value = value
            case int():
                entry.value.int_value = value
            case float():
                entry.value.double_value = value
            case _:
                entry.value.string_value = value


def _nanoseconds(record: TraceRecord, seconds: float) -> int:
    return int((seconds + record.unix) * 1e9)
