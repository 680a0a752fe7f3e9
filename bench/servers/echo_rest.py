"""The bare echo for REST: uvicorn, and the tensor's bytes sent back as they came."""

from __future__ import annotations

import sys
from typing import Any

import uvicorn


def main(port: int) -> None:
    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:  # noqa: ANN401 - bare ASGI has no types
        if scope["type"] != "http":
            return
        start = int(dict(scope["headers"]).get(b"inference-header-content-length", b"0"))
        chunks = []
        while True:
            message = await receive()
            chunks.append(message.get("body", b""))
            if not message.get("more_body"):
                break
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        content = memoryview(body)[start:]
        head = (
            b'{"model_name":"identity","outputs":[{"name":"y","datatype":"FP32","shape":[%d],'
            b'"parameters":{"binary_data_size":%d}}]}' % (len(content) // 4, len(content))
        )
        headers = [
            (b"content-type", b"application/octet-stream"),
            (b"inference-header-content-length", b"%d" % len(head)),
            (b"content-length", b"%d" % (len(head) + len(content))),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if len(content) < 1 << 16:
            await send({"type": "http.response.body", "body": head + content})
            return
        await send({"type": "http.response.body", "body": head, "more_body": True})
        await send({"type": "http.response.body", "body": content})

    uvicorn.run(
        app, host="127.0.0.1", port=port, log_level="warning", access_log=False, http="httptools", loop="uvloop"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
