"""The admin port: metrics, probes and status, for Prometheus, the kubelet and the operator. Nothing here changes state.

Liveness says that the event loop answers and never depends on a model: a model that fails to load is no reason to
restart its neighbours. Readiness is the data plane's word.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

from pillion.exposure import exposed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.types import Receive, Scope, Send

    from pillion.dataplane.live import LiveRequest
    from pillion.metrics import Registry

__all__ = ["AdminApp", "AdminView"]

_PATHS = ("/metrics", "/livez", "/readyz", "/status", "/debug/requests")


class AdminView(Protocol):
    """What the admin port may know of the server."""

    def ready(self) -> bool:
        """Whether this process should get requests."""
        ...

    def unready_reason(self) -> str:
        """Why not, in one sentence; empty when ready."""
        ...

    def status(self) -> Mapping[str, Any]:
        """The document of ``/status``."""
        ...

    def live(self) -> Sequence[LiveRequest]:
        """Requests that wait or run now, the oldest first."""
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
        status, media_type, body = self.answer(scope["method"], scope["path"], scope.get("query_string", b""), accept)
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

    def answer(self, method: str, path: str, query: bytes, accept: str) -> tuple[int, str, bytes]:
        """Status, media type and body of one answer."""
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
            text = b"format=text" in query.split(b"&") or "text/plain" in accept
            return (
                (200, "text/plain; charset=utf-8", as_text(live)) if text else (200, "application/json", as_json(live))
            )
        return 200, "application/json", json.dumps(self._view.status()).encode()


def _error(status: int, message: str) -> tuple[int, str, bytes]:
    return status, "application/json", json.dumps({"error": message, "code": status}).encode()
