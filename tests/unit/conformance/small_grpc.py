"""A little gRPC server of the protocol beside the little REST server: right, or wrong in one way."""

from __future__ import annotations

import contextlib
import math
import struct
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection

from pillion.protocol.protos import open_inference_pb2 as pb
from tests.unit.conformance.small_server import METADATA, MODEL

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["running_grpc"]

SERVICE = "inference.GRPCInferenceService"
INVALID, MISSING = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND


class Service:
    def __init__(self, mistake: str) -> None:
        self.mistake = mistake

    def wrong(self, mistake: str) -> bool:
        return mistake == self.mistake

    def live(self, _: Any, __: Any) -> Any:
        return pb.ServerLiveResponse(live=not self.wrong("not live"))

    def ready(self, _: Any, __: Any) -> Any:
        return pb.ServerReadyResponse(ready=not self.wrong("not ready over gRPC"))

    def known(self, name: str, version: str, context: Any) -> None:
        if name != MODEL or version not in ("", "1"):
            code = grpc.StatusCode.INTERNAL if self.wrong("an unknown model is INTERNAL") else MISSING
            context.abort(code, f"unknown model {name} {version}")

    def model_ready(self, request: Any, context: Any) -> Any:
        if not self.wrong("any model is ready"):
            self.known(request.name, request.version, context)
        return pb.ModelReadyResponse(ready=True)

    def server(self, _: Any, __: Any) -> Any:
        name = "other" if self.wrong("another name over gRPC") else "small"
        return pb.ServerMetadataResponse(name=name, version="0", extensions=["binary_tensor_data"])

    def model(self, request: Any, context: Any) -> Any:
        self.known(request.name, request.version, context)
        answer = pb.ModelMetadataResponse(name=MODEL, versions=["1"], platform="small_python")
        tensors: Any = METADATA
        for tensor in tensors["inputs"]:
            answer.inputs.add(**tensor)
        for tensor in tensors["outputs"]:
            answer.outputs.add(**tensor)
        return answer

    def infer(self, request: Any, context: Any) -> Any:
        self.known(request.model_name, request.model_version, context)
        code = grpc.StatusCode.INTERNAL if self.wrong("bad input is INTERNAL") else INVALID
        if len(request.inputs) != 1 or request.inputs[0].datatype != "FP32":
            context.abort(code, "one input of FP32")
        (tensor,) = request.inputs
        raws = list(request.raw_input_contents)
        if raws and (self.wrong("raw is refused") or len(tensor.contents.fp32_contents)):
            context.abort(code, "raw or typed")
        if raws and len(raws[0]) != 4 * math.prod(tensor.shape):
            context.abort(code, "raw_input_contents")
        values = list(struct.unpack(f"<{len(raws[0]) // 4}f", raws[0]) if raws else tensor.contents.fp32_contents)
        if len(values) != math.prod(tensor.shape) and not self.wrong("typed sizes are not looked at"):
            context.abort(code, "contents")
        double = 3 if self.wrong("other numbers over gRPC") else 2
        found = {
            "y": ([len(values) // 2, 2], [double * value for value in values]),
            "total": ([len(values) // 2], [a + b for a, b in zip(values[::2], values[1::2], strict=True)]),
        }
        wanted = [output.name for output in request.outputs] or list(found)
        answer = pb.ModelInferResponse(model_name=MODEL, id="" if self.wrong("the id is lost") else request.id)
        for name in wanted:
            answer.outputs.add(name=name, datatype="FP32", shape=found[name][0])
            answer.raw_output_contents.append(struct.pack(f"<{len(found[name][1])}f", *found[name][1]))
        if self.wrong("raw outputs are missing"):
            answer.raw_output_contents.pop()
            answer.raw_output_contents.append(b"\0")
        return answer

    def health(self, request: Any, context: Any) -> Any:
        if request.service not in ("", SERVICE):
            context.abort(MISSING, "unknown service")
        return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)


def _unary(method: Any, request: Any) -> Any:
    return grpc.unary_unary_rpc_method_handler(
        method,
        request_deserializer=request.FromString,
        response_serializer=lambda message: message.SerializeToString(),
    )


@contextlib.contextmanager
def running_grpc(mistake: str = "") -> Iterator[str]:
    """Its address, while the block runs."""
    service = Service(mistake)
    server = grpc.server(ThreadPoolExecutor(4))
    methods = {
        "ServerLive": _unary(service.live, pb.ServerLiveRequest),
        "ServerReady": _unary(service.ready, pb.ServerReadyRequest),
        "ModelReady": _unary(service.model_ready, pb.ModelReadyRequest),
        "ServerMetadata": _unary(service.server, pb.ServerMetadataRequest),
        "ModelMetadata": _unary(service.model, pb.ModelMetadataRequest),
        "ModelInfer": _unary(service.infer, pb.ModelInferRequest),
    }
    handlers = [grpc.method_handlers_generic_handler(SERVICE, methods)]
    if mistake != "no health service":
        checks = {"Check": _unary(service.health, health_pb2.HealthCheckRequest)}
        handlers.append(grpc.method_handlers_generic_handler("grpc.health.v1.Health", checks))
    server.add_generic_rpc_handlers(handlers)
    if mistake != "no reflection":
        reflection.enable_server_reflection((SERVICE,), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait(60)
