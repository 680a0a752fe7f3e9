"""Protobuf for tasks: a service for each class, made at run time from the signatures.

``class Mood`` with the task ``classify(text: str) -> int`` is the service ``mood.MoodService`` with the method
``ClassifyPredict(ClassifyRequest) returns (ClassifyResponse)``; the response's field is ``result``. Methods of tasks
that stream begin with ``ServerStreaming``, ``ClientStreaming`` or ``BidiStreaming``; each message has one item, and the
first message of a client also what is no stream. Field numbers are
those of the lock beside the code, else the order of declaration, so that parameters and fields added at the end keep
old clients working. Scalars have presence: an empty string is a value, and what is left out is missing. What protobuf
cannot nest (lists in lists) is wrapped in a message.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from google.protobuf import descriptor_pool, message_factory

from pillion.authoring.names import camel_case
from pillion.protocol.field_numbers import number_fields
from pillion.protocol.message_writer import MessageWriter, shared_files
from pillion.protocol.runtime_files import RUNTIME_FILE, runtime_files

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from google.protobuf import descriptor_pb2
    from google.protobuf.message import Message

    from pillion.authoring.field_numbers import FieldLock, ServiceNumbers
    from pillion.authoring.signature import TaskSignature
    from pillion.protocol.field_numbers import Changes

__all__ = ["ServiceDraft", "ServiceSchema", "TaskMethod", "files_before", "service_name", "service_schema"]

_KINDS: Final = {
    (False, False): "",
    (False, True): "ServerStreaming",
    (True, False): "ClientStreaming",
    (True, True): "BidiStreaming",
}
"""How names of methods begin, by whether clients and whether servers stream."""


@dataclass(frozen=True, slots=True)
class TaskMethod:
    """One method of a service."""

    name: str
    task: str
    signature: TaskSignature
    """What its messages were made of."""
    request: type[Message]
    response: type[Message]
    streams_in: bool = False
    streams_out: bool = False


@dataclass(frozen=True, slots=True)
class ServiceSchema:
    """The service of one class."""

    name: str
    """With the package."""
    file: descriptor_pb2.FileDescriptorProto
    methods: tuple[TaskMethod, ...]
    numbers: ServiceNumbers
    """Of its fields, as a lock would keep them."""
    changes: Changes
    """How that differs from the lock that there is."""


def service_name(owner: str) -> str:
    """The full name of the service of a class or domain."""
    return f"{_package(owner)}.{owner}Service"


def _package(owner: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", owner).lower()


def service_schema(owner: str, signatures: Sequence[TaskSignature], lock: FieldLock | None = None) -> ServiceSchema:
    """The service of a class with these tasks; fields have the numbers of the lock, where it knows them."""
    return ServiceDraft(owner, signatures).finish(lock)[0]


def files_before(file: descriptor_pb2.FileDescriptorProto) -> list[descriptor_pb2.FileDescriptorProto]:
    """The files that a file of services depends on, each after those that it depends on itself."""
    own = [one for one in runtime_files() if one.name == RUNTIME_FILE] if RUNTIME_FILE in file.dependency else []
    return [*shared_files(), *own]


class ServiceDraft:
    """A file with the service of some tasks, to which more may be written before its fields are numbered."""

    def __init__(self, owner: str, signatures: Sequence[TaskSignature]) -> None:
        self.owner = owner
        self.package = _package(owner)
        self.writer = MessageWriter(self.package)
        self.tasks: list[tuple[str, TaskSignature, str, str]] = []
        """Of each method its name, the task, and the names of its messages."""
        service = self.writer.file.service.add(name=f"{owner}Service")
        for signature in signatures:
            request, response = self._messages(signature)
            streams_in = signature.incoming is not None
            name = f"{_KINDS[streams_in, signature.streams]}{camel_case(signature.name)}Predict"
            method = service.method.add(name=name, input_type=self.type_name(request))
            method.output_type = self.type_name(response)
            if streams_in:
                method.client_streaming = True
            if signature.streams:
                method.server_streaming = True
            self.tasks.append((name, signature, request, response))

    def type_name(self, message: str) -> str:
        """How fields and methods name a message of this file."""
        return f".{self.package}.{message}"

    def _messages(self, signature: TaskSignature) -> tuple[str, str]:
        writer, base = self.writer, camel_case(signature.name)
        request, response = writer.unique(f"{base}Request"), writer.unique(f"{base}Response")
        message = writer.file.message_type.add(name=request)
        for number, parameter in enumerate(signature.parameters, 1):
            writer.add(message, f"{self.package}.{request}", number, parameter.name, parameter.type)
        incoming = signature.incoming
        if incoming is not None:
            number = len(signature.parameters) + 1
            writer.add(message, f"{self.package}.{request}", number, incoming.name, incoming.type)
        answer = writer.file.message_type.add(name=response)
        writer.add(answer, f"{self.package}.{response}", 1, "result", signature.returns)
        return request, response

    def finish(self, lock: FieldLock | None = None) -> tuple[ServiceSchema, Callable[[str], type[Message]]]:
        """Number the fields; gives the service of the tasks, and what finds the class of any message by its name."""
        file, full = self.writer.file, service_name(self.owner)
        numbers, changes = number_fields(file, None if lock is None else lock.services.get(full, {}))
        pool = descriptor_pool.DescriptorPool()
        for one in (*files_before(file), file):
            pool.Add(one)

        def message_class(name: str) -> type[Message]:
            found: type[Message] = message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{self.package}.{name}"))
            return found

        methods = tuple(
            TaskMethod(
                name, task.name, task, message_class(req), message_class(res), task.incoming is not None, task.streams
            )
            for name, task, req, res in self.tasks
        )
        return ServiceSchema(full, file, methods, numbers, changes), message_class
