"""What a method returned, checked against its declaration and made plain: text, numbers, lists, dicts, arrays.

Plain values are what every protocol encodes. numpy's scalars, dataclasses and models are what people return, and end
here, in the thread that ran the method.
"""

from __future__ import annotations

import datetime as dt
import math
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from pydantic import BaseModel, RootModel
from pydantic_core import PydanticSerializationError, to_jsonable_python

from pillion.authoring.errors import ResultError
from pillion.authoring.types import AnyValue, ArrayOf, Kind, ListOf, MapOf, Nothing, OptionalOf, Record, Scalar

if TYPE_CHECKING:
    from collections.abc import Callable

    from pillion.authoring.types import ValueType

__all__ = ["example", "plain"]

_MISSING: Final = object()


def plain(value: Any, declared: ValueType, path: str) -> Any:  # noqa: ANN401 - any value in, a plain one out
    """The value as plain data.

    Raises:
        ResultError: it is not of the declared type; the text starts with ``path``.
    """
    match declared:
        case Scalar():
            return _scalar(value, declared, path)
        case OptionalOf(item):
            return None if value is None else plain(value, item, path)
        case ListOf(item):
            return _list(value, item, path)
        case Record():
            return _record(value, declared, path)
        case MapOf(item):
            if not isinstance(value, dict):
                raise _wrong(path, value, "a dict")
            return {_key(key, path): plain(inner, item, f"{path}[{key!r}]") for key, inner in value.items()}
        case ArrayOf(dtype):
            return _array(value, dtype, path)
        case AnyValue():
            return _anything(value, path)
        case Nothing():
            if value is not None:
                raise _wrong(path, value, "None")
            return None


def _scalar(value: Any, declared: Scalar, path: str) -> Any:  # noqa: ANN401 - what a method returned
    if isinstance(value, np.generic):
        value = value.item()
    if declared.adapter is not None:
        if isinstance(value, Enum):
            value = value.value
        elif not isinstance(value, str | int | float):
            value = _anything(value, path)
    return _SCALARS[declared.kind](value, path)


def _text(value: Any, path: str) -> str:  # noqa: ANN401 - what a method returned
    if isinstance(value, str):
        return value if type(value) is str else str.__str__(value)
    raise _wrong(path, value, "a str")


def _integer(value: Any, path: str) -> int:  # noqa: ANN401 - what a method returned
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    raise _wrong(path, value, "an int")


def _number(value: Any, path: str) -> float:  # noqa: ANN401 - what a method returned
    if isinstance(value, float | int) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise ResultError(f"{path} is {value}, which JSON cannot carry")
        return float(value)
    raise _wrong(path, value, "a float")


def _boolean(value: Any, path: str) -> bool:  # noqa: ANN401 - what a method returned
    if isinstance(value, bool):
        return value
    raise _wrong(path, value, "a bool")


def _bytes(value: Any, path: str) -> bytes:  # noqa: ANN401 - what a method returned
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    raise _wrong(path, value, "bytes")


def _timestamp(value: Any, path: str) -> dt.datetime:  # noqa: ANN401 - what a method returned
    if isinstance(value, dt.datetime):
        return value
    raise _wrong(path, value, "a datetime")


_SCALARS: Final[dict[Kind, Callable[[Any, str], Any]]] = {
    Kind.STRING: _text,
    Kind.INTEGER: _integer,
    Kind.NUMBER: _number,
    Kind.BOOLEAN: _boolean,
    Kind.BYTES: _bytes,
    Kind.TIMESTAMP: _timestamp,
}


def _list(value: Any, item: ValueType, path: str) -> list[Any]:  # noqa: ANN401 - what a method returned
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, str | bytes | dict) or not hasattr(value, "__iter__"):
        raise _wrong(path, value, "a list")
    return [plain(inner, item, f"{path}[{index}]") for index, inner in enumerate(value)]


def _record(value: Any, declared: Record, path: str) -> dict[str, Any]:  # noqa: ANN401 - what a method returned
    if isinstance(value, BaseModel):
        value = value.model_dump(by_alias=True)  # what its own serialisers make of it
    elif not isinstance(value, dict):
        if not isinstance(value, declared.python):
            raise _wrong(path, value, declared.name)
        value = {field.out_key: getattr(value, field.name) for field in declared.fields}
    result: dict[str, Any] = {}
    for field in declared.fields:
        inner = value.get(field.out_key, _MISSING)
        if inner is not _MISSING:
            result[field.out_key] = plain(inner, field.type, f"{path}.{field.name}")
        elif field.required:
            raise ResultError(f"{path}.{field.name} is missing")
    unknown = value.keys() - {field.out_key for field in declared.fields}
    if unknown:
        raise ResultError(f"{path} has {min(map(str, unknown))!r}, which {declared.name} does not declare")
    return result


def _array(value: Any, dtype: np.dtype[Any] | None, path: str) -> np.ndarray[Any, np.dtype[Any]]:  # noqa: ANN401 - what a method returned
    try:
        array = np.asarray(value) if dtype is None else np.asarray(value, dtype=dtype)
    except (TypeError, ValueError):
        raise _wrong(path, value, f"an array of {dtype or 'numbers'}") from None
    if array.dtype.kind not in "biuf":
        raise ResultError(f"{path} is an array of {array.dtype}, and arrays hold numbers or booleans")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ResultError(f"{path} is an array that holds NaN or Infinity, which JSON cannot carry")
    return array


def _anything(value: Any, path: str) -> Any:  # noqa: ANN401 - what a method returned
    if isinstance(value, RootModel):
        value = value.root
    try:
        return to_jsonable_python(value, by_alias=True, inf_nan_mode="constants", bytes_mode="base64", fallback=_numpy)
    except (PydanticSerializationError, ValueError) as error:
        raise ResultError(f"{path} cannot be written as JSON: {error}") from None


def _numpy(value: Any) -> Any:  # noqa: ANN401 - what a method returned
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    raise ValueError(f"{type(value).__name__} is no type that JSON knows")


def _key(key: Any, path: str) -> str:  # noqa: ANN401 - what a method returned
    if not isinstance(key, str):
        raise ResultError(f"{path} has the key {key!r}, and keys are text")
    return key


def _wrong(path: str, value: object, expected: str) -> ResultError:
    return ResultError(f"{path} is {type(value).__name__}, and {expected} is declared")


def example(declared: ValueType, depth: int = 0) -> Any:  # noqa: ANN401 - a plain value
    """A small JSON value of the type, for documentation and for a first call."""
    match declared:
        case Scalar():
            shown = declared.example
            return shown.value if isinstance(shown, Enum) else shown
        case OptionalOf(item):
            return example(item, depth)
        case ListOf(item):
            return [example(item, depth + 1)] if depth < 3 else []
        case MapOf(item):
            return {"key": example(item, depth + 1)} if depth < 3 else {}
        case Record():
            if depth >= 3:
                return {}
            return {f.key: example(f.type, depth + 1) for f in declared.fields if f.required}
        case ArrayOf(dtype):
            return [[True]] if dtype is not None and dtype.kind == "b" else [[0]]
        case AnyValue():
            return "any"
        case Nothing():
            return None
