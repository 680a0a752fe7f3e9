from __future__ import annotations

import pytest
from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased

from pillion.tracing.environment import TracingSettings
from pillion.tracing.sampling import Sampler, sampler_named
from pillion.tracing.tracer import Tracer
from tests.unit.tracing.sink import Kept

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = {b"traceparent": f"00-{TRACE}-{SPAN}-01".encode(), b"tracestate": b"a=1"}
UNSAMPLED = {b"traceparent": f"00-{TRACE}-{SPAN}-00".encode()}
NONE: dict[bytes, bytes] = {}


def tracer(name: str, argument: str = "", *, propagate: bool = True) -> Tracer:
    return Tracer(TracingSettings(sampler=sampler_named(name, argument), propagate=propagate), Kept())


@pytest.mark.parametrize(
    ("name", "chosen"),
    [
        ("parentbased_always_on", [SAMPLED, NONE]),
        ("parentbased_always_off", [SAMPLED]),
        ("always_on", [SAMPLED, UNSAMPLED, NONE]),
        ("always_off", []),
    ],
)
def test_the_caller_decides_where_the_sampler_is_based_on_it(name: str, chosen: list[dict[bytes, bytes]]) -> None:
    chooses = tracer(name)
    assert chosen == [headers for headers in (SAMPLED, UNSAMPLED, NONE) if chooses.sampled(headers) is not None]


def test_a_trace_that_is_continued_keeps_its_id_and_gets_a_span_of_its_own() -> None:
    trace = tracer("parentbased_always_on").sampled(SAMPLED)
    assert trace is not None
    assert (int(TRACE, 16), int(SPAN, 16), "a=1") == (trace.trace_id, trace.parent_id, trace.state)
    assert trace.span_id not in (0, trace.parent_id)
    assert TRACE == trace.hexadecimal


def test_without_the_propagator_a_trace_begins_here() -> None:
    trace = tracer("parentbased_always_on", propagate=False).sampled(SAMPLED)
    assert trace is not None
    assert trace.parent_id is None
    assert trace.trace_id != int(TRACE, 16)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.5, 0.99, 1.0])
def test_a_ratio_keeps_the_traces_that_opentelemetrys_own_sampler_keeps(share: float) -> None:
    ours, theirs = Sampler(round(share * (1 << 64))), TraceIdRatioBased(share)
    ids = [step * 0x9E3779B97F4A7C15F39CC0605CEDC835 % (1 << 128) for step in range(1, 2000)]
    for trace_id in ids:
        decision = theirs.should_sample(None, trace_id, "").decision
        assert (decision is Decision.RECORD_AND_SAMPLE) == ours.keeps(trace_id)
