"""The admin port: metrics, probes and status, for Prometheus, the kubelet and the operator. Nothing here changes state.

Liveness says that the event loop answers and never depends on a model: a model that fails to load is no reason to
restart its neighbours. Readiness is the data plane's word.
"""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Protocol

from pillion._version import __version__
from pillion.exposure import exposed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.types import Receive, Scope, Send

    from pillion.dataplane.call import ModelStatus
    from pillion.dataplane.live import LiveRequest
    from pillion.metrics import Registry

__all__ = ["AdminApp", "AdminView"]

_PATHS = ("/metrics", "/livez", "/readyz", "/status", "/debug/requests")


class AdminView(Protocol):
    """What the admin port may know of the server."""

    @property
    def draining(self) -> bool:
        """Whether the process is stopping."""
        ...

    def ready(self) -> bool:
        """Whether this process should get requests."""
        ...

    def unready_reason(self) -> str:
        """Why not, in one sentence; empty when ready."""
        ...

    def statuses(self) -> Sequence[ModelStatus]:
        """Every known model version."""
        ...

    def live(self) -> Sequence[LiveRequest]:
        """Requests that wait or run now, the oldest first."""
        ...

    @property
    def config_error(self) -> str:
        """Why the last change of runtime.yaml was not applied; empty when it was."""
        ...


class AdminApp:
    """The ASGI application of the admin port."""

    def __init__(self, view: AdminView, registry: Registry) -> None:
        self._view = view
        self._registry = registry

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        headers = dict(scope["headers"])
        accept = headers.get(b"accept", b"").decode("latin-1")
        asked_text = b"format=text" in scope.get("query_string", b"").split(b"&") or "text/plain" in accept
        status, media_type, body = self._answer(scope["method"], scope["path"], accept, text=asked_text)
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [
                    (b"content-type", media_type.encode()),
                    (b"content-length", str(len(body)).encode()),
                    (b"cache-control", b"no-store"),
                ],
            }
        )
        await send({"type": "http.response.body", "body": body, "more_body": False})

    def _answer(self, method: str, path: str, accept: str, *, text: bool) -> tuple[int, str, bytes]:
        if path not in _PATHS:
            return _error(404, f"no such path on the admin port; it has {', '.join(_PATHS)}")
        if method not in ("GET", "HEAD"):
            return _error(405, "the admin port is read-only: use GET")
        if path == "/metrics":
            return exposed(self._registry, accept)
        if path == "/livez":
            return 200, "text/plain; charset=utf-8", b"ok\n"
        if path == "/readyz":
            if self._view.ready():
                return 200, "text/plain; charset=utf-8", b"ok\n"
            return 503, "text/plain; charset=utf-8", f"{self._view.unready_reason()}\n".encode()
        if path == "/debug/requests":
            from pillion.server.live_table import as_json, as_text  # noqa: PLC0415 - only who looks needs it

            live = self._view.live()
            return (
                (200, "text/plain; charset=utf-8", as_text(live)) if text else (200, "application/json", as_json(live))
            )
        return 200, "application/json", json.dumps(self._status()).encode()

    def _status(self) -> Mapping[str, object]:
        status: dict[str, object] = {
            "version": __version__,
            "draining": self._view.draining,
            "ready": self._view.ready(),
            "models": [_model(model) for model in self._view.statuses()],
        }
        if self._view.config_error:
            status["configError"] = self._view.config_error
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


def _error(status: int, message: str) -> tuple[int, str, bytes]:
    return status, "application/json", json.dumps({"error": message, "code": status}).encode()
