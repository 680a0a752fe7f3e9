"""Unions: what their members are called, by which field records tell themselves apart, and which a result is of."""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
import typing
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Literal, get_args, get_origin

import numpy as np
from pydantic import BaseModel, RootModel
from pydantic.fields import FieldInfo
from typing_extensions import is_typeddict

from pillion.authoring.errors import ResultError
from pillion.authoring.values import (
    AnyValue,
    ArrayOf,
    Kind,
    ListOf,
    MapOf,
    Nothing,
    OptionalOf,
    Record,
    Scalar,
    TupleOf,
    UnionMember,
    UnionOf,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pillion.authoring.values import ValueType

__all__ = ["Chosen", "choice_values", "discriminator_in", "rooted", "union_maker", "union_of"]

_Tags = dict[str, tuple[str | int, ...]]
_SHAPES: Final[dict[type[Any], str]] = {
    AnyValue: "any", ArrayOf: "array", ListOf: "list", MapOf: "map", Nothing: "none", OptionalOf: "optional",
    TupleOf: "tuple", UnionOf: "union",
}  # fmt: skip


def choice_values(values: Iterable[Any]) -> tuple[Any, ...]:
    """What stands for the values of an enum or a ``Literal`` in a request."""
    plain = [value.value if isinstance(value, Enum) else value for value in values]
    return tuple(str.__str__(value) if isinstance(value, str) else value for value in plain)


def discriminator_in(metadata: Sequence[Any]) -> str | None:
    """The field that ``Field(discriminator=...)`` names."""
    for one in metadata:
        if isinstance(one, FieldInfo) and isinstance(one.discriminator, str):
            return one.discriminator
    return None


def union_of(members: Sequence[tuple[ValueType, Any]], named: str | None) -> UnionOf:
    """The union of these types, each with its annotation.

    Args:
        members: in the order of their declaration.
        named: the discriminator that the author named; else one is looked for.
    """
    names: set[str] = set()
    tag = named
    tags: list[_Tags] = [_tags(described) for described, _ in members]
    if tag is None:
        tag = next((key for key in tags[0] if _tells_apart([own.get(key, ()) for own in tags])), None)
    elif not all(tag in own for own in tags):  # by an alias, say, which pydantic knows about
        tag = None
    made = []
    for (described, annotation), own in zip(members, tags, strict=True):
        base = name = _name(described, annotation)
        number = 2
        while name in names:
            name, number = f"{base}{number}", number + 1
        names.add(name)
        made.append(UnionMember(name, described, own[tag] if tag is not None else ()))
    return UnionOf(tuple(made), tag)


def _tells_apart(values: Sequence[tuple[str | int, ...]]) -> bool:
    every = [value for own in values for value in own]
    return all(values) and len(set(every)) == len(every)


def _name(described: ValueType, annotation: Any) -> str:  # noqa: ANN401 - annotations are any object
    if isinstance(described, Record):
        name = described.name
    elif isinstance(described, Scalar):
        name = described.kind.value
        if described.adapter is not None:
            name = "choice" if get_origin(annotation) is Literal else getattr(annotation, "__name__", name)
    else:
        name = _SHAPES[type(described)]
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"\W+", "_", words).strip("_").lower() or "value"


def _tags(described: ValueType) -> _Tags:
    """Fields of a record that are ``Literal``, with their values. By the class: the record may still be being read."""
    if not isinstance(described, Record):
        return {}
    cls = described.python
    hints: Mapping[str, Any]
    if issubclass(cls, BaseModel):
        hints = {name: info.annotation for name, info in cls.model_fields.items() if info.alias is None}
    elif dataclasses.is_dataclass(cls) or is_typeddict(cls):
        hints = typing.get_type_hints(cls)
    else:
        return {}
    found: _Tags = {}
    for name, hint in hints.items():
        if get_origin(hint) is Literal:
            values = choice_values(get_args(hint))
            if all(isinstance(value, str | int) for value in values):
                found[name] = values
    return found


class Chosen:
    """A plain value of a union, with the number of the member that it is of."""

    __slots__ = ("member", "value")

    def __init__(self, member: int, value: Any) -> None:  # noqa: ANN401 - plain data
        self.member = member
        self.value = value


def rooted(value: Any) -> Any:  # noqa: ANN401 - what a method returned
    """What a model of pydantic stands for that is declared as its root; every other value as it is."""
    while isinstance(value, RootModel):
        value = value.root
    return value


def union_maker(declared: UnionOf, makers: Sequence[Callable[[Any], Any]]) -> Callable[[Any], Chosen]:
    """What makes values of a union plain (see :func:`pillion.authoring.results.maker`), by its members' makers."""
    tag, members = declared.tag, declared.members
    by_tag = {value: index for index, member in enumerate(members) for value in member.tags}

    def make_tagged(value: Any) -> Chosen:  # noqa: ANN401 - what a method returned
        value = rooted(value)
        told = value.get(tag) if isinstance(value, dict) else getattr(value, tag or "", None)
        told = told.value if isinstance(told, Enum) else told
        index = by_tag.get(told) if isinstance(told, str | int) else None
        if index is not None:
            return Chosen(index, makers[index](value))
        known = ", ".join(map(repr, by_tag))
        if told is None:
            raise ResultError(f"is {type(value).__name__}, and something with {tag} {known} is declared")
        raise ResultError(f"is {told!r}, and one of {known} is declared", f".{tag}")

    def make(value: Any) -> Chosen:  # noqa: ANN401 - what a method returned
        value = rooted(value)
        exact = [index for index, member in enumerate(members) if _is_of(value, member.type)]
        failures = []
        for index in (*exact, *(index for index in range(len(members)) if index not in exact)):
            try:
                return Chosen(index, makers[index](value))
            except ResultError as error:
                failures.append(error)
        if len(exact) == 1:
            raise failures[0]
        named = ", ".join(member.name for member in members)
        raise ResultError(f"is {type(value).__name__}, and one of {named} is declared")

    return make if tag is None else make_tagged


_PYTHON: Final[dict[Kind, type[Any]]] = {
    Kind.STRING: str, Kind.INTEGER: int, Kind.NUMBER: float, Kind.BOOLEAN: bool, Kind.BYTES: bytes,
    Kind.TIMESTAMP: dt.datetime,
}  # fmt: skip
_CLASSES: Final[dict[type[Any], tuple[type[Any], ...]]] = {
    ArrayOf: (np.ndarray,), ListOf: (list, set, frozenset), TupleOf: (tuple,), MapOf: (dict,), Nothing: (type(None),)
}  # fmt: skip


def _is_of(value: Any, declared: ValueType) -> bool:  # noqa: ANN401 - what a method returned
    """Whether a value looks as if it was meant to be of this member of a union."""
    if isinstance(declared, Scalar):
        if declared.choices:
            return (value.value if isinstance(value, Enum) else value) in declared.choices
        plain = value.item() if isinstance(value, np.generic) else value
        return declared.adapter is None and type(plain) is _PYTHON[declared.kind]
    if isinstance(declared, Record):
        return type(value) is declared.python
    return isinstance(value, _CLASSES.get(type(declared), ()))
