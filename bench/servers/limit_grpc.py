"""The bare limit for gRPC: grpc.aio with the same protobuf messages, the model, and nothing else.

``uvloop`` as the third argument runs it on that loop, as Pillion does.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import grpc
import numpy as np
import onnxruntime

from pillion.protocol.protos import open_inference_pb2 as pb


async def main(model: str, port: int) -> None:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    outputs = [session.get_outputs()[0].name]

    async def infer(request: Any, context: Any) -> Any:  # noqa: ANN401, ARG001 - generated messages have no types here
        tensor = request.inputs[0]
        raw = request.raw_input_contents[0]
        rows = np.frombuffer(raw, dtype=np.float32).reshape(tuple(tensor.shape))
        (classes,) = session.run(outputs, {name: rows})
        answer = pb.ModelInferResponse(model_name="iris", model_version="1")
        output = answer.outputs.add(name="label", datatype="INT64")
        output.shape.extend(classes.shape)
        answer.raw_output_contents.append(classes.tobytes())
        return answer

    handler = grpc.method_handlers_generic_handler(
        "inference.GRPCInferenceService",
        {
            "ModelInfer": grpc.unary_unary_rpc_method_handler(
                infer,
                request_deserializer=pb.ModelInferRequest.FromString,
                response_serializer=pb.ModelInferResponse.SerializeToString,
            )
        },
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((handler,))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    if "uvloop" in sys.argv[3:]:
        import uvloop

        uvloop.run(main(sys.argv[1], int(sys.argv[2])))
    else:
        asyncio.run(main(sys.argv[1], int(sys.argv[2])))
