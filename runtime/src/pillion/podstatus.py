"""What a pod is at, on the admin port: `GET /status`, and `/livez`. Reading only, one small answer at a time."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["serve_status"]

_READ_SECONDS: Final = 5.0


def serve_status(document: Callable[[], dict[str, Any]], port: int) -> HTTPServer:
    """Answer on the port from now on, in a thread that ends with the process.

    Args:
        document: what `/status` says, asked with each request; any thread.
        port: 0 for a free one.

    Raises:
        OSError: the port is taken.
    """
    answers: dict[str, Callable[[], dict[str, Any]]] = {"/status": document, "/livez": lambda: {"alive": True}}

    class Handler(BaseHTTPRequestHandler):
        timeout = _READ_SECONDS

        def do_GET(self) -> None:
            found = answers.get(self.path)
            content = json.dumps(found() if found else {"error": "there are /status and /livez"}).encode()
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """The pod's log is that of its work."""

    server = HTTPServer(("", port), Handler)
    threading.Thread(target=server.serve_forever, name="status", daemon=True).start()
    return server
