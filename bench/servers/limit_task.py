"""The bare limit of a task: uvicorn and orjson, nothing validated."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import orjson
import uvicorn

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    Message = MutableMapping[str, Any]

WORTH = {"good": 1.0, "bad": -1.0}


async def application(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """Every path is the task."""
    if scope["type"] != "http":
        raise RuntimeError("only HTTP is answered")
    request = orjson.loads((await receive())["body"])
    options = request.get("options") or {}
    found = [{"name": word, "score": WORTH.get(word, 0.0)} for word in request["text"].split()]
    least = options.get("threshold", 0.0)
    body = orjson.dumps([label for label in found if label["score"] >= least][: options.get("top_k", 2)])
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    uvicorn.run(
        application, host="127.0.0.1", port=int(sys.argv[1]), lifespan="off", access_log=False, log_level="warning"
    )
