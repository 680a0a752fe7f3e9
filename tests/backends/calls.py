"""gRPC, as clients call it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from pillion.protocol.protos import open_inference_pb2 as pb

if TYPE_CHECKING:
    from tests.integration.own_python.program import Program

__all__ = ["infer"]


def infer(program: Program, request: pb.ModelInferRequest) -> pb.ModelInferResponse:
    """One call of ModelInfer."""
    with grpc.insecure_channel(f"127.0.0.1:{program.ports['grpc']}") as channel:
        call = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=pb.ModelInferRequest.SerializeToString,
            response_deserializer=pb.ModelInferResponse.FromString,
        )
        answer: pb.ModelInferResponse = call(request, timeout=30)
        return answer
