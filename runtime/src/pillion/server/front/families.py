"""Metrics of several processes as those of one: taken as plain values, merged, and put back into Prometheus' types.

Counts are summed, and those of workers that have ended stay in the sum, so that no counter ever goes back. Gauges are
summed, too, but for the few whose sum means nothing. Pure, but for the types of the client library, which is imported
when somebody scrapes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from prometheus_client.metrics_core import Metric

    from pillion.server.front.judgement import Standing

__all__ = ["Exemplar", "Family", "Sample", "cumulative", "known", "merged", "metrics", "of_workers", "taken"]

_CUMULATIVE: Final = frozenset({"counter", "histogram", "summary", "unknown"})
"""Kinds that only grow. ``unknown`` are Triton's counters, whose names have no ``_total``."""


class Exemplar(msgspec.Struct, frozen=True, array_like=True):
    """A request that stands for those of its bucket."""

    labels: dict[str, str]
    value: float
    unix: float


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """One number."""

    name: str
    labels: dict[str, str]
    value: float
    exemplar: Exemplar | None = None

    @property
    def series(self) -> tuple[str, tuple[tuple[str, str], ...]]:
        """What makes it the same in every process."""
        return self.name, tuple(self.labels.items())


class Family(msgspec.Struct, frozen=True, array_like=True):
    """Samples that belong together."""

    name: str
    text: str
    kind: str
    samples: list[Sample]


def taken(families: Iterable[Metric]) -> list[Family]:
    """What a registry collects, as plain values."""
    return [
        Family(
            family.name,
            family.documentation,
            family.type,
            [
                Sample(sample.name, dict(sample.labels), float(sample.value), _exemplar(sample.exemplar))
                for sample in family.samples
            ],
        )
        for family in families
    ]


def _exemplar(found: object) -> Exemplar | None:
    labels, value, unix = (getattr(found, name, None) for name in ("labels", "value", "timestamp"))
    return None if labels is None or value is None else Exemplar(dict(labels), float(value), float(unix or 0.0))


def metrics(families: Iterable[Family]) -> Iterator[Metric]:
    """The families in Prometheus' types."""
    from prometheus_client.metrics_core import Metric  # noqa: PLC0415 - only who scrapes needs it
    from prometheus_client.samples import Exemplar as PrometheusExemplar  # noqa: PLC0415 - as above

    for family in families:
        metric = Metric(family.name, family.text, family.kind)
        for sample in family.samples:
            kept = sample.exemplar
            exemplar = None if kept is None else PrometheusExemplar(kept.labels, kept.value, kept.unix)
            metric.add_sample(sample.name, sample.labels, sample.value, exemplar=exemplar)
        yield metric


def merged(parts: Iterable[Sequence[Family]]) -> list[Family]:
    """The families of all parts, in the order in which they first come, each series once."""
    heads: dict[str, Family] = {}
    series: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], Sample]] = {}
    for part in parts:
        for family in part:
            heads.setdefault(family.name, family)
            found = series.setdefault(family.name, {})
            combine = _rule(family)
            for sample in family.samples:
                before = found.get(sample.series)
                found[sample.series] = sample if before is None else _both(before, sample, combine)
    return [Family(head.name, head.text, head.kind, list(series[name].values())) for name, head in heads.items()]


def _both(one: Sample, other: Sample, combine: Callable[[float, float], float]) -> Sample:
    kept = [sample.exemplar for sample in (one, other) if sample.exemplar is not None]
    newest = max(kept, key=lambda exemplar: exemplar.unix) if kept else None
    return Sample(one.name, one.labels, combine(one.value, other.value), newest)


def _rule(family: Family) -> Callable[[float, float], float]:
    return _sum if family.kind in _CUMULATIVE else _GAUGES.get(family.name, _sum)


def _sum(one: float, other: float) -> float:
    return one + other


def _earliest(one: float, other: float) -> float:
    """Of two moments, where 0 is none."""
    return min(moment for moment in (one, other) if moment) if one or other else 0.0


_GAUGES: Final[dict[str, Callable[[float, float], float]]] = {
    "pillion_build_info": max,
    "pillion_draining": max,
    # All workers look at one store.
    "pillion_jobs": max,
    "pillion_jobs_store_ready": min,
    "pillion_jobs_stored_bytes": max,
    "pillion_model_load_seconds": max,
    # 1 where any worker's version is in that state: alerts compare with 1.
    "pillion_model_state": max,
    "pillion_tls_certificate_expiry_timestamp_seconds": _earliest,
}


def cumulative(families: Iterable[Family], versions: Collection[tuple[str, str]] | None = None) -> list[Family]:
    """What only grows: all that is left of a worker that has ended.

    Args:
        families: of it.
        versions: model versions that are still there; None: they are not known. Series of others are dropped, as the
            workers drop them, so that they do not pile up.
    """
    return [
        Family(family.name, family.text, family.kind, [sample for sample in family.samples if _kept(sample, versions)])
        for family in families
        if family.kind in _CUMULATIVE
    ]


def _kept(sample: Sample, versions: Collection[tuple[str, str]] | None) -> bool:
    model, version = sample.labels.get("model"), sample.labels.get("version")
    return versions is None or not model or version is None or (model, version) in versions


def known(families: Iterable[Family]) -> set[tuple[str, str]]:
    """Name and version of each model that a worker knows."""
    return {
        (sample.labels["model"], sample.labels["version"])
        for family in families
        if family.name == "pillion_model_state"
        for sample in family.samples
    }


def of_workers(standings: Sequence[Standing]) -> list[Family]:
    """What the supervisor counts itself."""
    ready = float(sum(standing.ready for standing in standings))
    again = float(sum(max(0, standing.starts - 1) for standing in standings))
    workers, restarts = "pillion_front_workers", "pillion_front_worker_restarts"
    return [
        Family(workers, "Front workers that are ready", "gauge", [Sample(workers, {}, ready)]),
        Family(
            restarts,
            "Front workers that were started in place of one that had ended",
            "counter",
            [Sample(f"{restarts}_total", {}, again)],
        ),
    ]
