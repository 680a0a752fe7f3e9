"""Numbers of a ``google.protobuf.Struct``, which are doubles whatever their sender had: a whole number of 2^53 or more
may be another one by the time it is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pillion.authoring.values import Kind, ListOf, MapOf, OptionalOf, Record, Scalar, TupleOf, UnionOf
from pillion.errors import ErrorCode, PillionError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pillion.authoring.values import ValueType

__all__ = ["check_exact"]

_FIRST_ROUNDED: Final = 2**53
"""2^53 itself is what 2^53 + 1 becomes."""


def check_exact(value: Any, declared: ValueType, place: str, remedy: str) -> None:  # noqa: ANN401 - any JSON
    """Look for whole numbers that may have been rounded, where whole ones are declared. What is of another form than
    declared is for validation to tell.

    Raises:
        PillionError: ``INVALID_ARGUMENT``, with the place.
    """
    if _whole(declared) and isinstance(value, int | float) and abs(value) >= _FIRST_ROUNDED:
        raise PillionError(
            ErrorCode.INVALID_ARGUMENT,
            f"{place}: {value:.0f} may have been another number: a Struct holds whole ones below 2^53",
            field=place,
            remedy=remedy,
        )
    for one, item, where in _parts(value, declared, place):
        check_exact(one, item, where, remedy)


def _whole(declared: ValueType) -> bool:
    """Whether whole numbers are declared, and no others."""
    match declared:
        case Scalar(kind):
            return kind is Kind.INTEGER
        case OptionalOf(item):
            return _whole(item)
        case UnionOf(members):
            kinds = {member.type.kind for member in members if isinstance(member.type, Scalar)}
            return Kind.INTEGER in kinds and Kind.NUMBER not in kinds
        case _:
            return False


def _parts(value: Any, declared: ValueType, place: str) -> Iterator[tuple[Any, ValueType, str]]:  # noqa: ANN401 - as above
    """What it is made of, with what each is declared as and its place. Which member of a union it is is not known."""
    match declared:
        case OptionalOf(item):
            yield from _parts(value, item, place)
        case ListOf(item) if isinstance(value, list):
            yield from ((one, item, f"{place}[{index}]") for index, one in enumerate(value))
        case TupleOf(items) if isinstance(value, list):
            pairs = zip(value, items, strict=False)
            yield from ((one, item, f"{place}[{index}]") for index, (one, item) in enumerate(pairs))
        case MapOf(item) if isinstance(value, dict):
            yield from ((one, item, f"{place}.{key}") for key, one in value.items())
        case Record() if isinstance(value, dict):
            fields = (field for field in declared.fields if field.key in value)
            yield from ((value[field.key], field.type, f"{place}.{field.key}") for field in fields)
