"""The cost of transport alone: a model that gives back what it gets, from 4 bytes to 16 MB, against a bare echo.

Over REST by the binary tensor extension, over gRPC by raw contents. The echo cuts the tensor's bytes out of the request
where they are known to lie and sends them back behind a head that was made before: no less can be done for an answer.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from bench.contestants import LIMIT, OURS, Contestant, is_up, post
from bench.process import Process, free_port
from bench.serving import BENCH, SERVER_CPU, pillion

if TYPE_CHECKING:
    from pathlib import Path

    from bench.serving import Serving

__all__ = ["SIZES", "connections", "grpc_echo", "rest_echo"]

SIZES: Final = {"4 B": 4, "4 KB": 4 << 10, "1 MB": 1 << 20, "16 MB": 16 << 20}
_HEADER: Final = "Inference-Header-Content-Length"


def connections(size: int) -> int:
    """How many requests are in flight: with large tensors few, or the client's memory is what is measured."""
    return 16 if size < 1 << 20 else 4


def tensor(size: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Values that repeat at a prime distance, so that a shift shows; and small: ghz takes two braces for a template."""
    return np.arange(size // 4, dtype=np.float32) % 97


def _pillion(scratch: Path, name: str) -> Serving:
    model = scratch / "identity.onnx"
    folder = scratch / name
    folder.mkdir(exist_ok=True)
    # The default of 64 MiB for a body covers 16 MB; nothing else is changed either.
    return pillion(folder, model, models=[{"name": "identity", "path": str(model)}])


def rest_echo(scratch: Path, size: int) -> list[Contestant]:
    """Pillion and the bare echo, over REST."""
    content = tensor(size).tobytes()
    described = {
        "name": "x", "shape": [size // 4], "datatype": "FP32", "parameters": {"binary_data_size": size},
    }  # fmt: skip
    head = json.dumps({"inputs": [described], "parameters": {"binary_data_output": True}}).encode()
    headers = {_HEADER: str(len(head)), "Content-Type": "application/octet-stream"}
    port = free_port()
    echo = Process(
        LIMIT, [sys.executable, BENCH / "servers" / "echo_rest.py", str(port)], SERVER_CPU, scratch / "echo.log"
    )

    def contestant(name: str, process: Process, address: str, ready: str | None) -> Contestant:
        url = f"http://{address}/v2/models/identity/infer"

        def check() -> None:
            answered, body = post(url, head + content, headers)
            said = {key.lower(): value for key, value in answered.items()}
            if body[int(said[_HEADER.lower()]) :] != content:
                raise ValueError(f"{name} did not give back the {size} bytes it got: no ratio is worth printing")

        up = None if ready is None else lambda: is_up(f"http://{address}{ready}")
        return Contestant(name, process, url, head + content, check, headers, up)

    ours = _pillion(scratch, "identity-rest")
    return [
        contestant(OURS, ours.process, ours.http, "/v2/health/ready"),
        contestant(LIMIT, echo, f"127.0.0.1:{port}", None),
    ]


def grpc_echo(scratch: Path, size: int) -> list[Contestant]:
    """Pillion and the bare echo, over gRPC."""
    import grpc

    from pillion.protocol.protos import open_inference_pb2 as pb

    content = tensor(size).tobytes()
    request = pb.ModelInferRequest(model_name="identity")
    request.inputs.add(name="x", datatype="FP32", shape=[size // 4])
    request.raw_input_contents.append(content)
    body = request.SerializeToString()
    port = free_port()
    command: list[str | Path] = [sys.executable, BENCH / "servers" / "echo_grpc.py", str(port), str(size)]
    echo = Process(LIMIT, command, SERVER_CPU, scratch / "echo-grpc.log")

    def contestant(name: str, process: Process, address: str) -> Contestant:
        def ask() -> bytes:
            with grpc.insecure_channel(address, [("grpc.max_receive_message_length", 64 << 20)]) as channel:
                call: Any = channel.unary_unary(
                    "/inference.GRPCInferenceService/ModelInfer",
                    response_deserializer=pb.ModelInferResponse.FromString,
                )
                answer = call(body, timeout=30)
            return bytes(answer.raw_output_contents[0])

        def check() -> None:
            if ask() != content:
                raise ValueError(f"{name} did not give back the {size} bytes it got: no ratio is worth printing")

        def ready() -> bool:
            try:
                ask()
            except grpc.RpcError:
                return False
            return True

        return Contestant(name, process, address, body, check, {}, ready)

    ours = _pillion(scratch, "identity-grpc")
    return [contestant(OURS, ours.process, ours.grpc), contestant(LIMIT, echo, f"127.0.0.1:{port}")]
