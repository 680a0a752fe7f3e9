"""The spans of a request that has ended. Imports the SDK, so only what sends imports this."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.span import TraceState

from pillion._version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from opentelemetry.sdk.resources import Resource

    from pillion.tracing.record import TraceRecord

__all__ = ["spans_of"]

_SCHEMA: Final = "https://opentelemetry.io/schemas/1.30.0"
_SCOPE: Final = InstrumentationScope("pillion", __version__, _SCHEMA)
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)


def spans_of(record: TraceRecord, resource: Resource) -> list[ReadableSpan]:
    """The request's span and below it one for each part of its way that it has come to.

    ``pillion.decode`` until the data plane has it, ``pillion.admission`` until it may run, ``pillion.batch`` until its
    batch begins, ``pillion.compute`` in the model's code, ``pillion.encode`` until the answer was handed to the
    connection.
    """
    trace = record.trace
    state = TraceState.from_header([trace.state]) if trace.state else TraceState()
    own = SpanContext(trace.trace_id, trace.span_id, is_remote=False, trace_flags=_SAMPLED, trace_state=state)
    parent = (
        None
        if trace.parent_id is None
        else SpanContext(trace.trace_id, trace.parent_id, is_remote=True, trace_flags=_SAMPLED, trace_state=state)
    )

    def span(
        name: str,
        began: float,
        ended: float,
        context: SpanContext,
        above: SpanContext | None,
        attributes: Mapping[str, str | int | float | bool],
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        failed: bool = False,
    ) -> ReadableSpan:
        return ReadableSpan(
            name=name,
            context=context,
            parent=above,
            resource=resource,
            attributes=attributes,
            kind=kind,
            status=Status(StatusCode.ERROR if failed else StatusCode.UNSET),
            start_time=_nanoseconds(began + record.unix),
            end_time=_nanoseconds(max(began, ended) + record.unix),
            instrumentation_scope=_SCOPE,
        )

    whole = span(
        record.name, record.began, record.ended, own, parent, record.attributes, kind=SpanKind.SERVER,
        failed=record.failed,
    )  # fmt: skip
    parts = [
        span(
            name,
            began,
            ended,
            SpanContext(trace.trace_id, random.getrandbits(64) or 1, False, _SAMPLED, state),
            own,
            attributes,
        )
        for name, began, ended, attributes in _parts(record)
    ]
    return [whole, *parts]


def _parts(record: TraceRecord) -> Iterator[tuple[str, float, float, Mapping[str, str | int | float | bool]]]:
    """What the request went through. It ended in the first part whose end is not known."""
    times = record.times
    if not times.arrived:
        yield "pillion.decode", record.began, record.ended, {}
        return
    model = {"pillion.model.name": times.model, "pillion.model.version": times.version}
    yield "pillion.decode", record.began, times.arrived, {}
    yield "pillion.admission", times.arrived, times.started or times.left or record.ended, model
    if times.started:
        begun = times.started
        if times.batched:
            yield "pillion.batch", begun, times.batched, {**model, "pillion.batch.size": times.batch_size}
            begun = times.batched
        yield "pillion.compute", begun, times.ended, model
    if times.left:
        yield "pillion.encode", times.left, record.ended, {}


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
