"""Messages of protobuf for values: what the types of :mod:`pillion.authoring.values` are in a ``.proto`` file."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from google.protobuf import descriptor_pb2, struct_pb2, timestamp_pb2

from pillion.authoring.values import (
    AnyValue,
    ArrayOf,
    FileOf,
    Kind,
    ListOf,
    MapOf,
    Nothing,
    OptionalOf,
    Record,
    Scalar,
    TupleOf,
    UnionOf,
)

if TYPE_CHECKING:
    from pillion.authoring.values import ValueType

__all__ = ["MessageWriter", "nested_name", "shared_files"]

_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS: Final = {
    Kind.STRING: _Field.TYPE_STRING,
    Kind.INTEGER: _Field.TYPE_INT64,
    Kind.NUMBER: _Field.TYPE_DOUBLE,
    Kind.BOOLEAN: _Field.TYPE_BOOL,
    Kind.BYTES: _Field.TYPE_BYTES,
}
_VALUES: Final = "pillion/values.proto"
_DEPENDENCIES: Final = ("google/protobuf/struct.proto", "google/protobuf/timestamp.proto", _VALUES)


def _values_file() -> descriptor_pb2.FileDescriptorProto:
    """``pillion.Array``: raw little-endian ``data``, or for people who type, ``values``; and ``pillion.File``."""
    file = descriptor_pb2.FileDescriptorProto(name=_VALUES, package="pillion", syntax="proto3")
    array = file.message_type.add(name="Array")
    for number, (name, kind, label) in enumerate(
        (
            ("dtype", _Field.TYPE_STRING, _Field.LABEL_OPTIONAL),
            ("shape", _Field.TYPE_INT64, _Field.LABEL_REPEATED),
            ("data", _Field.TYPE_BYTES, _Field.LABEL_OPTIONAL),
            ("values", _Field.TYPE_DOUBLE, _Field.LABEL_REPEATED),
        ),
        1,
    ):
        array.field.add(name=name, number=number, type=kind, label=label, json_name=name)
    one = file.message_type.add(name="File")
    for number, (name, kind) in enumerate(
        (("data", _Field.TYPE_BYTES), ("filename", _Field.TYPE_STRING), ("media_type", _Field.TYPE_STRING)), 1
    ):
        one.field.add(name=name, number=number, type=kind, label=_Field.LABEL_OPTIONAL, json_name=name)
    return file


def shared_files() -> list[descriptor_pb2.FileDescriptorProto]:
    """The files that those of services depend on."""
    files = []
    for module in (struct_pb2, timestamp_pb2):
        file = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        files.append(file)
    return [*files, _values_file()]


@dataclass(slots=True)
class MessageWriter:
    """Writes messages into one file."""

    package: str
    file: descriptor_pb2.FileDescriptorProto = field(init=False)
    records: dict[type, str] = field(default_factory=dict)
    """Names of messages by the classes that they are of, whichever task they came with."""
    taken: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.file = descriptor_pb2.FileDescriptorProto(
            name=f"{self.package}/{self.package}.proto", package=self.package, syntax="proto3"
        )
        self.file.dependency.extend(_DEPENDENCIES)

    def unique(self, name: str) -> str:
        """The name, with a number where another type has it already."""
        found, number = name, 2
        while found in self.taken:
            found, number = f"{name}{number}", number + 1
        self.taken.add(found)
        return found

    def record(self, record: Record) -> str:
        """The full name of a record's message, which is written when it is first asked for."""
        known = self.records.get(record.python)
        if known is not None:
            return known
        name = self.unique(re.sub(r"\W+", "_", record.name).strip("_"))
        full = self.records[record.python] = f"{self.package}.{name}"
        # Fields first, message after: adding to the file while it is being written to would move it.
        message = descriptor_pb2.DescriptorProto(name=name)
        for number, one in enumerate(record.fields, 1):
            self.add(message, full, number, one.name, one.type)
        self.file.message_type.append(message)
        return full

    def add(
        self, message: descriptor_pb2.DescriptorProto, full: str, number: int, name: str, declared: ValueType
    ) -> None:
        """Add one field to a message whose full name is ``full``."""
        if isinstance(declared, OptionalOf):
            inner = declared.item
            declared = inner if not isinstance(inner, ListOf | MapOf | OptionalOf) else declared
        one = _Field(name=name, number=number, json_name=name, label=_Field.LABEL_OPTIONAL)
        if isinstance(declared, ListOf):
            one.label = _Field.LABEL_REPEATED
            self.fill(one, message, full, name, declared.item)
        elif isinstance(declared, MapOf):
            one.label = _Field.LABEL_REPEATED
            entry = message.nested_type.add(name=f"{nested_name(name)}Entry")
            entry.options.map_entry = True
            entry.field.add(name="key", number=1, type=_Field.TYPE_STRING, label=_Field.LABEL_OPTIONAL, json_name="key")
            value = entry.field.add(name="value", number=2, label=_Field.LABEL_OPTIONAL, json_name="value")
            self.fill(value, message, full, name, declared.item)
            one.type, one.type_name = _Field.TYPE_MESSAGE, f".{full}.{nested_name(name)}Entry"
        else:
            self.fill(one, message, full, name, declared)
            if one.type != _Field.TYPE_MESSAGE:
                one.proto3_optional = True
                one.oneof_index = len(message.oneof_decl)
                message.oneof_decl.add(name=f"_{name}")
        message.field.append(one)

    def fill(
        self,
        one: descriptor_pb2.FieldDescriptorProto,
        message: descriptor_pb2.DescriptorProto,
        full: str,
        name: str,
        declared: ValueType,
    ) -> None:
        """Set the type of a field that holds one value."""
        match declared:
            case Scalar(kind) if kind in _SCALARS:
                one.type = _SCALARS[kind]
                return
            case Scalar():
                target = "google.protobuf.Timestamp"
            case AnyValue() | Nothing():
                target = "google.protobuf.Value"
            case ArrayOf():
                target = "pillion.Array"
            case FileOf():
                target = "pillion.File"
            case Record():
                target = self.record(declared)
            case ListOf() | MapOf() | OptionalOf():
                target = f"{full}.{nested_name(name)}Item"
                wrapper = message.nested_type.add(name=f"{nested_name(name)}Item")
                inner = declared.item if isinstance(declared, OptionalOf) else declared
                self.add(wrapper, target, 1, "value", inner)
            case TupleOf(items):
                target = f"{full}.{nested_name(name)}Tuple"
                wrapper = message.nested_type.add(name=f"{nested_name(name)}Tuple")
                for number, item in enumerate(items, 1):
                    self.add(wrapper, target, number, f"item{number}", item)
            case UnionOf():
                target = f"{full}.{nested_name(name)}Union"
                self.union(message.nested_type.add(name=f"{nested_name(name)}Union"), target, declared)
        one.type, one.type_name = _Field.TYPE_MESSAGE, f".{target}"

    def union(self, wrapper: descriptor_pb2.DescriptorProto, full: str, union: UnionOf) -> None:
        """Fill the message that stands for a union: one ``oneof`` of its members."""
        wrapper.oneof_decl.add(name="kind")
        for number, member in enumerate(union.members, 1):
            one = _Field(name=member.name, number=number, json_name=member.name, label=_Field.LABEL_OPTIONAL)
            self.fill(one, wrapper, full, member.name, member.type)
            one.oneof_index = 0
            wrapper.field.append(one)


def nested_name(name: str) -> str:
    """How what belongs to a field is called that protobuf cannot nest."""
    return "".join(part[:1].upper() + part[1:] for part in name.split("_") if part) or "Value"
