"""``/status``: what a server serves and how it is, for the operator and people."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from pillion._version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pillion.dataplane.call import ModelStatus

__all__ = ["status_document"]


def status_document(
    statuses: Sequence[ModelStatus], *, ready: bool, draining: bool, config_error: str
) -> dict[str, Any]:
    """The document.

    Args:
        statuses: every known model version.
        ready: whether the process should get requests.
        draining: whether it is stopping.
        config_error: why the last change of runtime.yaml was not applied; empty when it was.
    """
    status: dict[str, Any] = {
        "version": __version__,
        "draining": draining,
        "ready": ready,
        "models": [_model(model) for model in statuses],
    }
    if config_error:
        status["configError"] = config_error
    return status


def _model(status: ModelStatus) -> Mapping[str, object]:
    changed = dt.datetime.fromtimestamp(status.changed_at, dt.UTC)
    described: dict[str, object] = {
        "name": status.name,
        "version": status.version,
        "state": status.state.value,
        "reason": status.reason,
        "uri": status.uri,
        "digest": status.digest,
        "format": status.format,
        "changedAt": changed.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }
    if status.libraries is not None:
        described["libraries"] = {"saved": dict(status.libraries.saved), "loading": dict(status.libraries.loading)}
    if status.acceleration is not None:
        described["acceleration"] = {"by": status.acceleration.by, "note": status.acceleration.note}
    if status.cause:
        described["cause"] = status.cause
    return described
