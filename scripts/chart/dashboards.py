"""`dashboards/*.json` of the chart: Grafana's dashboards of the operator and of the runtime.

A test asks a real Prometheus, which scrapes both, every query of them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydantic import JsonValue

__all__ = ["DASHBOARDS", "Dashboard", "Panel", "Row", "dashboard_files"]

#: Of the layout below. Source: Grafana's dashboard JSON model.
_SCHEMA_VERSION: Final = 39
_WIDTH, _HEIGHT, _COLUMNS = 8, 8, 24
_SOURCE: Final[dict[str, JsonValue]] = {"type": "prometheus", "uid": "${datasource}"}
#: The label that ServiceMonitors and PodMonitors of services copy from the pods, as Prometheus writes it.
SERVICE: Final = "serving_pillion_dev_inferenceservice"


@dataclass(frozen=True, slots=True)
class Panel:
    """One graph. `queries` are pairs of an expression and its legend; `unit` is one of Grafana's."""

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    text: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under a heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A dashboard. `variables` are pairs of a name and the query of its values; `uid` stays, so that links do."""

    uid: str
    title: str
    text: str
    variables: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]

    def as_json(self) -> dict[str, JsonValue]:
        """Return Grafana's model of it."""
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.text,
            "tags": ["pillion"],
            "schemaVersion": _SCHEMA_VERSION,
            "editable": True,
            "graphTooltip": 1,
            "refresh": "30s",
            "time": {"from": "now-1h", "to": "now"},
            "templating": {"list": [_data_source(), *(_variable(name, query) for name, query in self.variables)]},
            "panels": list(_laid_out(self.rows)),
        }


def _data_source() -> dict[str, JsonValue]:
    return {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}


def _variable(name: str, query: str) -> dict[str, JsonValue]:
    return {
        "name": name,
        "label": name.capitalize(),
        "type": "query",
        "datasource": _SOURCE,
        "query": query,
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def _laid_out(rows: Sequence[Row]) -> Iterator[JsonValue]:
    number, top = 0, 0
    for row in rows:
        number += 1
        yield {
            "id": number,
            "type": "row",
            "title": row.title,
            "collapsed": False,
            "gridPos": {"h": 1, "w": _COLUMNS, "x": 0, "y": top},
            "panels": [],
        }
        top += 1
        for place, panel in enumerate(row.panels):
            number += 1
            left, down = place * _WIDTH % _COLUMNS, place * _WIDTH // _COLUMNS * _HEIGHT
            position: dict[str, JsonValue] = {"h": _HEIGHT, "w": _WIDTH, "x": left, "y": top + down}
            yield {"id": number, "gridPos": position, **_graph(panel)}
        top += -(-len(row.panels) * _WIDTH // _COLUMNS) * _HEIGHT


def _graph(panel: Panel) -> dict[str, JsonValue]:
    targets: list[JsonValue] = [
        {"refId": chr(ord("A") + place), "datasource": _SOURCE, "expr": expression, "legendFormat": legend}
        for place, (expression, legend) in enumerate(panel.queries)
    ]
    return {
        "type": "timeseries",
        "title": panel.title,
        "description": panel.text,
        "datasource": _SOURCE,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0, "custom": {"fillOpacity": 8}}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": targets,
    }


_OF_SERVICE: Final = f'namespace=~"$namespace", {SERVICE}=~"$service"'
_OF_MODEL: Final = f'{_OF_SERVICE}, model=~"$model"'
_OF_OPERATOR: Final = 'namespace=~"$namespace"'


def _rate(metric: str, by: str, where: str) -> str:
    return f"sum by ({by}) (rate({metric}{{{where}}}[$__rate_interval]))"


def _quantile(share: float, metric: str, by: str, where: str) -> str:
    return f"histogram_quantile({share}, sum by (le, {by}) (rate({metric}_bucket{{{where}}}[$__rate_interval])))"


def _mean(metric: str, by: str, where: str) -> str:
    return f"{_rate(f'{metric}_sum', by, where)} / {_rate(f'{metric}_count', by, where)}"


def _all(operation: str, metric: str, by: str, where: str) -> str:
    return f"{operation} by ({by}) ({metric}{{{where}}})"


def _latency(title: str, metric: str, text: str = "") -> Panel:
    shares = ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
    queries = tuple((_quantile(share, metric, "model", _OF_MODEL), f"{{{{model}}}} {name}") for share, name in shares)
    return Panel(title, "s", queries, text)


def _one(title: str, unit: str, query: str, legend: str, text: str = "") -> Panel:
    return Panel(title, unit, ((query, legend),), text)


_M, _W = "{{model}}", "{{worker}}"
_REQUESTS = Row(
    "Requests",
    (
        _one("Requests", "reqps", _rate("pillion_requests_total", "model, code", _OF_MODEL), "{{model}} {{code}}"),
        _latency("Latency", "pillion_request_duration_seconds", "From arrival at the data plane to its answer."),
        _one(
            "Share that failed",
            "percentunit",
            f'1 - sum by (model) (rate(pillion_requests_total{{{_OF_MODEL}, code="ok"}}[$__rate_interval])) / '
            f"{_rate('pillion_requests_total', 'model', _OF_MODEL)}",
            _M,
            "Whatever did not end as ok, requests that were wrong or cancelled included.",
        ),
        _one("In flight", "short", _all("sum", "pillion_in_flight", "model", _OF_MODEL), _M),
        _one("In the queue", "short", _all("sum", "pillion_queue_length", "model", _OF_MODEL), _M),
        _one("Wait in the queue, p95", "s", _quantile(0.95, "pillion_queue_wait_seconds", "model", _OF_MODEL), _M),
    ),
)
_MODELS = Row(
    "Models",
    (
        _latency("Time in the model", "pillion_inference_duration_seconds"),
        _one(
            "Pods in which the model is ready",
            "short",
            _all("sum", "pillion_model_state", "model, version", f'{_OF_MODEL}, state="READY"'),
            "{{model}} {{version}}",
        ),
        _one("Last load", "s", _all("max", "pillion_model_load_seconds", "model", _OF_MODEL), _M),
        _one(
            "Requests in a call", "short", _mean("pillion_batch_requests", "model", _OF_MODEL), _M, "Mean of batches."
        ),
        _one(
            "First item of streams, p95",
            "s",
            _quantile(0.95, "pillion_stream_first_item_seconds", "model", _OF_MODEL),
            _M,
        ),
        _one("Items of streams", "cps", _rate("pillion_stream_items_total", "model", _OF_MODEL), _M),
    ),
)
_PODS = Row(
    "Pods",
    (
        _one("Connections", "short", _all("sum", "pillion_http_connections", "pod", _OF_SERVICE), "{{pod}}"),
        _one(
            "Draining",
            "short",
            _all("sum", "pillion_draining", "namespace", _OF_SERVICE),
            "{{namespace}}",
            "Pods on their way out.",
        ),
        _one(
            "Certificate ends in",
            "s",
            f"min by ({SERVICE}) (pillion_tls_certificate_expiry_timestamp_seconds{{{_OF_SERVICE}}} > 0) - time()",
            f"{{{{{SERVICE}}}}}",
            "Empty without TLS.",
        ),
        _one("Worker processes", "short", _all("sum", "pillion_workers", "model", _OF_MODEL), _M),
        _one(
            "Memory of worker processes",
            "bytes",
            _all("sum", "pillion_worker_resident_bytes", "pod, worker", _OF_MODEL),
            f"{{{{pod}}}} {_W}",
        ),
        _one("Worker processes restarted", "short", _rate("pillion_worker_restarts_total", "model", _OF_MODEL), _M),
    ),
)
_APPLICATIONS = Row(
    "Applications and jobs",
    (
        _one(
            "Requests of applications",
            "reqps",
            _rate("pillion_application_requests_total", "application, route, code", _OF_SERVICE),
            "{{application}} {{route}} {{code}}",
        ),
        _one(
            "Latency of applications, p95",
            "s",
            _quantile(0.95, "pillion_application_request_duration_seconds", "application, route", _OF_SERVICE),
            "{{application}} {{route}}",
        ),
        _one(
            "Applications in flight",
            "short",
            _all("sum", "pillion_application_requests_in_flight", "application", _OF_SERVICE),
            "{{application}}",
        ),
        _one(
            "Jobs", "short", _all("max", "pillion_jobs", f"{SERVICE}, kind, state", _OF_SERVICE), "{{kind}} {{state}}"
        ),
        _one(
            "Jobs that ended",
            "cps",
            _rate("pillion_jobs_ended_total", "kind, state", _OF_SERVICE),
            "{{kind}} {{state}}",
        ),
        _one(
            "Store of jobs",
            "bytes",
            _all("max", "pillion_jobs_stored_bytes", SERVICE, _OF_SERVICE),
            f"{{{{{SERVICE}}}}}",
        ),
    ),
)
_WORK = Row(
    "Work",
    (
        _one(
            "Leaders",
            "short",
            _all("sum", "pillion_operator_leader", "namespace", _OF_OPERATOR),
            "{{namespace}}",
            "One.",
        ),
        _one(
            "InferenceServices",
            "short",
            _all("max", "pillion_operator_inferenceservices", "namespace", _OF_OPERATOR),
            "{{namespace}}",
        ),
        _one(
            "Looks at services", "cps", _rate("pillion_operator_reconciles_total", "result", _OF_OPERATOR), "{{result}}"
        ),
        _one(
            "Time of a look, p95",
            "s",
            _quantile(0.95, "pillion_operator_reconcile_seconds", "namespace", _OF_OPERATOR),
            "{{namespace}}",
        ),
        _one(
            "Waiting for a look",
            "short",
            _all("max", "pillion_operator_queue_depth", "namespace", _OF_OPERATOR),
            "{{namespace}}",
        ),
        _one(
            "Longest wait",
            "s",
            _all("max", "pillion_operator_queue_oldest_seconds", "namespace", _OF_OPERATOR),
            "{{namespace}}",
        ),
        _one("Trainings", "short", _all("max", "pillion_operator_trainingjobs", "state", _OF_OPERATOR), "{{state}}"),
        _one(
            "Batch predictions",
            "short",
            _all("max", "pillion_operator_batchpredictions", "state", _OF_OPERATOR),
            "{{state}}",
        ),
        _one(
            "Children set right",
            "cps",
            _rate("pillion_operator_repairs_total", "namespace", _OF_OPERATOR),
            "{{namespace}}",
        ),
    ),
)
_API = Row(
    "API server",
    (
        _one(
            "Requests",
            "reqps",
            _rate("pillion_operator_api_requests_total", "verb, status", _OF_OPERATOR),
            "{{verb}} {{status}}",
        ),
        _one(
            "Time of a request, p95",
            "s",
            _quantile(0.95, "pillion_operator_api_request_seconds", "verb", _OF_OPERATOR),
            "{{verb}}",
        ),
        _one("Seen by watches", "cps", _rate("pillion_operator_watch_events_total", "kind", _OF_OPERATOR), "{{kind}}"),
        _one(
            "Watches started anew",
            "cps",
            _rate("pillion_operator_watch_restarts_total", "namespace", _OF_OPERATOR),
            "{{namespace}}",
        ),
    ),
)

DASHBOARDS: Final = (
    Dashboard(
        "pillion-runtime",
        "Pillion / Models",
        "Requests, models and pods of InferenceServices.",
        (
            ("namespace", "label_values(pillion_build_info, namespace)"),
            ("service", f'label_values(pillion_build_info{{namespace=~"$namespace"}}, {SERVICE})'),
            ("model", f"label_values(pillion_model_state{{{_OF_SERVICE}}}, model)"),
        ),
        (_REQUESTS, _MODELS, _PODS, _APPLICATIONS),
    ),
    Dashboard(
        "pillion-operator",
        "Pillion / Operator",
        "What the operator does, and how the API server answers it.",
        (("namespace", "label_values(pillion_operator_leader, namespace)"),),
        (_WORK, _API),
    ),
)


def dashboard_files() -> dict[str, str]:
    """Return the text of each dashboard by its path in the chart."""
    named = {f"dashboards/{dashboard.uid}.json": dashboard.as_json() for dashboard in DASHBOARDS}
    return {name: json.dumps(made, indent=1) + "\n" for name, made in named.items()}
