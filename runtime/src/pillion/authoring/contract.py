"""Whether two classes mean the same by the name of a task: the first that is served is the contract of that name.

What clients see is compared: parameters, what is sent one by one, the result, limits on values. Names of classes, the
order of declaration, documentation, ``async`` and ``batch=`` are each class's own.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from pydantic.errors import PydanticInvalidForJsonSchema

from pillion.authoring.values import (
    AnyValue,
    ArrayOf,
    FileOf,
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
    from collections.abc import Iterator, Mapping

    from pillion.authoring.signature import TaskSignature
    from pillion.authoring.training import TrainSignature
    from pillion.authoring.values import ValueType

    _Pairs: TypeAlias = set[tuple[int, int]]

__all__ = ["differences", "training_differences"]

_TOLD_BESIDE: Final = frozenset({"title", "description", "examples", "default"})
"""Keys of JSON schema that say nothing of which values are taken; defaults are compared as values."""
_LONGEST: Final = 60
"""Characters of a value in a message."""


def differences(contract: TaskSignature, other: TaskSignature) -> tuple[str, ...]:
    """How ``other`` differs from the contract, a sentence for each parameter and for the result; empty: not at all."""
    return (*_parameters(contract, other), *_incoming(contract, other), *_result(contract, other))


def training_differences(first: TrainSignature, other: TrainSignature) -> Iterator[str]:
    """How another training of the same name differs from the first."""
    theirs, ours = _given(first), _given(other)
    for name, there in theirs.items():
        here = ours.get(name)
        if here is None:
            yield f"parameter {name}: missing here"
            continue
        yield from _types(f"parameter {name}", there, here, set())
        if (name in first.required) != (name in other.required):
            yield f"parameter {name}: {_needed(name in first.required)} there, {_needed(name in other.required)} here"
    yield from (f"parameter {name}: not there, {_text(ours[name])} here" for name in ours if name not in theirs)


def _given(training: TrainSignature) -> dict[str, ValueType]:
    return {one.name: ListOf(one.item) for one in training.data} | {one.name: one.type for one in training.plain}


def _parameters(contract: TaskSignature, other: TaskSignature) -> Iterator[str]:
    theirs = {one.name: one for one in contract.parameters}
    ours = {one.name: one for one in other.parameters}
    limits = _limits(contract), _limits(other)
    for name, parameter in theirs.items():
        place = f"parameter {name}"
        own = ours.get(name)
        if own is None:
            yield f"{place}: missing here"
            continue
        found = list(_types(place, parameter.type, own.type, set()))
        if not found and limits[0].get(name) != limits[1].get(name):
            found = [f"{place}: other values are allowed here"]
        if parameter.required != own.required:
            found.append(f"{place}: {_needed(parameter.required)} there, {_needed(own.required)} here")
        elif parameter.default != own.default:
            found.append(f"{place}: {_short(parameter.default)} by default there, {_short(own.default)} here")
        yield from found
    yield from (f"parameter {name}: not there, {_text(ours[name].type)} here" for name in ours if name not in theirs)


def _incoming(contract: TaskSignature, other: TaskSignature) -> Iterator[str]:
    theirs, ours = contract.incoming, other.incoming
    if theirs is None and ours is None:
        return
    if theirs is None or ours is None or theirs.name != ours.name:
        names = ["nothing" if one is None else one.name for one in (theirs, ours)]
        yield f"sent one by one: {names[0]} there, {names[1]} here"
        return
    yield from _types(f"each {theirs.name} that is sent", theirs.type, ours.type, set())


def _result(contract: TaskSignature, other: TaskSignature) -> Iterator[str]:
    if contract.streams != other.streams:
        kinds = ["one by one" if one.streams else "at once" for one in (contract, other)]
        yield f"result: given {kinds[0]} there, {kinds[1]} here"
    yield from _types("result", contract.returns, other.returns, set())


def _types(place: str, there: ValueType, here: ValueType, seen: _Pairs) -> Iterator[str]:
    """How two types differ. A record may contain itself: a pair that is being compared is taken as equal."""
    if isinstance(there, ListOf | MapOf) and isinstance(here, ListOf | MapOf) and type(there) is type(here):
        yield from _types(f"each of {place}", there.item, here.item, seen)
    elif isinstance(there, OptionalOf) and isinstance(here, OptionalOf):
        yield from _types(place, there.item, here.item, seen)
    elif isinstance(there, TupleOf) and isinstance(here, TupleOf) and len(there.items) == len(here.items):
        for number, (one, other) in enumerate(zip(there.items, here.items, strict=True)):
            yield from _types(f"{place}[{number}]", one, other, seen)
    elif isinstance(there, UnionOf) and isinstance(here, UnionOf) and _members(there) == _members(here):
        for member, own in zip(there.members, here.members, strict=True):
            yield from _types(f"{place} as {member.name}", member.type, own.type, seen)
    elif isinstance(there, Record) and isinstance(here, Record):
        if (id(there), id(here)) not in seen:
            seen.add((id(there), id(here)))
            yield from _fields(place, there, here, seen)
    elif not _same(there, here):
        yield f"{place}: {_text(there)} there, {_text(here)} here"


def _fields(place: str, there: Record, here: Record, seen: _Pairs) -> Iterator[str]:
    theirs, ours = ({field.key: field for field in record.fields} for record in (there, here))
    for key, field in theirs.items():
        inner = f"{place}.{key}"
        own = ours.get(key)
        if own is None:
            yield f"{inner}: missing here"
            continue
        if field.required != own.required:
            yield f"{inner}: {_needed(field.required)} there, {_needed(own.required)} here"
        if field.out_key != own.out_key:
            yield f"{inner}: {field.out_key} in answers there, {own.out_key} here"
        yield from _types(inner, field.type, own.type, seen)
    yield from (f"{place}.{key}: not there, {_text(ours[key].type)} here" for key in ours if key not in theirs)


def _same(there: ValueType, here: ValueType) -> bool:
    if isinstance(there, Scalar) and isinstance(here, Scalar):
        return there.kind is here.kind and there.choices == here.choices
    if isinstance(there, FileOf) and isinstance(here, FileOf):
        return True  # what a class makes of a file is its own affair
    if isinstance(there, ArrayOf) and isinstance(here, ArrayOf):
        return there.dtype == here.dtype
    return type(there) is type(here) and isinstance(there, AnyValue | Nothing)


def _members(union: UnionOf) -> tuple[str | None, list[tuple[str, tuple[str | int, ...]]]]:
    return union.tag, [(member.name, member.tags) for member in union.members]


def _needed(required: bool) -> str:  # noqa: FBT001 - a value that is told
    return "required" if required else "optional"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _text(declared: ValueType) -> str:
    match declared:
        case Scalar(choices=choices) if choices:
            return f"one of {_short(list(choices))}"
        case Scalar(kind):
            return kind.value
        case ArrayOf(dtype):
            return f"array of {dtype or 'numbers'}"
        case FileOf():
            return "file"
        case OptionalOf(item):
            return f"{_text(item)} or null"
        case ListOf(item):
            return f"list of {_text(item)}"
        case MapOf(item):
            return f"map of {_text(item)}"
        case TupleOf(items):
            return f"({', '.join(_text(item) for item in items)})"
        case UnionOf(members):
            return " or ".join(_text(member.type) for member in members)
        case Record(name=name):
            return name
        case Nothing():
            return "nothing"
        case _:
            return "any value"


def _limits(signature: TaskSignature) -> Mapping[str, str]:
    """By parameter: its JSON schema as text, without names and documentation. Empty where there is no such schema."""
    try:
        schema = signature.arguments.json_schema()
    except PydanticInvalidForJsonSchema:
        return {}
    definitions = schema.get("$defs", {})
    properties = schema.get("properties", {})
    return {name: json.dumps(_bare(value, definitions, []), sort_keys=True) for name, value in properties.items()}


def _bare(schema: Any, definitions: Mapping[str, Any], opened: list[str]) -> Any:  # noqa: ANN401 - JSON
    """The schema with references resolved; a type within itself is the number of types between."""
    if isinstance(schema, list):
        return [_bare(one, definitions, opened) for one in schema]
    if not isinstance(schema, dict):
        return schema
    reference = schema.get("$ref")
    if isinstance(reference, str):
        name = reference.rpartition("/")[2]
        if name in opened:
            return len(opened) - opened.index(name)
        return _bare(definitions.get(name, {}), definitions, [*opened, name])
    return {
        key: {name: _bare(one, definitions, opened) for name, one in value.items()}
        if key == "properties"
        else sorted(value)
        if key == "required"
        else _bare(value, definitions, opened)
        for key, value in schema.items()
        if key not in _TOLD_BESIDE and key != "discriminator"
    }
