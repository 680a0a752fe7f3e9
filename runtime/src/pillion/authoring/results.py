"""What a method returned, checked against its declaration and made plain: text, numbers, lists, dicts, arrays.

Plain values are what every protocol encodes. numpy's scalars, dataclasses and models are what people return, and end
here, in the thread that ran the method. For each type a function is made once; only when something is wrong does
anybody work out where.
"""

from __future__ import annotations

import datetime as dt
import math
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, to_jsonable_python

from pillion.authoring.encoded import encoded_maker
from pillion.authoring.errors import ResultError
from pillion.authoring.unions import rooted, union_maker
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
    from collections.abc import Callable, Iterable

    from pillion.authoring.values import ValueType

    Maker = Callable[[Any], Any]
    _Made = dict[tuple[int, bool], Maker]

__all__ = ["maker", "plain"]

_MISSING: Final = object()


def plain(value: Any, declared: ValueType, path: str) -> Any:  # noqa: ANN401 - any value in, a plain one out
    """The value as plain data.

    Raises:
        ResultError: it is not of the declared type; the text starts with ``path``.
    """
    try:
        return maker(declared)(value)
    except ResultError as error:
        raise error.below(path) from None


def maker(declared: ValueType, records: _Made | None = None, *, dumped: bool = False) -> Maker:
    """What makes values of a type plain. It raises :class:`ResultError`, whose path begins at the value.

    Args:
        declared: the type.
        records: those of records that have been made, by identity: a record may contain itself.
        dumped: of values that pydantic has taken out of a model, in which types have encoded what they encode.
    """
    records = {} if records is None else records

    def inner(one: ValueType) -> Maker:
        return maker(one, records, dumped=dumped)

    match declared:
        case Scalar():
            return _scalar(declared, dumped=dumped)
        case OptionalOf(item):
            return _optional(inner(item))
        case ListOf(item):
            return _list(inner(item))
        case TupleOf(items):
            return _tuple([inner(item) for item in items])
        case UnionOf(members):
            return union_maker(declared, [inner(member.type) for member in members])
        case Record():
            key = (id(declared), dumped)
            return records[key] if key in records else _record(declared, records, dumped=dumped)
        case MapOf(item):
            return _map(inner(item))
        case ArrayOf(dtype):
            return lambda value: _array(value, dtype)
        case FileOf(write=write):
            return write or _unwritable(declared)
        case AnyValue() | Nothing():
            return _anything if isinstance(declared, AnyValue) else _nothing


def _scalar(declared: Scalar, *, dumped: bool) -> Maker:
    if declared.encoded and declared.adapter is not None:
        return encoded_maker(declared.adapter, dumped=dumped)
    check = _SCALARS[declared.kind]
    exact = _EXACT.get(declared.kind)

    def make(value: Any) -> Any:  # noqa: ANN401 - what a method returned
        if type(value) is exact:
            return value
        return check(_bare(value))

    def make_adapted(value: Any) -> Any:  # noqa: ANN401 - as above
        if isinstance(value, Enum):
            value = value.value
        elif not isinstance(value, str | int | float):
            value = _anything(value)
        return check(value)

    if declared.adapter is not None:
        return make_adapted
    return _float if declared.kind is Kind.NUMBER else make


def _float(value: Any) -> float:  # noqa: ANN401 - what a method returned
    if type(value) is float and value - value == 0.0:  # neither NaN nor infinite
        return value
    return _number(_bare(value))


def _bare(value: Any) -> Any:  # noqa: ANN401 - what a method returned
    return value.item() if isinstance(value, np.generic) else rooted(value)


def _text(value: Any) -> str:  # noqa: ANN401 - what a method returned
    if isinstance(value, str):
        return value if type(value) is str else str.__str__(value)
    raise _wrong(value, "a str")


def _integer(value: Any) -> int:  # noqa: ANN401 - what a method returned
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    raise _wrong(value, "an int")


def _number(value: Any) -> float:  # noqa: ANN401 - what a method returned
    if isinstance(value, float | int) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise ResultError(f"is {value}, which JSON cannot carry")
        return float(value)
    raise _wrong(value, "a float")


def _boolean(value: Any) -> bool:  # noqa: ANN401 - what a method returned
    if isinstance(value, bool):
        return value
    raise _wrong(value, "a bool")


def _bytes(value: Any) -> bytes:  # noqa: ANN401 - what a method returned
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    raise _wrong(value, "bytes")


def _timestamp(value: Any) -> dt.datetime:  # noqa: ANN401 - what a method returned
    if isinstance(value, dt.datetime):
        return value
    raise _wrong(value, "a datetime")


_SCALARS: Final[dict[Kind, Callable[[Any], Any]]] = {
    Kind.STRING: _text,
    Kind.INTEGER: _integer,
    Kind.NUMBER: _number,
    Kind.BOOLEAN: _boolean,
    Kind.BYTES: _bytes,
    Kind.TIMESTAMP: _timestamp,
}
_EXACT: Final[dict[Kind, type[Any]]] = {
    Kind.STRING: str, Kind.INTEGER: int, Kind.BOOLEAN: bool, Kind.BYTES: bytes, Kind.TIMESTAMP: dt.datetime
}  # fmt: skip
"""Types whose values are plain as they are; numbers may be NaN."""


def _optional(inner: Maker) -> Maker:
    def make(value: Any) -> Any:  # noqa: ANN401 - what a method returned
        if value is None:
            return None
        try:
            return inner(value)
        except ResultError:
            if rooted(value) is None:
                return None
            raise

    return make


def _list(inner: Maker) -> Maker:
    def make(value: Any) -> list[Any]:  # noqa: ANN401 - what a method returned
        if type(value) is not list:
            value = _items(value, "a list")
        try:
            return [inner(one) for one in value]
        except ResultError:
            _tell_which(value, [inner] * len(value))
            raise

    return make


def _tuple(inner: list[Maker]) -> Maker:
    def make(value: Any) -> list[Any]:  # noqa: ANN401 - what a method returned
        given = _items(value, f"a tuple of {len(inner)}")
        if len(given) != len(inner):
            raise ResultError(f"holds {len(given)} values, and {len(inner)} are declared")
        try:
            return [one(item) for one, item in zip(inner, given, strict=True)]
        except ResultError:
            _tell_which(given, inner)
            raise

    return make


def _items(value: Any, expected: str) -> list[Any]:  # noqa: ANN401 - what a method returned
    value = rooted(value)
    if isinstance(value, np.ndarray):
        given: list[Any] = value.tolist()
        return given
    if isinstance(value, str | bytes | dict) or not hasattr(value, "__iter__"):
        raise _wrong(value, expected)
    return list(value)


def _tell_which(values: Iterable[Any], makers: list[Maker]) -> None:
    """Raise what is wrong again, with the index."""
    for index, (value, make) in enumerate(zip(values, makers, strict=True)):
        try:
            make(value)
        except ResultError as error:
            raise error.below(f"[{index}]") from None


def _record(declared: Record, records: _Made, *, dumped: bool) -> Maker:
    cls = declared.python
    fields: list[tuple[str, str, Maker, bool]] = []
    known: set[str] = set()
    of_model: list[Callable[[Any], dict[str, Any]]] = []

    def make(value: Any) -> dict[str, Any]:  # noqa: ANN401 - what a method returned
        value = rooted(value)
        if isinstance(value, BaseModel):
            value = value.model_dump(by_alias=True)  # what its own serialisers make of it
            if not dumped:
                return of_model[0](value)
        elif not isinstance(value, dict):
            if not isinstance(value, cls):
                raise _wrong(value, declared.name)
            value = {key: getattr(value, name) for name, key, _, _ in fields}
        result: dict[str, Any] = {}
        for name, key, inner, required in fields:
            one = value.get(key, _MISSING)
            if one is not _MISSING:
                try:
                    result[key] = inner(one)
                except ResultError as error:
                    raise error.below(f".{name}") from None
            elif required:
                raise ResultError("is missing", f".{name}")
        if len(result) != len(value):
            unknown = min(map(str, value.keys() - known))
            raise ResultError(f"has {unknown!r}, which {declared.name} does not declare")
        return result

    records[id(declared), dumped] = make
    fields += [(f.name, f.out_key, maker(f.type, records, dumped=dumped), f.required) for f in declared.fields]
    known |= {f.out_key for f in declared.fields}
    if not dumped:
        of_model.append(maker(declared, records, dumped=True))
    return make


def _map(inner: Maker) -> Maker:
    def make(value: Any) -> dict[str, Any]:  # noqa: ANN401 - what a method returned
        value = rooted(value)
        if not isinstance(value, dict):
            raise _wrong(value, "a dict")
        result: dict[str, Any] = {}
        for key, one in value.items():
            if not isinstance(key, str):
                raise ResultError(f"has the key {key!r}, and keys are text")
            try:
                result[key] = inner(one)
            except ResultError as error:
                raise error.below(f"[{key!r}]") from None
        return result

    return make


def _array(value: Any, dtype: np.dtype[Any] | None) -> np.ndarray[Any, np.dtype[Any]]:  # noqa: ANN401 - what a method returned
    value = rooted(value)
    try:
        array = np.asarray(value) if dtype is None else np.asarray(value, dtype=dtype)
    except (TypeError, ValueError):
        raise _wrong(value, f"an array of {dtype or 'numbers'}") from None
    if array.dtype.kind not in "biuf":
        raise ResultError(f"is an array of {array.dtype}, and arrays hold numbers or booleans")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ResultError("is an array that holds NaN or Infinity, which JSON cannot carry")
    return array


def _anything(value: Any) -> Any:  # noqa: ANN401 - what a method returned
    try:
        return to_jsonable_python(
            rooted(value), by_alias=True, inf_nan_mode="constants", bytes_mode="base64", fallback=_numpy
        )
    except (PydanticSerializationError, ValueError) as error:
        raise ResultError(f"cannot be written as JSON: {error}") from None


def _unwritable(declared: FileOf) -> Maker:
    def make(_: Any) -> Any:  # noqa: ANN401 - what a method returned
        raise ResultError(f"is {declared.name}, which has no to_file")

    return make


def _nothing(value: Any) -> None:  # noqa: ANN401 - what a method returned
    if rooted(value) is not None:
        raise _wrong(value, "None")


def _numpy(value: Any) -> Any:  # noqa: ANN401 - what a method returned
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    raise ValueError(f"{type(value).__name__} is no type that JSON knows")


def _wrong(value: object, expected: str) -> ResultError:
    return ResultError(f"is {type(value).__name__}, and {expected} is declared")
