"""Values of tasks in and out of protobuf messages, by the types of :mod:`pillion.authoring.types`."""

from __future__ import annotations

import datetime as dt
import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from google.protobuf import struct_pb2
from google.protobuf.message import DecodeError
from pydantic import ValidationError

from pillion.authoring.types import AnyValue, ArrayOf, Kind, ListOf, MapOf, Nothing, OptionalOf, Record, Scalar
from pillion.errors import ErrorCode, PillionError
from pillion.protocol.task_json import invalid_arguments

if TYPE_CHECKING:
    from pillion.authoring.signature import TaskSignature
    from pillion.authoring.types import ValueType
    from pillion.protocol.task_schema import TaskMethod

__all__ = ["decode_request", "encode_response"]

_LARGEST_EXACT: Final = 2**53


def decode_request(method: TaskMethod, signature: TaskSignature, body: bytes) -> dict[str, Any]:
    """The arguments that a request gives; those left out keep the defaults of the signature.

    Raises:
        PillionError: ``INVALID_ARGUMENT``, with the path of each field.
    """
    try:
        message = method.request.FromString(body)
    except DecodeError as error:
        raise PillionError(ErrorCode.INVALID_ARGUMENT, f"the message is no {method.name} request: {error}") from None
    given: dict[str, Any] = {}
    try:
        for parameter in signature.parameters:
            if _present(message, parameter.name, parameter.type, required=parameter.required):
                given[parameter.name] = _field(message, parameter.name, parameter.type)
        return signature.arguments.validate_python(given)
    except ValidationError as error:
        raise invalid_arguments(error, signature) from None


def encode_response(method: TaskMethod, signature: TaskSignature, value: Any) -> bytes:  # noqa: ANN401 - plain data
    """A plain value as the response.

    Raises:
        PillionError: ``MODEL_FAILED``: a number that does not fit.
    """
    message = method.response()
    try:
        _set(message, "result", signature.returns, value)
    except (ValueError, TypeError) as error:
        raise PillionError(ErrorCode.MODEL_FAILED, f"the result does not fit into the message: {error}") from None
    return message.SerializeToString()


# --- reading


def _present(message: Any, name: str, declared: ValueType, *, required: bool) -> bool:  # noqa: ANN401 - a message
    """Whether a field was sent. An empty list or map looks as if it was not: it counts as sent where it has to be."""
    if isinstance(declared, ListOf | MapOf):
        return required or bool(getattr(message, name))
    return bool(message.HasField(name))


def _field(message: Any, name: str, declared: ValueType) -> Any:  # noqa: ANN401 - as above
    value = getattr(message, name)
    match declared:
        case ListOf(item):
            return [_one(inner, item) for inner in value]
        case MapOf(item):
            return {key: _one(value[key], item) for key in value}
        case OptionalOf(item) if not isinstance(item, ListOf | MapOf | OptionalOf):
            return _one(value, item)
        case _:
            return _one(value, declared)


def _one(value: Any, declared: ValueType) -> Any:  # noqa: ANN401 - a field of whatever type
    match declared:
        case Scalar(Kind.TIMESTAMP):
            return value.ToDatetime(dt.UTC)
        case Scalar():
            return value
        case AnyValue() | Nothing():
            return _from_value(value)
        case ArrayOf():
            return _from_array(value)
        case Record(fields=fields):
            return {
                field.key: _field(value, field.name, field.type)
                for field in fields
                if not field.computed and _present(value, field.name, field.type, required=field.required)
            }
        case OptionalOf(item):
            # The wrapper is there, so a list in it is one, if an empty one.
            return _field(value, "value", item) if _present(value, "value", item, required=True) else None
        case ListOf() | MapOf():
            return _field(value, "value", declared)


def _from_value(value: struct_pb2.Value) -> Any:  # noqa: ANN401 - JSON
    match value.WhichOneof("kind"):
        case "number_value":
            number = value.number_value
            return int(number) if number.is_integer() and abs(number) <= _LARGEST_EXACT else number
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case "list_value":
            return [_from_value(inner) for inner in value.list_value.values]
        case "struct_value":
            return {key: _from_value(inner) for key, inner in value.struct_value.fields.items()}
        case _:
            return None


def _from_array(value: Any) -> np.ndarray[Any, np.dtype[Any]]:  # noqa: ANN401 - one of the array messages
    """An array of ``data`` or ``values``.

    Raises:
        PillionError: ``INVALID_ARGUMENT``.
    """
    shape = tuple(value.shape)
    try:
        if not value.data:
            array = np.array(value.values)
            if value.dtype:
                array = array.astype(value.dtype)
            elif all(number.is_integer() for number in value.values):
                array = array.astype(np.int64)
            return array.reshape(shape or (len(value.values),))
        dtype = np.dtype(value.dtype or "float32").newbyteorder("<")
        array = np.frombuffer(value.data, dtype)
        return array.reshape(shape or (array.size,)).astype(dtype.newbyteorder("="))
    except (TypeError, ValueError) as error:  # object dtypes among them: numpy refuses to make one of bytes
        raise PillionError(ErrorCode.INVALID_ARGUMENT, f"an Array cannot be read: {error}") from None


# --- writing


def _set(message: Any, name: str, declared: ValueType, value: Any) -> None:  # noqa: ANN401 - as above
    if value is None:
        return
    match declared:
        case OptionalOf(item) if not isinstance(item, ListOf | MapOf | OptionalOf):
            _set(message, name, item, value)
        case ListOf(item):
            target = getattr(message, name)
            if isinstance(item, Scalar) and item.kind is not Kind.TIMESTAMP:
                target.extend(value)
            else:
                for inner in value:
                    _write(target.add(), item, inner)
        case MapOf(item):
            target = getattr(message, name)
            for key, inner in value.items():
                if isinstance(item, Scalar) and item.kind is not Kind.TIMESTAMP:
                    target[key] = inner
                else:
                    _write(target[key], item, inner)
        case Scalar(kind) if kind is not Kind.TIMESTAMP:
            setattr(message, name, value)
        case _:
            target = getattr(message, name)
            target.SetInParent()
            _write(target, declared, value)


def _write(target: Any, declared: ValueType, value: Any) -> None:  # noqa: ANN401 - a message, and plain data
    """Fill the message that stands for one value."""
    match declared:
        case Scalar():
            target.FromDatetime(value)
        case AnyValue() | Nothing():
            _to_value(target, value)
        case ArrayOf():
            target.dtype = value.dtype.name
            target.shape.extend(value.shape)
            target.data = np.ascontiguousarray(value, value.dtype.newbyteorder("<")).tobytes()
        case Record(fields=fields):
            for field in fields:
                if field.out_key in value:
                    _set(target, field.name, field.type, value[field.out_key])
        case OptionalOf(item):
            _set(target, "value", item, value)
        case ListOf() | MapOf():
            _set(target, "value", declared, value)


def _to_value(target: struct_pb2.Value, value: Any) -> None:  # noqa: ANN401 - JSON
    match value:
        case None:
            target.null_value = struct_pb2.NULL_VALUE
        case bool():
            target.bool_value = value
        case int() | float():
            if not math.isfinite(value):
                raise ValueError(f"{value} is no JSON number")
            target.number_value = value
        case str():
            target.string_value = value
        case dict():
            target.struct_value.SetInParent()
            for key, inner in value.items():
                _to_value(target.struct_value.fields[key], inner)
        case list():
            target.list_value.SetInParent()
            for inner in value:
                _to_value(target.list_value.values.add(), inner)
        case _:
            raise TypeError(f"{type(value).__name__} is no JSON value")
