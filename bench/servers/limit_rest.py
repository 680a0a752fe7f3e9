"""The bare limit for REST: uvicorn, orjson, the model, and nothing else."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import orjson
import uvicorn


def predictor(model: str) -> Any:  # noqa: ANN401 - a function of the library's
    """Rows to classes, by ONNX Runtime or scikit-learn."""
    if model.endswith(".skops"):
        import skops.io

        return skops.io.load(model, trusted=skops.io.get_untrusted_types(file=model)).predict
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    outputs = [session.get_outputs()[0].name]
    return lambda rows: session.run(outputs, {name: rows})[0]


def main(model: str, port: int) -> None:
    predict = predictor(model)

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:  # noqa: ANN401 - bare ASGI has no types
        if scope["type"] != "http":
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        request = orjson.loads(body)
        tensor = request["inputs"][0]
        rows = np.array(tensor["data"], dtype=np.float32).reshape(tensor["shape"])
        classes = predict(rows)
        answer = {
            "model_name": "iris",
            "model_version": "1",
            "outputs": [
                {"name": "label", "datatype": "INT64", "shape": list(classes.shape), "data": classes.ravel().tolist()}
            ],
        }
        payload = orjson.dumps(answer)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(payload)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": payload})

    uvicorn.run(
        app, host="127.0.0.1", port=port, log_level="warning", access_log=False, http="httptools", loop="uvloop"
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
