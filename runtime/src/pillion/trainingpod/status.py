"""What a training is at, on the admin port: `GET /status`, and `/livez`. Reading only, one small answer at a time."""

from __future__ import annotations

import json
import math
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PodStatus", "serve_status"]

_MOST_METRICS: Final = 50
_NAME: Final = 100
_READ_SECONDS: Final = 5.0


class PodStatus:
    """What is known; any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, Any] = {"phase": "starting"}
        self._metrics: dict[str, float] = {}

    def update(self, **known: Any) -> None:  # noqa: ANN401 - JSON
        """Take note; None takes a note back."""
        with self._lock:
            self._known |= known

    def logged(self, values: Mapping[str, float | None]) -> None:
        """Take the newest numbers; of more than fifty names the first count."""
        with self._lock:
            for name, value in values.items():
                known = name[:_NAME] in self._metrics or len(self._metrics) < _MOST_METRICS
                if known and value is not None and math.isfinite(value):
                    self._metrics[name[:_NAME]] = value

    @property
    def metrics(self) -> dict[str, float]:
        """The newest numbers by name."""
        with self._lock:
            return dict(self._metrics)

    def document(self) -> dict[str, Any]:
        """All of it."""
        with self._lock:
            known = {name: value for name, value in self._known.items() if value is not None}
            return {"training": {**known, "metrics": dict(self._metrics)}}


def serve_status(status: PodStatus, port: int) -> HTTPServer:
    """Answer on the port from now on, in a thread that ends with the process.

    Raises:
        OSError: the port is taken.
    """

    class Handler(BaseHTTPRequestHandler):
        timeout = _READ_SECONDS

        def do_GET(self) -> None:
            found = {"/status": status.document(), "/livez": {"alive": True}}.get(self.path)
            content = json.dumps(found or {"error": "there are /status and /livez"}).encode()
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """The pod's log is the training's."""

    server = HTTPServer(("", port), Handler)
    threading.Thread(target=server.serve_forever, name="status", daemon=True).start()
    return server
