"""A gRPC client that knows nothing beforehand: it learns services and messages by reflection, as grpcurl does."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Self

import grpc
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping

__all__ = ["Reflected"]


class Reflected:
    """Calls by names, with messages as JSON has them. A context manager."""

    def __init__(self, port: int, **metadata: str) -> None:
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self._known = ProtoReflectionDescriptorDatabase(self._channel)
        self._pool = descriptor_pool.DescriptorPool(self._known)
        self._metadata = tuple((key.replace("_", "-"), value) for key, value in metadata.items())

    def services(self) -> set[str]:
        """Names of all that the server lists."""
        return set(self._known.get_services())

    def call(self, name: str, document: object = None, /, **metadata: str) -> Any:
        """``package.Service/Method`` with one message, or a list of them where it takes a stream: the answer."""
        return next(iter(self.stream(name, document, **metadata)))

    def stream(self, name: str, document: object = None, /, **metadata: str) -> Generator[Any]:
        """The same of a method with several answers, as they come."""
        method, answer = self._called(name, document, metadata)
        for one in answer if method.server_streaming else itertools.repeat(answer.result(), 1):
            yield json_format.MessageToDict(one, preserving_proto_field_name=True)

    def begin(self, name: str, document: object = None, /, **metadata: str) -> Any:
        """A call that goes on: grpc's own object."""
        return self._called(name, document, metadata)[1]

    def _called(self, name: str, document: object, metadata: Mapping[str, str]) -> tuple[Any, Any]:
        service, _, method_name = name.partition("/")
        method = self._pool.FindServiceByName(service).methods_by_name[method_name]
        taken = message_factory.GetMessageClass(method.input_type)
        given = message_factory.GetMessageClass(method.output_type)
        kind = ("stream" if method.client_streaming else "unary") + ("_stream" if method.server_streaming else "_unary")
        make: Any = getattr(self._channel, kind)(f"/{name}", taken.SerializeToString, given.FromString)
        documents: Iterable[Any] = document if method.client_streaming else [document or {}]  # type: ignore[assignment] # of messages
        messages = (json_format.ParseDict(one, taken()) for one in documents)
        more = tuple((key.replace("_", "-"), value) for key, value in metadata.items())
        sent = messages if method.client_streaming else next(messages)
        call = make if method.server_streaming else make.future
        return method, call(sent, metadata=self._metadata + more, timeout=60)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()
