"""A little server of the Open Inference Protocol that is right, and wrong in one way where it is told to be.

One model, ``double``: ``x`` of FP32, [-1, 2], gives ``y``, its double, and ``total``, the sum of each row.
"""

from __future__ import annotations

import contextlib
import json
import math
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MODEL", "running"]

MODEL = "double"
METADATA = {
    "name": MODEL,
    "versions": ["1"],
    "platform": "small_python",
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
    "outputs": [
        {"name": "y", "datatype": "FP32", "shape": [-1, 2]},
        {"name": "total", "datatype": "FP32", "shape": [-1]},
    ],
}
HEADER = "Inference-Header-Content-Length"


class Refused(Exception):  # noqa: N818 - an answer, not a fault
    def __init__(self, status: int, error: str) -> None:
        super().__init__(error)
        self.status = status


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 5
    wbufsize = -1  # one segment for each answer, or the client's delayed acknowledgement costs 40 ms of each
    server: SmallServer

    def log_message(self, *_: object) -> None:
        pass

    def wrong(self, mistake: str) -> bool:
        return mistake == self.server.mistake

    def do_GET(self) -> None:
        self.guarded(self.information)

    def do_POST(self) -> None:
        self.guarded(self.inference)

    def guarded(self, act: Any) -> None:
        try:
            act()
        except Refused as error:
            self.refuse(error)

    def refuse(self, error: Refused) -> None:
        if self.wrong("422 with detail") and error.status == 400:
            self.answer(422, {"detail": [{"msg": str(error)}]})
        elif self.wrong("errors are plain text"):
            self.send(error.status, str(error).encode(), "text/plain")
        elif self.wrong("errors tell the stack"):
            self.answer(error.status, {"error": f"Traceback (most recent call last): {error}"})
        else:
            self.answer(error.status, {"error": str(error)})

    def answer(self, status: int, document: object) -> None:
        kind = "text/html" if self.wrong("JSON as HTML") else "application/json"
        self.send(status, json.dumps(document).encode(), kind)

    def send(self, status: int, body: bytes, kind: str, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def drip(self) -> None:
        """Bytes without end, each in time."""
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        while True:
            self.wfile.write(b" ")
            self.wfile.flush()
            time.sleep(0.02)

    def model_path(self) -> list[str]:
        """What follows the model's name and version in the path; refuses those that are not there."""
        parts = self.path.strip("/").split("/")
        if parts[:2] != ["v2", "models"] or len(parts) < 3:
            raise Refused(404, f"no route {self.path}")
        if not self.server.models or parts[2] != MODEL:
            status = 500 if self.wrong("an unknown model is 500") else 404
            raise Refused(status, f"unknown model {parts[2]}")
        if parts[3:4] == ["versions"]:
            if self.wrong("versions are 501"):
                raise Refused(501, "versions are not implemented")
            if parts[4] != "1":
                raise Refused(404, f"no version {parts[4]}")
            return parts[5:]
        return parts[3:]

    def information(self) -> None:
        has_model = bool(self.server.models)
        if self.path == "/v2":
            claimed = ["binary_tensor_data"] if self.server.binary else []
            extensions: object = ", ".join(claimed) if self.wrong("extensions is a text") else claimed
            return self.answer(200, {"name": "small", "version": "0", "extensions": extensions})
        if self.path == "/v2/models":
            return self.answer(200, {"models": self.server.models})
        if self.path == "/v2/health/live":
            if self.wrong("live drips"):
                return self.drip()
            return self.answer(200, {} if self.wrong("live is an empty object") else {"live": True})
        if self.path == "/v2/health/ready":
            ready = has_model or self.wrong("ready without a model")
            return self.answer(200 if ready else 503, {"ready": ready})
        if self.path.endswith("/ready") and self.wrong("any model is ready"):
            return self.answer(200, {"name": self.path.split("/")[3], "ready": True})
        rest = self.model_path()
        if rest == ["ready"]:
            return self.answer(200, {"name": MODEL, "ready": not self.wrong("a model that is not ready")})
        if rest == ["infer"]:
            raise Refused(405, "infer takes POST")
        if rest:
            raise Refused(404, f"no route {self.path}")
        return self.answer(200, METADATA | ({"inputs": []} if self.wrong("metadata without inputs") else {}))

    def inference(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if len(body) < int(self.headers["Content-Length"]) and not self.wrong("a cut body is answered"):
            raise Refused(400, "the body ended early")
        if self.model_path() != ["infer"]:
            raise Refused(404, f"no route {self.path}")
        kind = self.headers["Content-Type"].partition(";")[0]
        if self.wrong("a charset is refused") and kind != self.headers["Content-Type"]:
            raise Refused(415, "send application/json")
        if kind not in ("application/json", "application/octet-stream") and not self.wrong("a form is accepted"):
            raise Refused(415, "send application/json")
        request, raw = self.parsed(body)
        rows = self.rows(request, raw)
        outputs = [
            {"name": "y", "datatype": "FP32", "shape": [len(rows), 2], "data": [2 * v for row in rows for v in row]},
            {"name": "total", "datatype": "FP32", "shape": [len(rows)], "data": [sum(row) for row in rows]},
        ]
        self.respond(request, outputs)

    def parsed(self, body: bytes) -> tuple[dict[str, Any], bytes]:
        size = self.headers.get(HEADER)
        if size is not None and (not size.isdigit() or int(size) > len(body)):
            raise Refused(400, f"{HEADER}: {size}")
        cut = len(body) if size is None else int(size)
        try:
            request = json.loads(body[:cut])
        except (ValueError, RecursionError) as error:
            raise Refused(400, f"no JSON: {error}") from None
        if not isinstance(request, dict):
            raise Refused(400, "not an object")
        inputs = request.get("inputs")
        if not isinstance(inputs, list) or not inputs:
            raise Refused(500 if self.wrong("missing inputs are 500") else 400, "no inputs")
        return request, body[cut:]

    def rows(self, request: dict[str, Any], raw: bytes) -> list[list[float]]:
        if len(request["inputs"]) != 1:
            raise Refused(400, "one input, x")
        (tensor,) = request["inputs"]
        missing = {"name", "shape", "datatype"} - set(tensor)
        if missing:
            raise Refused(400, f"the input lacks {missing}")
        if tensor["datatype"] != "FP32":
            raise Refused(400, f"datatype {tensor['datatype']}")
        values = self.values(tensor, raw)
        shape = tensor["shape"]
        lenient = self.wrong("shapes are not looked at")
        if not lenient and (len(shape) != 2 or shape[1] != 2 or shape[0] < 0 or math.prod(shape) != len(values)):
            raise Refused(400, f"shape {shape} with {len(values)} elements")
        if not all(isinstance(value, int | float) for value in values):
            raise Refused(400, "data is no numbers")
        if self.wrong("one row is answered") and len(values) > 2:
            values = values[:2]
        return [list(values[at : at + 2]) for at in range(0, len(values), 2)]

    def values(self, tensor: dict[str, Any], raw: bytes) -> list[Any]:
        size = (tensor.get("parameters") or {}).get("binary_data_size")
        if size is not None:
            if self.wrong("binary sizes are not looked at"):
                raw = raw[: len(raw) // 8 * 8]
            elif "data" in tensor or len(raw) % 4 or size != len(raw):
                raise Refused(400, "binary_data_size")
            return list(struct.unpack(f"{'>' if self.wrong('big-endian') else '<'}{len(raw) // 4}f", raw))
        if raw and not self.wrong("binary sizes are not looked at"):
            raise Refused(400, "bytes that belong to no input")
        data = tensor.get("data")
        if not isinstance(data, list):
            raise Refused(400, "no data")
        nested = any(isinstance(row, list) for row in data)
        if nested and self.wrong("nested data is refused"):
            raise Refused(400, "flat data only")
        return [value for row in data for value in row] if nested else data

    def respond(self, request: dict[str, Any], outputs: list[dict[str, Any]]) -> None:
        wanted = {output["name"]: output.get("parameters") or {} for output in request.get("outputs", [])}
        if wanted and not self.wrong("the choice of outputs is ignored"):
            unknown = set(wanted) - {output["name"] for output in outputs}
            if unknown:
                raise Refused(400, f"no output {unknown}")
            outputs = [output for output in outputs if output["name"] in wanted]
        every = (request.get("parameters") or {}).get("binary_data_output", False)
        document: dict[str, Any] = {"model_name": MODEL, "model_version": "1", "outputs": outputs}
        if "id" in request and not self.wrong("the id is lost"):
            document["id"] = "1" if self.wrong("ids get mixed up") else request["id"]
        raws = []
        if not self.wrong("binary is turned into lists"):
            for output in outputs:
                if wanted.get(output["name"], {}).get("binary_data", every):
                    raws.append(struct.pack(f"<{len(output['data'])}f", *output.pop("data")))
                    output["parameters"] = {"binary_data_size": len(raws[-1])}
        if self.wrong("shapes of outputs lie"):
            outputs[0]["shape"] = [7]
        if self.wrong("numbers as texts") and "data" in outputs[0]:
            outputs[0]["data"] = [str(value) for value in outputs[0]["data"]]
        head = json.dumps(document).encode()
        if raws:
            extra = {"Inference_Header_Content_Length": str(len(head))}
            self.send(200, head + b"".join(raws), "application/octet-stream", **extra)
        else:
            self.send(200, head, "application/json")


class SmallServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, mistake: str, *, models: list[str], binary: bool) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.mistake = mistake
        self.models = models
        self.binary = binary

    def handle_error(self, *_: object) -> None:
        """Clients that lie and leave are part of the game."""


@contextlib.contextmanager
def running(mistake: str = "", *, models: tuple[str, ...] = (MODEL,), binary: bool = True) -> Iterator[str]:
    """Its URL, while the block runs."""
    server = SmallServer(mistake, models=list(models), binary=binary)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
