"""gRPC by ASGI trailers on pyvoy: the answer in the file that ``ANSWER`` names, whatever the request's bytes are."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

_MESSAGE = Path(os.environ["ANSWER"]).read_bytes()
_ANSWER = b"\0" + len(_MESSAGE).to_bytes(4) + _MESSAGE


async def app(scope: Any, receive: Any, send: Any) -> None:
    """The least that a unary call is: read all, head, body, trailers."""
    if scope["type"] != "http":
        return
    more = True
    while more:
        message = await receive()
        more = message.get("more_body", False)
    headers = [(b"content-type", b"application/grpc")]
    await send({"type": "http.response.start", "status": 200, "headers": headers, "trailers": True})
    await send({"type": "http.response.body", "body": _ANSWER})
    await send({"type": "http.response.trailers", "headers": [(b"grpc-status", b"0")]})
