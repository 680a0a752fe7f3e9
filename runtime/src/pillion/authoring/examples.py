"""Small values of each type, for documentation and for a first call."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from pillion.authoring.values import (
    AnyValue,
    ArrayOf,
    FileOf,
    ListOf,
    MapOf,
    OptionalOf,
    Record,
    Scalar,
    TupleOf,
    UnionOf,
)

if TYPE_CHECKING:
    from pillion.authoring.values import ValueType

__all__ = ["example"]

_DEEPEST: Final = 3


def example(declared: ValueType, depth: int = 0) -> Any:  # noqa: ANN401 - a plain value
    """A small JSON value of the type."""
    match declared:
        case Scalar(example=shown):
            return shown.value if isinstance(shown, Enum) else shown
        case OptionalOf(item):
            return example(item, depth)
        case UnionOf(members, tag):
            first = example(members[0].type, depth)
            return first if tag is None else {tag: members[0].tags[0]} | first
        case ArrayOf(dtype):
            return [[True]] if dtype is not None and dtype.kind == "b" else [[0]]
        case FileOf():
            return "aGVsbG8="
        case AnyValue():
            return "any"
        case _:
            return _nested(declared, depth)


def _nested(declared: ValueType, depth: int) -> Any:  # noqa: ANN401 - as above
    deep = depth >= _DEEPEST
    match declared:
        case ListOf(item):
            return [] if deep else [example(item, depth + 1)]
        case TupleOf(items):
            return [example(item, depth + 1) for item in items]
        case MapOf(item):
            return {} if deep else {"key": example(item, depth + 1)}
        case Record(fields=fields):
            return {} if deep else {f.key: example(f.type, depth + 1) for f in fields if f.required}
        case _:
            return None
