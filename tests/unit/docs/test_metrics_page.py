"""The reference of metrics names what there is, all of it, and nothing else."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from prometheus_client import CollectorRegistry

from pillion.applications.measures import ApplicationMetrics
from pillion.composition import measures as _of_compositions  # noqa: F401 - there once one has been loaded
from pillion.execution.api import WorkerState
from pillion.jobs.metrics import JobMetrics
from pillion.metrics import Collectors, LaneGauges, RuntimeMetrics
from pillion.server.front.families import of_workers
from pillion.server.metrics import ServerMetrics
from pillion.server.observability import Observability
from pillion.server.settings import LoggerSettings, Settings
from pillion_operator.activator.metrics import ActivatorMetrics
from pillion_operator.metrics import OperatorMetrics

PAGE = Path(__file__).parents[3] / "docs/reference/metrics.md"
_ROWS = re.compile(r"^\| (?P<names>`[^|]+) \|", re.MULTILINE)


def test_every_metric_is_in_the_reference_and_every_name_there_is_one() -> None:
    registry = Collectors()
    model = RuntimeMetrics(registry, ("triton", "mlserver", "kserve")).model("iris", "1")
    model.first_item(1.0)
    worker = WorkerState(0, 1, ready=True, starts=1, rss=1)
    model.gauges.append(LaneGauges(lambda: 0, lambda: 0, lambda: 0, lambda: [worker]))
    ServerMetrics(registry)
    ApplicationMetrics(registry)
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    observability = Observability(Settings(logger=LoggerSettings(url="http://127.0.0.1:9")), environ, registry)
    counted = {f"{family.name}_total" if family.type == "counter" else family.name for family in registry.collect()}
    operator = CollectorRegistry()
    OperatorMetrics(operator)
    ActivatorMetrics(operator)
    counted |= {f"{family.name}_total" if family.type == "counter" else family.name for family in operator.collect()}
    jobs = JobMetrics().families({}, stored=0, errors=0, ready=True)
    counted |= {f"{family.name}_total" if family.type == "counter" else family.name for family in jobs}
    counted |= {f"{family.name}_total" if family.kind == "counter" else family.name for family in of_workers(())}
    asyncio.run(observability.close())
    named = {name for row in _ROWS.finditer(PAGE.read_text()) for name in re.findall(r"`([a-z_]+)`", row["names"])}

    assert counted == named
