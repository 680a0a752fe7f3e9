"""The bare echo for gRPC: grpc.aio, no protobuf; the raw tensor at the request's end behind a head made before."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import grpc

from pillion.protocol.protos import open_inference_pb2 as pb

_OPTIONS = [("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20)]


async def main(port: int, size: int) -> None:
    answer = pb.ModelInferResponse(model_name="identity", model_version="1")
    answer.outputs.add(name="y", datatype="FP32", shape=[size // 4])
    answer.raw_output_contents.append(b"\0" * size)
    head = answer.SerializeToString()[:-size]

    async def infer(request: bytes, context: Any) -> bytes:  # noqa: ANN401, ARG001 - grpc's own
        return head + request[-size:]

    handler = grpc.method_handlers_generic_handler(
        "inference.GRPCInferenceService", {"ModelInfer": grpc.unary_unary_rpc_method_handler(infer)}
    )
    server = grpc.aio.server(options=_OPTIONS)
    server.add_generic_rpc_handlers((handler,))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
