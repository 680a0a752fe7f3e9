"""What a pod has answered, as its `/metrics` says it."""

from __future__ import annotations

import math

from prometheus_client.core import CollectorRegistry
from prometheus_client.exposition import generate_latest

from pillion.dataplane.call import WireProtocol
from pillion.metrics import RuntimeMetrics
from pillion_operator.analysis.window import RequestCounts
from pillion_operator.observe.pod_requests import requests_of

BUILD = 'pillion_build_info{version="1"} 1.0\n'


def test_errors_of_the_server_are_told_from_those_of_callers() -> None:
    text = BUILD + (
        'pillion_requests_total{code="ok",model="a",protocol="rest",version="1"} 90.0\n'
        'pillion_requests_total{code="model_failed",model="a",protocol="rest",version="1"} 5.0\n'
        'pillion_requests_total{code="deadline_exceeded",model="a",protocol="grpc",version="1"} 1.0\n'
        'pillion_requests_total{code="invalid_argument",model="b,code=\\"internal\\"",protocol="rest"} 4.0\n'
        'pillion_application_requests_total{application="/",code="200",route="/"} 8.0\n'
        'pillion_application_requests_total{application="/",code="404",route="/"} 1.0\n'
        'pillion_application_requests_total{application="/",code="503",route="/"} 1.0\n'
    )

    assert RequestCounts(110.0, 7.0) == requests_of(text)


def test_times_of_models_and_applications_are_added_up() -> None:
    text = BUILD + (
        'pillion_request_duration_seconds_bucket{le="0.1",model="a"} 3.0\n'
        'pillion_request_duration_seconds_bucket{le="+Inf",model="a"} 4.0\n'
        'pillion_application_request_duration_seconds_bucket{le="0.1",application="/"} 1.0\n'
        'pillion_application_request_duration_seconds_bucket{le="+Inf",application="/"} 1.0\n'
        'pillion_request_duration_seconds_bucket{le="soon",model="a"} 9.0\n'
    )

    found = requests_of(text)

    assert found is not None
    assert {0.1: 4.0, math.inf: 5.0} == found.buckets


def test_what_is_not_a_runtimes_is_nothing() -> None:
    assert requests_of("up 1\n") is None


def test_the_runtimes_own_text_is_read() -> None:
    registry = CollectorRegistry()
    model = RuntimeMetrics(registry).model("iris", "1")
    for code, seconds in (("ok", 0.02), ("ok", 0.3), ("model_failed", 0.02), ("invalid_argument", 0.02)):
        model.request(WireProtocol.REST, code, seconds)

    found = requests_of(BUILD + generate_latest(registry).decode())

    assert found is not None
    assert (4.0, 1.0) == (found.requests, found.failed)
    total = found.buckets[math.inf]
    assert (total - 1, total) == (found.buckets[0.025], found.buckets[0.5])
