"""Clients that leave a stream of the model ``story`` when its first piece has come."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

import grpc

from pillion.protocol.protos import open_inference_pb2 as pb

if TYPE_CHECKING:
    from tests.integration.own_python.program import Program

__all__ = ["LONG", "leave", "leave_grpc"]

LONG = 10_000
"""Pieces of a stream that nobody reads to its end."""


def leave(program: Program, path: str, body: object) -> None:
    """Ask, read the first event, and hang up."""
    content = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", program.ports["http"]), timeout=60) as connection:
        connection.sendall(head.encode() + content)
        received = b""
        while b"data: " not in received:
            piece = connection.recv(65536)
            assert piece, received
            received += piece


def leave_grpc(program: Program) -> None:
    """The same over gRPC."""
    request = pb.ModelInferRequest(model_name="story")
    request.parameters["max_tokens"].int64_param = LONG
    request.inputs.add(name="text_input", datatype="BYTES", shape=[1]).contents.bytes_contents.append(b"a")
    with grpc.insecure_channel(f"127.0.0.1:{program.ports['grpc']}") as channel:
        stream = channel.stream_stream(
            "/inference.GRPCInferenceService/ModelStreamInfer",
            request_serializer=pb.ModelInferRequest.SerializeToString,
            response_deserializer=pb.ModelStreamInferResponse.FromString,
        )
        answers = stream(iter([request]), timeout=60)
        assert b"a0 " == next(answers).infer_response.outputs[0].contents.bytes_contents[0]
        answers.cancel()
