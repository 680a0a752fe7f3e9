from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from pillion.dataplane.call import ModelState, ModelStatus, WireProtocol
from pillion.execution.api import WorkerState
from pillion.metrics import OK, Distribution, LaneGauges, RuntimeMetrics


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> RuntimeMetrics:
    return RuntimeMetrics(registry)


def values(registry: CollectorRegistry, sample: str) -> dict[tuple[tuple[str, str], ...], float]:
    """Samples of one name by their labels, as the public parser reads them."""
    found: dict[tuple[tuple[str, str], ...], float] = {}
    for family in parse(generate_latest(registry).decode()):
        for line in family.samples:
            if line.name == sample:
                found[tuple(sorted(line.labels.items()))] = line.value
    return found


def labels(**pairs: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(pairs.items()))


def test_requests_are_counted_by_model_version_protocol_and_code(
    registry: CollectorRegistry, metrics: RuntimeMetrics
) -> None:
    entry = metrics.model("iris", "1")
    entry.request(WireProtocol.REST, OK, 0.001)
    entry.request(WireProtocol.REST, OK, 0.001)
    entry.request(WireProtocol.GRPC, "queue_full", 0.001)
    assert values(registry, "pillion_requests_total") == {
        labels(model="iris", version="1", protocol="rest", code="ok"): 2.0,
        labels(model="iris", version="1", protocol="grpc", code="queue_full"): 1.0,
    }


def test_durations_fall_into_cumulative_buckets(registry: CollectorRegistry, metrics: RuntimeMetrics) -> None:
    entry = metrics.model("iris", "1")
    for seconds in (0.00005, 0.003, 100.0):
        entry.request(WireProtocol.REST, OK, seconds)
    buckets = {
        dict(key)["le"]: value for key, value in values(registry, "pillion_request_duration_seconds_bucket").items()
    }
    assert {"0.0001": 1.0, "0.0025": 1.0, "0.005": 2.0, "60.0": 2.0, "+Inf": 3.0}.items() <= buckets.items()
    key = labels(model="iris", version="1", protocol="rest")
    assert values(registry, "pillion_request_duration_seconds_count")[key] == 3.0
    assert values(registry, "pillion_request_duration_seconds_sum")[key] == pytest.approx(100.00305)


def test_a_duration_on_a_bound_belongs_to_that_bucket() -> None:
    distribution = Distribution()
    distribution.observe(0.001)
    assert dict(distribution.buckets())["0.001"] == 1.0
    assert dict(distribution.buckets())["0.0005"] == 0.0


def test_gauges_add_up_over_the_old_and_the_new_model_during_a_replacement(
    registry: CollectorRegistry, metrics: RuntimeMetrics
) -> None:
    entry = metrics.model("iris", "1")
    entry.gauges += [LaneGauges(lambda: 2, lambda: 5, lambda: 1), LaneGauges(lambda: 1, lambda: 0, lambda: 0)]
    key = labels(model="iris", version="1")
    assert values(registry, "pillion_in_flight") == {key: 3.0}
    assert values(registry, "pillion_queue_length") == {key: 5.0}
    assert values(registry, "pillion_abandoned_calls") == {key: 1.0}


def test_the_limit_of_calls_is_told_of_models_outside_of_the_event_loop(
    registry: CollectorRegistry, metrics: RuntimeMetrics
) -> None:
    metrics.model("iris", "1").gauges.append(LaneGauges(lambda: 0, lambda: 0, lambda: 0))
    metrics.model("slow", "1").gauges.append(
        LaneGauges(lambda: 0, lambda: 0, lambda: 0, limit=lambda: 4, shedding=lambda: True)
    )
    assert values(registry, "pillion_concurrency_limit") == {labels(model="slow", version="1"): 4.0}
    assert values(registry, "pillion_queue_shedding") == {labels(model="slow", version="1"): 1.0}


def test_worker_processes_add_up_over_the_old_and_the_new_model_during_a_replacement(
    registry: CollectorRegistry, metrics: RuntimeMetrics
) -> None:
    def lane(*workers: WorkerState) -> LaneGauges:
        return LaneGauges(lambda: 0, lambda: 0, lambda: 0, lambda: workers)

    former = lane(WorkerState(0, 7, ready=True, starts=3, rss=100), WorkerState(1, 0, ready=False, starts=1, rss=0))
    metrics.model("iris", "1").gauges += [former, lane(WorkerState(0, 9, ready=True, starts=1, rss=50))]
    key = labels(model="iris", version="1")
    assert values(registry, "pillion_workers") == {key: 2.0}
    assert values(registry, "pillion_worker_restarts_total") == {key: 2.0}
    assert values(registry, "pillion_worker_resident_bytes") == {
        labels(model="iris", version="1", worker="0"): 150.0,
        labels(model="iris", version="1", worker="1"): 0.0,
    }


def test_workers_that_have_served_long_enough_do_not_count_as_restarted(
    registry: CollectorRegistry, metrics: RuntimeMetrics
) -> None:
    state = WorkerState(0, 7, ready=True, starts=4, rss=1, recycled=2, calls=3)
    metrics.model("iris", "1").gauges.append(LaneGauges(lambda: 0, lambda: 0, lambda: 0, lambda: [state]))
    key = labels(model="iris", version="1")
    assert values(registry, "pillion_worker_restarts_total") == {key: 1.0}
    assert values(registry, "pillion_worker_recycles_total") == {key: 2.0}
    assert values(registry, "pillion_worker_calls") == {labels(model="iris", version="1", worker="0"): 3.0}


def test_models_without_worker_processes_have_no_series_of_them(
    registry: CollectorRegistry, metrics: RuntimeMetrics
) -> None:
    metrics.model("iris", "1").gauges += [LaneGauges(lambda: 2, lambda: 5, lambda: 1)]
    assert "pillion_worker" not in generate_latest(registry).decode()


def test_exactly_one_state_of_a_model_is_one(registry: CollectorRegistry, metrics: RuntimeMetrics) -> None:
    metrics.follow(lambda: [ModelStatus("iris", "1", ModelState.READY)])
    states = {dict(key)["state"]: value for key, value in values(registry, "pillion_model_state").items()}
    assert states == {"LOADING": 0.0, "READY": 1.0, "UNLOADING": 0.0, "UNAVAILABLE": 0.0}


def test_requests_refused_before_a_model_is_known_carry_no_made_up_name(
    registry: CollectorRegistry, metrics: RuntimeMetrics
) -> None:
    metrics.refused(WireProtocol.REST, "unknown_model")
    assert values(registry, "pillion_requests_total") == {
        labels(model="", version="", protocol="rest", code="unknown_model"): 1.0
    }
    assert values(registry, "pillion_in_flight") == {}


def test_limits_that_were_hit_are_counted_by_their_setting(
    registry: CollectorRegistry, metrics: RuntimeMetrics
) -> None:
    metrics.limit_hit("limits.max_body_bytes")
    assert values(registry, "pillion_limit_hits_total") == {labels(limit="limits.max_body_bytes"): 1.0}


def test_names_with_quotes_and_line_breaks_survive_the_exposition(
    registry: CollectorRegistry, metrics: RuntimeMetrics
) -> None:
    metrics.limit_hit('a"b\\c\nd')
    assert values(registry, "pillion_limit_hits_total") == {labels(limit='a"b\\c\nd'): 1.0}


def test_a_forgotten_version_has_no_series(registry: CollectorRegistry, metrics: RuntimeMetrics) -> None:
    metrics.model("iris", "1").request(WireProtocol.REST, OK, 0.1)
    metrics.forget("iris", "1")
    assert values(registry, "pillion_requests_total") == {}


def test_the_openmetrics_exposition_is_valid_too(registry: CollectorRegistry, metrics: RuntimeMetrics) -> None:
    entry = metrics.model("iris", "1")
    entry.request(WireProtocol.REST, OK, 0.1)
    entry.queue_wait.observe(0.1)
    entry.inference.observe(0.1)
    entry.load_seconds = 1.5
    text = generate_openmetrics(registry).decode()  # type: ignore[no-untyped-call] # the library leaves it untyped
    families = {family.name for family in parse_openmetrics(text)}  # type: ignore[no-untyped-call] # the same
    assert families >= {
        "pillion_requests",
        "pillion_request_duration_seconds",
        "pillion_queue_wait_seconds",
        "pillion_inference_duration_seconds",
        "pillion_model_load_seconds",
        "pillion_in_flight",
        "pillion_queue_length",
        "pillion_abandoned_calls",
        "pillion_model_state",
        "pillion_limit_hits",
    }
