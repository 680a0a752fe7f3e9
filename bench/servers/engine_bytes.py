"""One engine of ours and nothing else: the answer in a file, whatever the request's bytes are.

``engine_bytes.py grpcio|grpcio-threads|asyncio ANSWER PORT``
"""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import uvloop

from pillion.transport.grpc.limits import GrpcLimits
from pillion.transport.grpc.options import GrpcOptions
from pillion.transport.grpc.server import engine_of

_SERVICE = "inference.GRPCInferenceService"


async def main(engine: str, answer: bytes, port: int) -> None:
    async def infer(request: bytes, context: Any) -> bytes:  # noqa: ANN401, ARG001 - grpc's own
        return answer

    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {"ModelInfer": grpc.unary_unary_rpc_method_handler(infer)}
    server = engine_of(GrpcOptions(engine=engine), GrpcLimits(max_connection_age=1e6))
    await server.start(f"127.0.0.1:{port}", None, [grpc.method_handlers_generic_handler(_SERVICE, handlers)], None)
    await asyncio.Event().wait()


def threads(answer: bytes, port: int) -> None:
    """grpcio's other server: a pool of threads."""

    def infer(request: bytes, context: Any) -> bytes:  # noqa: ANN401, ARG001 - grpc's own
        return answer

    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {"ModelInfer": grpc.unary_unary_rpc_method_handler(infer)}
    server = grpc.server(ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, handlers),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    content = Path(sys.argv[2]).read_bytes()
    if sys.argv[1] == "grpcio-threads":
        threads(content, int(sys.argv[3]))
    else:
        uvloop.run(main(sys.argv[1], content, int(sys.argv[3])))
