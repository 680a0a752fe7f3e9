"""Which numbers the fields of a service have, by what its lock says they had.

A field keeps its number for as long as its type stays. A new one gets the number after all that were ever given away.
The number of one that is gone is reserved, and is its own again if it comes back as it was. One whose type changed is,
to a client made before, another field: it gets a new number, and the old one is reserved.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from google.protobuf import descriptor_pb2

from pillion.authoring.field_numbers import FieldNumber, MessageNumbers, Reserved

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pillion.authoring.field_numbers import ServiceNumbers

__all__ = ["Changes", "TypeChange", "number_fields", "type_text"]

_Field = descriptor_pb2.FieldDescriptorProto
_KINDS: Final = {
    _Field.TYPE_STRING: "string",
    _Field.TYPE_INT64: "int64",
    _Field.TYPE_DOUBLE: "double",
    _Field.TYPE_BOOL: "bool",
    _Field.TYPE_BYTES: "bytes",
}
_OWN: Final = range(19000, 20000)
"""Numbers that protobuf keeps for itself."""


@dataclass(frozen=True, slots=True)
class TypeChange:
    """A field that has another type than its lock says."""

    field: str
    """``Message.field``."""
    was: str
    now: str

    def __str__(self) -> str:
        return f"{self.field} was {self.was} and is {self.now}"


@dataclass(slots=True)
class Changes:
    """How a service differs from its lock; fields as ``Message.field``."""

    added: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    types: list[TypeChange] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.types)

    def __str__(self) -> str:
        parts = [("new: ", self.added), ("gone: ", self.removed), ("", [str(one) for one in self.types])]
        return "; ".join(f"{title}{', '.join(names)}" for title, names in parts if names)


def number_fields(
    file: descriptor_pb2.FileDescriptorProto, known: ServiceNumbers | None
) -> tuple[ServiceNumbers, Changes]:
    """Give the fields of the file their numbers, in place; what the lock is to say now, and what it did not say.

    Args:
        file: of one service, its fields in the order of their declaration.
        known: of its lock; None where there is none, and the order is the number.
    """
    changes = Changes()
    # Messages of tasks that are gone stay: a task that comes back means what it meant.
    result = dict(known or {})
    for name, message in _messages(file):
        before = result.get(name)
        result[name] = _number(message, name, before or MessageNumbers(), file.package, changes)
        if before is None and not message.field:
            changes.added.append(name)
    if known is None:
        return result, Changes()
    present = {name for name, _ in _messages(file)}
    changes.removed.extend(sorted(name for name in known if name not in present))
    return result, changes


def _number(
    message: descriptor_pb2.DescriptorProto, name: str, before: MessageNumbers, package: str, changes: Changes
) -> MessageNumbers:
    fields: dict[str, FieldNumber] = {}
    reserved = {one.number: one for one in before.reserved}
    used = max(before.numbers(), default=0)
    for one in message.field:
        declared = type_text(one, message, package)
        known = before.fields.get(one.name)
        if known is not None and known.type == declared:
            fields[one.name] = known
            continue
        if known is not None:
            changes.types.append(TypeChange(f"{name}.{one.name}", known.type, declared))
            reserved[known.number] = Reserved(known.number, one.name, known.type)
        else:
            changes.added.append(f"{name}.{one.name}")
        former = next((r for r in reserved.values() if (r.name, r.type) == (one.name, declared)), None)
        if former is not None:
            del reserved[former.number]
            fields[one.name] = FieldNumber(former.number, declared)
            continue
        used = used + 1 if used + 1 not in _OWN else _OWN.stop
        fields[one.name] = FieldNumber(used, declared)
    for gone, known in before.fields.items():
        if gone not in fields:
            changes.removed.append(f"{name}.{gone}")
            reserved[known.number] = Reserved(known.number, gone, known.type)
    for one in message.field:
        one.number = fields[one.name].number
    for number in sorted(reserved):
        message.reserved_range.add(start=number, end=number + 1)
    # A field that has a new number under its old name cannot have that reserved.
    message.reserved_name.extend(dict.fromkeys(r.name for r in reserved.values() if r.name not in fields))
    return MessageNumbers(fields, tuple(reserved[number] for number in sorted(reserved)))


def _messages(file: descriptor_pb2.FileDescriptorProto) -> Iterator[tuple[str, descriptor_pb2.DescriptorProto]]:
    """All of a file by their names, but for the entries of maps, which protobuf makes by itself."""

    def below(
        message: descriptor_pb2.DescriptorProto, outer: str
    ) -> Iterator[tuple[str, descriptor_pb2.DescriptorProto]]:
        name = f"{outer}{message.name}"
        yield name, message
        for nested in message.nested_type:
            if not nested.options.map_entry:
                yield from below(nested, f"{name}.")

    for message in file.message_type:
        yield from below(message, "")


def type_text(one: descriptor_pb2.FieldDescriptorProto, message: descriptor_pb2.DescriptorProto, package: str) -> str:
    """The type of a field as a ``.proto`` has it, with names of the package itself without it."""
    entries: Mapping[str, descriptor_pb2.DescriptorProto] = {
        nested.name: nested for nested in message.nested_type if nested.options.map_entry
    }
    entry = entries.get(one.type_name.rpartition(".")[2]) if one.label == _Field.LABEL_REPEATED else None
    if entry is not None:
        return f"map<string, {_single(entry.field[1], package)}>"
    single = _single(one, package)
    return f"repeated {single}" if one.label == _Field.LABEL_REPEATED else single


def _single(one: descriptor_pb2.FieldDescriptorProto, package: str) -> str:
    return _KINDS.get(one.type) or one.type_name.removeprefix(".").removeprefix(f"{package}.")
