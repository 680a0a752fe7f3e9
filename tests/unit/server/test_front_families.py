"""Metrics of several processes as those of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from pillion.dataplane.call import WireProtocol
from pillion.metrics import Collectors, RuntimeMetrics
from pillion.server.front.families import cumulative, known, merged, metrics, taken
from pillion.server.front.view import Together

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pillion.server.front.families import Family


def counts(families: Sequence[Family]) -> dict[str, float]:
    """Values by name and the values of the labels."""
    return {
        " ".join((sample.name, *sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
    }


def requests(count: int, model: str = "iris") -> list[Family]:
    family = CounterMetricFamily("pillion_requests", "Requests", labels=("model", "version"))
    family.add_metric((model, "1"), count)
    return taken([family])


def gauge(name: str, value: float) -> list[Family]:
    family = GaugeMetricFamily(name, "A gauge")
    family.add_metric((), value)
    return taken([family])


def test_counters_of_several_processes_are_summed_series_by_series() -> None:
    together = merged((requests(3), requests(4), requests(1, "churn")))
    assert {"pillion_requests_total iris 1": 7, "pillion_requests_total churn 1": 1} == counts(together)


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("pillion_in_flight", (2, 3), 5),
        ("pillion_build_info", (1, 1), 1),
        ("pillion_model_state", (0, 1), 1),
        ("pillion_draining", (1, 0), 1),
        ("pillion_jobs", (4, 3), 4),
        ("pillion_jobs_store_ready", (1, 0), 0),
        ("pillion_model_load_seconds", (0.5, 0.25), 0.5),
        ("pillion_tls_certificate_expiry_timestamp_seconds", (200.0, 100.0), 100.0),
        ("pillion_tls_certificate_expiry_timestamp_seconds", (0.0, 100.0), 100.0),
        ("pillion_tls_certificate_expiry_timestamp_seconds", (0.0, 0.0), 0.0),
    ],
)
def test_gauges_are_summed_but_for_those_whose_sum_means_nothing(
    name: str, values: tuple[float, float], expected: float
) -> None:
    assert expected == counts(merged(gauge(name, value) for value in values))[name]


def registry(seconds: Sequence[float], trace: str = "") -> Collectors:
    """What a worker has counted that answered requests of so many seconds."""
    found = Collectors()
    entry = RuntimeMetrics(found, ("triton",)).model("iris", "1")
    for one in seconds:
        entry.request(WireProtocol.REST, "ok", one)
    if trace:
        entry.exemplar(WireProtocol.REST, seconds[-1], trace)
    return found


def test_histograms_are_summed_bucket_by_bucket_and_can_be_scraped() -> None:
    parts = [taken(registry(seconds).collect()) for seconds in ([0.0002, 2.0], [0.003])]
    scraped = _scraped(merged(parts))
    buckets = {
        sample.labels["le"]: sample.value
        for sample in scraped["pillion_request_duration_seconds"]
        if sample.name.endswith("_bucket")
    }
    assert (1, 2, 3) == (buckets["0.00025"], buckets["0.005"], buckets["+Inf"])
    assert 3 == _value(scraped, "pillion_request_duration_seconds", "_count")
    assert 2.0032 == pytest.approx(_value(scraped, "pillion_request_duration_seconds", "_sum"))
    assert 3 == _value(scraped, "pillion_requests", "_total")


def test_the_newest_exemplar_of_a_bucket_stays() -> None:
    older, newer = (taken(registry([0.003], trace).collect()) for trace in ("a" * 32, "b" * 32))
    for parts in ((older, newer), (newer, older)):
        samples = _scraped(merged(parts))["pillion_request_duration_seconds"]
        assert ["b" * 32] == [sample.exemplar.labels["trace_id"] for sample in samples if sample.exemplar is not None]


def _scraped(families: Sequence[Family]) -> dict[str, list]:  # type: ignore[type-arg]  # the parser's samples have no public type
    """The samples that Prometheus reads, by family."""
    together = Together((), (), families, version="1", draining=False, stopping=False)
    text = generate_latest(together).decode()  # type: ignore[no-untyped-call]  # the library's
    families_read = text_string_to_metric_families(text)  # type: ignore[no-untyped-call]  # as above
    return {family.name: family.samples for family in families_read}


def _value(scraped: dict[str, list], family: str, suffix: str) -> float:  # type: ignore[type-arg]  # as above
    return float(next(sample.value for sample in scraped[family] if sample.name == family + suffix))


def test_what_is_put_back_is_what_was_taken() -> None:
    families = taken(registry([0.0002, 2.0], "c" * 32).collect())
    assert families == taken(metrics(families))


def test_of_a_worker_that_has_ended_only_what_grows_is_left() -> None:
    families = [*requests(3), *gauge("pillion_in_flight", 2)]
    assert {"pillion_requests_total iris 1": 3} == counts(cumulative(families))
    assert "nv_inference_count iris 1" in counts(cumulative(taken(registry([0.1]).collect())))


def test_the_series_of_models_that_nobody_has_any_more_do_not_pile_up() -> None:
    families = merged((requests(3), requests(4, "gone"), requests(5, "")))
    left = cumulative(families, {("iris", "1")})
    assert {"pillion_requests_total iris 1": 3, "pillion_requests_total  1": 5} == counts(left)


def test_the_models_that_a_worker_knows_are_those_that_have_a_state() -> None:
    states = GaugeMetricFamily("pillion_model_state", "State", labels=("model", "version", "state"))
    states.add_metric(("iris", "1", "READY"), 1)
    assert {("iris", "1")} == known([*requests(1, "other"), *taken([states])])
