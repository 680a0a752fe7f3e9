"""One gRPC request, made and checked in Python; the load itself is ghz's."""

from __future__ import annotations

import grpc
import numpy as np

from bench.models import EXPECTED, ROW
from pillion.protocol.protos import open_inference_pb2 as pb

__all__ = ["check", "is_ready", "request_bytes"]


def _request() -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(model_name="iris")
    tensor = request.inputs.add(name="X", datatype="FP32")
    tensor.shape.extend([1, 4])
    request.outputs.add(name="label")
    request.raw_input_contents.append(np.array(ROW, np.float32).tobytes())
    return request


def request_bytes() -> bytes:
    """The serialised request that ghz sends."""
    return _request().SerializeToString()


def check(address: str) -> None:
    """Raise unless the server answers the right class."""
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=pb.ModelInferRequest.SerializeToString,
            response_deserializer=pb.ModelInferResponse.FromString,
        )
        answer = call(_request(), timeout=10)
    if answer.raw_output_contents:
        got = np.frombuffer(answer.raw_output_contents[0], np.int64).tolist()
    else:
        got = list(answer.outputs[0].contents.int64_contents)
    if got != [EXPECTED]:
        raise ValueError(f"{address} answered {got}, not {[EXPECTED]}: no ratio is worth printing")


def is_ready(address: str) -> bool:
    """Whether the server answers the request now."""
    try:
        check(address)
    except grpc.RpcError:
        return False
    return True
