"""A file of protobuf definitions as the text that ``protoc`` compiles: what ``pillion proto`` writes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from google.protobuf import descriptor_pb2

from pillion.protocol.field_numbers import type_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["proto_text"]

_Field = descriptor_pb2.FieldDescriptorProto
_Message = descriptor_pb2.DescriptorProto
_HEADER: Final = "// Written by pillion proto. Change the class, and run it again."


def proto_text(file: descriptor_pb2.FileDescriptorProto, comments: Mapping[str, str] | None = None) -> str:
    """The text of a file.

    Args:
        file: its definitions; only what :mod:`pillion.protocol.task_schema` makes.
        comments: what is said of methods, by their names.
    """
    writer = _Text(file)
    lines = [_HEADER, 'syntax = "proto3";', "", f"package {file.package};", ""]
    lines += [f'import "{name}";' for name in _used(file)]
    lines += [""] if lines[-1] else []
    for service in file.service:
        lines.append(f"service {service.name} {{")
        for method in service.method:
            lines += [f"  // {line}".rstrip() for line in (comments or {}).get(method.name, "").splitlines()]
            given, taken = writer.name(method.input_type), writer.name(method.output_type)
            given = f"stream {given}" if method.client_streaming else given
            taken = f"stream {taken}" if method.server_streaming else taken
            lines.append(f"  rpc {method.name}({given}) returns ({taken});")
        lines += ["}", ""]
    for message in file.message_type:
        lines += [*writer.message(message, ""), ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def _used(file: descriptor_pb2.FileDescriptorProto) -> Iterator[str]:
    """Imports that are needed: the compiler warns of others."""
    text = str(file.message_type)  # methods are of messages of this file, or of one that is needed for them
    for name in file.dependency:
        known = {
            "google/protobuf/struct.proto": ".google.protobuf.Value",
            "google/protobuf/timestamp.proto": ".google.protobuf.Timestamp",
            "pillion/values.proto": ".pillion.",
        }.get(name)
        if known is None or f'"{known}' in text:
            yield name


class _Text:
    def __init__(self, file: descriptor_pb2.FileDescriptorProto) -> None:
        self._package = file.package
        nested = [one for message in file.message_type for one in _nested_names(message)]
        self._hidden = {*nested, *(message.name for message in file.message_type if message.name in _PACKAGES)}

    def name(self, full: str) -> str:
        """How a type is named in this file: shortly, unless a nested one would be meant by that."""
        short = full.removeprefix(f".{self._package}.").removeprefix(".")
        return full if short.partition(".")[0] in self._hidden else short

    def message(self, message: _Message, indent: str) -> Iterator[str]:
        """The lines of a message."""
        inner = indent + "  "
        body: list[str] = []
        if message.reserved_range:
            numbers = ", ".join(str(one.start) for one in message.reserved_range)
            body.append(f"{inner}reserved {numbers};")
        if message.reserved_name:
            body.append(f"{inner}reserved " + ", ".join(f'"{name}"' for name in message.reserved_name) + ";")
        for nested in message.nested_type:
            if not nested.options.map_entry:
                body += self.message(nested, inner)
        union = [one for one in message.field if one.HasField("oneof_index") and not one.proto3_optional]
        for one in message.field:
            if one not in union:
                body.append(inner + self.field(one, message))
        if union:
            body.append(f"{inner}oneof {message.oneof_decl[union[0].oneof_index].name} {{")
            body += [f"{inner}  {self.field(one, message)}" for one in union]
            body.append(f"{inner}}}")
        if not body:
            yield f"{indent}message {message.name} {{}}"
            return
        yield f"{indent}message {message.name} {{"
        yield from body
        yield f"{indent}}}"

    def field(self, one: descriptor_pb2.FieldDescriptorProto, message: _Message) -> str:
        """One line."""
        declared = type_text(one, message, "")
        if "map<" in declared or one.type == _Field.TYPE_MESSAGE:
            declared = re.sub(r"[\w.]*\.[\w.]+", lambda found: self.name(f".{found[0]}"), declared)
        label = "optional " if one.proto3_optional else ""
        # Names in JSON are those of the code; protobuf's own would be made camelCase.
        options = f' [json_name = "{one.name}"]' if re.search("_|^[A-Z]", one.name) else ""
        return f"{label}{declared} {one.name} = {one.number}{options};"


_PACKAGES: Final = frozenset({"google", "pillion"})


def _nested_names(message: _Message) -> Iterator[str]:
    for nested in message.nested_type:
        yield nested.name
        yield from _nested_names(nested)
