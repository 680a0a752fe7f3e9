"""A gRPC client of the protocol that keeps its latest exchange. Imports ``grpc``: only where an address is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import grpc

from pillion.conformance.exchange import shown
from pillion.conformance.model import Violation
from pillion.conformance.samples import raw, unraw
from pillion.protocol.protos import open_inference_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pillion.conformance.samples import Sample

__all__ = ["Grpc", "GrpcAnswer", "infer_request", "pb", "values"]

_SERVICE: Final = "/inference.GRPCInferenceService"
_FIELDS: Final[Mapping[str, str]] = {
    "BOOL": "bool_contents", "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents",
    "INT64": "int64_contents", "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents",
    "UINT64": "uint64_contents", "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class GrpcAnswer:
    """What a call came to: the message where ``code`` is ``OK``."""

    code: str
    details: str
    message: Any

    def __str__(self) -> str:
        return f"{self.code} {shown(str(self.message).strip() if self.message is not None else self.details)}"

    def ok(self) -> Any:  # noqa: ANN401 - a generated message
        """The message.

        Raises:
            Violation: the call failed.
        """
        if self.code != "OK":
            raise Violation("OK", str(self))
        return self.message


class Grpc:
    """A client of one server. ``sent`` and ``last`` are the latest exchange."""

    def __init__(self, address: str, timeout: float, metadata: Sequence[tuple[str, str]]) -> None:
        self.address = address
        self.timeout = timeout
        self.sent = ""
        self.last: GrpcAnswer | None = None
        self._metadata = tuple(metadata)
        options = [("grpc.max_receive_message_length", 64 << 20), ("grpc.enable_http_proxy", 0)]
        self._channel = grpc.insecure_channel(address, options)

    def connect(self) -> None:
        """Wait until the server takes the connection.

        Raises:
            TimeoutError: it does not.
        """
        try:
            grpc.channel_ready_future(self._channel).result(self.timeout)
        except grpc.FutureTimeoutError:
            raise TimeoutError(f"nobody takes a gRPC connection at {self.address} within {self.timeout:g} s") from None

    def call(self, method: str, request: Any, answer: Any, service: str = _SERVICE) -> GrpcAnswer:  # noqa: ANN401 - generated messages
        """A unary call."""
        called: Any = self._channel.unary_unary(
            f"{service}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )
        self.sent = f"{service[1:]}/{method}\n{shown(str(request).strip())}"
        try:
            message = called(request, timeout=self.timeout, metadata=self._metadata)
            self.last = GrpcAnswer("OK", "", message)
        except grpc.RpcError as error:
            self.last = GrpcAnswer(error.code().name, str(error.details()), None)
        return self.last

    def first_of_stream(self, method: str, request: Any, answer: Any, service: str) -> GrpcAnswer:  # noqa: ANN401 - as above
        """The first message that a two-way stream answers to one request."""
        called: Any = self._channel.stream_stream(
            f"{service}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )
        self.sent = f"{service[1:]}/{method}\n{shown(str(request).strip())}"
        try:
            message = next(iter(called(iter([request]), timeout=self.timeout, metadata=self._metadata)))
            self.last = GrpcAnswer("OK", "", message)
        except grpc.RpcError as error:
            self.last = GrpcAnswer(error.code().name, str(error.details()), None)
        except StopIteration:
            self.last = GrpcAnswer("OK", "the stream ended without a message", None)
        return self.last

    def infer(self, request: Any) -> GrpcAnswer:  # noqa: ANN401 - a generated message
        """ModelInfer."""
        return self.call("ModelInfer", request, pb.ModelInferResponse)

    def close(self) -> None:
        """End the connection."""
        self._channel.close()


def infer_request(model: str, samples: Sequence[Sample], *, typed: bool, **members: Any) -> Any:  # noqa: ANN401 - a generated message
    """A ModelInferRequest with typed or raw contents."""
    request = pb.ModelInferRequest(model_name=model, **members)
    for sample in samples:
        tensor = request.inputs.add(name=sample.name, datatype=sample.datatype, shape=sample.shape)
        if not typed:
            request.raw_input_contents.append(raw(sample.datatype, sample.values))
            continue
        contents = [value.encode() if isinstance(value, str) else value for value in sample.values]
        getattr(tensor.contents, _FIELDS[sample.datatype]).extend(contents)
    return request


def values(response: Any) -> list[tuple[str, list[int], list[Any]]]:  # noqa: ANN401 - a generated message
    """Name, shape and values of each output, raw or typed.

    Raises:
        Violation: the parts do not fit together.
    """
    raws = list(response.raw_output_contents)
    if raws and len(raws) != len(response.outputs):
        raise Violation(f"raw contents for each of {len(response.outputs)} outputs", str(len(raws)))
    found = []
    for index, output in enumerate(response.outputs):
        if raws:
            try:
                content = unraw(output.datatype, raws[index])
            except ValueError as error:
                raise Violation(f"raw {output.datatype} in {output.name!r}", str(error)) from None
        else:
            if output.datatype not in _FIELDS:
                raise Violation(f"raw contents for {output.datatype}", "typed contents")
            typed = getattr(output.contents, _FIELDS[output.datatype])
            content = [value.decode(errors="replace") if isinstance(value, bytes) else value for value in typed]
        size = 1
        for dimension in output.shape:
            size *= dimension
        if size != len(content):
            raise Violation(f"{size} elements in {output.name!r} by its shape", str(len(content)))
        found.append((output.name, list(output.shape), content))
    return found
