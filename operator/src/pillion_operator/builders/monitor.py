"""The ServiceMonitor or PodMonitor by which the Prometheus operator finds the pods.

Source: Prometheus operator, API reference, monitoring.coreos.com/v1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pillion_operator.state.kinds import POD_MONITOR, SERVICE_MONITOR, Kind
from pillion_operator.state.manifest import array
from pillion_operator.state.names import ADMIN_PORT, COMPONENT_LABEL, OWNER_LABEL, PREDICTOR
from pillion_operator.state.plan import Child, Note
from pillion_operator.state.reasons import Reason

if TYPE_CHECKING:
    from pydantic import JsonValue

    from pillion.resources.base import JsonObject
    from pillion.resources.traffic import MonitorSpec
    from pillion_operator.builders.context import BuildContext

__all__ = ["monitor"]


def monitor(context: BuildContext, optional_kinds: frozenset[Kind]) -> tuple[Child | None, tuple[Note, ...]]:
    """Return the monitor that the manifest asks for, or why there is none."""
    asked = context.predictor.metrics.monitor if context.predictor.metrics else None
    if asked is None:
        return None, ()
    kind = SERVICE_MONITOR if asked.kind == SERVICE_MONITOR.name else POD_MONITOR
    if not context.ours:
        where = f"on the container {context.container.get('name')!r}, which is not Pillion's runtime"
        return None, (_gap(where),)
    if kind not in optional_kinds:
        where = f"(this cluster has no {kind.name} of {kind.api_version}; install the Prometheus operator)"
        return None, (_gap(where),)
    spec = _service_monitor(context, asked) if kind is SERVICE_MONITOR else _pod_monitor(context, asked)
    return Child(kind, context.manifest(kind, context.child_name, {"spec": spec}, asked.labels)), ()


def _service_monitor(context: BuildContext, asked: MonitorSpec) -> JsonObject:
    # The admin port is none of the Service's: targetPort finds it on the pods behind the Service.
    endpoint = {"targetPort": ADMIN_PORT, **_endpoint(asked)}
    return {
        "selector": {"matchLabels": dict(context.selector)},
        "targetLabels": _labels(context),
        "endpoints": array([endpoint]),
    }


def _pod_monitor(context: BuildContext, asked: MonitorSpec) -> JsonObject:
    endpoint = {"port": "admin", **_endpoint(asked)}
    return {
        "selector": {"matchLabels": dict(context.selector)},
        "podTargetLabels": _labels(context),
        "podMetricsEndpoints": array([endpoint]),
    }


def _endpoint(asked: MonitorSpec) -> JsonObject:
    return {"path": "/metrics", **({"interval": asked.interval} if asked.interval else {})}


def _gap(where: str) -> Note:
    return Note(Reason.FIELDS_NOT_HONOURED, f"spec.predictor.metrics.monitor {where}")


def _labels(context: BuildContext) -> list[JsonValue]:
    """Return the labels that series get: those of the predictor are told from others by having no component."""
    return array([OWNER_LABEL, *([] if context.component == PREDICTOR else [COMPONENT_LABEL])])
