"""Values of tasks in and out of protobuf messages, by the types of :mod:`pillion.authoring.values`."""

from __future__ import annotations

import datetime as dt
import math
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
from google.protobuf import struct_pb2
from google.protobuf.message import DecodeError
from pydantic import ValidationError

from pillion.authoring.file import File
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
from pillion.errors import ErrorCode, PillionError
from pillion.protocol.task_json import invalid_arguments

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.protobuf.message import Message

    from pillion.authoring.signature import Incoming, TaskSignature
    from pillion.authoring.values import UnionMember, ValueType
    from pillion.protocol.task_schema import TaskMethod

__all__ = ["Declared", "decode_item", "decode_request", "encode_response", "from_value", "given_in", "response_of"]


class Declared(Protocol):
    """A parameter, of a task or of a training."""

    @property
    def name(self) -> str:
        """Of the field, too."""
        ...

    @property
    def type(self) -> ValueType:
        """What it holds."""
        ...

    @property
    def required(self) -> bool:
        """Whether it has no default."""
        ...


_LARGEST_EXACT: Final = 2**53


def decode_request(
    method: TaskMethod, signature: TaskSignature, body: bytes, contract: TaskSignature | None = None
) -> dict[str, Any]:
    """The arguments that a request gives; those left out keep the defaults of the signature.

    ``contract`` is the signature that the method's messages were made of, where it is that of another class.

    Raises:
        PillionError: ``INVALID_ARGUMENT``, with the path of each field.
    """
    message = _parsed(method, body)
    try:
        return signature.arguments.validate_python(given_in(message, (contract or signature).parameters))
    except ValidationError as error:
        raise invalid_arguments(error, signature) from None


def decode_item(
    method: TaskMethod,
    incoming: Incoming,
    body: bytes,
    signature: TaskSignature,
    *,
    first: bool,
    contract: TaskSignature | None = None,
) -> tuple[Any, bool]:
    """The item of a client's stream that a message holds, and whether it holds one: a first message need not.

    Raises:
        PillionError: ``INVALID_ARGUMENT``, with the path of each field.
    """
    message = _parsed(method, body)
    name = incoming.name
    written = incoming if contract is None or contract.incoming is None else contract.incoming
    if not _present(message, name, written.type, required=not first):
        if first:
            return None, False
        given = {}
    else:
        given = {name: _field(message, name, written.type)}
    try:
        return incoming.item.validate_python(given)[name], True
    except ValidationError as error:
        raise invalid_arguments(error, signature) from None


def _parsed(method: TaskMethod, body: bytes) -> Any:  # noqa: ANN401 - a message made at run time
    try:
        return method.request.FromString(body)
    except DecodeError as error:
        raise PillionError(ErrorCode.INVALID_ARGUMENT, f"the message is no {method.name} request: {error}") from None


def encode_response(method: TaskMethod, signature: TaskSignature, value: Any) -> bytes:  # noqa: ANN401 - plain data
    """A plain value as the response.

    Raises:
        PillionError: ``MODEL_FAILED``: a number that does not fit.
    """
    return response_of(method, signature, value).SerializeToString()


def response_of(method: TaskMethod, signature: TaskSignature, value: Any) -> Message:  # noqa: ANN401 - plain data
    """The same, as a message."""
    message = method.response()
    try:
        _set(message, "result", signature.returns, value)
    except (ValueError, TypeError) as error:
        raise PillionError(ErrorCode.MODEL_FAILED, f"the result does not fit into the message: {error}") from None
    return message


# --- reading


def given_in(message: Any, parameters: Iterable[Declared]) -> dict[str, Any]:  # noqa: ANN401 - a message made at run time
    """The values that were sent, by the names of the parameters; those left out are not there."""
    return {
        one.name: _field(message, one.name, one.type)
        for one in parameters
        if _present(message, one.name, one.type, required=one.required)
    }


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
            return from_value(value)
        case ArrayOf():
            return _from_array(value)
        case FileOf():
            return File(value.data, filename=value.filename or None, media_type=value.media_type or None)
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
        case TupleOf(items):
            present = [
                _field(value, f"item{number}", item) if _present(value, f"item{number}", item, required=True) else None
                for number, item in enumerate(items, 1)
            ]
            return tuple(present)
        case UnionOf():
            return _from_union(value, declared)


def _from_union(value: Any, declared: UnionOf) -> Any:  # noqa: ANN401 - as above
    """What was sent of a union.

    Raises:
        PillionError: ``INVALID_ARGUMENT``: it is said to be one member, and says of itself that it is another.
    """
    sent = value.WhichOneof("kind")
    member = next((one for one in declared.members if one.name == sent), None)
    if member is None:
        return None
    given = _one(getattr(value, member.name), member.type)
    if declared.tag is not None and given.setdefault(declared.tag, member.tags[0]) not in member.tags:
        raise PillionError(
            ErrorCode.INVALID_ARGUMENT,
            f"{member.name}.{declared.tag}: {given[declared.tag]!r} does not mean {member.name}; leave it out",
            field=f"{member.name}.{declared.tag}",
        )
    return given


def from_value(value: struct_pb2.Value) -> Any:  # noqa: ANN401 - JSON
    """What a ``Value`` says; numbers without a fraction are whole ones."""
    match value.WhichOneof("kind"):
        case "number_value":
            number = value.number_value
            return int(number) if number.is_integer() and abs(number) <= _LARGEST_EXACT else number
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case "list_value":
            return [from_value(inner) for inner in value.list_value.values]
        case "struct_value":
            return {key: from_value(inner) for key, inner in value.struct_value.fields.items()}
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
        case FileOf():
            target.data, target.filename, target.media_type = value.read(), value.filename or "", value.media_type
        case ArrayOf():
            target.dtype = value.dtype.name
            target.shape.extend(value.shape)
            target.data = np.ascontiguousarray(value, value.dtype.newbyteorder("<")).tobytes()
        case Record(fields=fields):
            for field in fields:
                if field.out_key in value:
                    _set(target, field.name, field.type, value[field.out_key])
        case OptionalOf() | ListOf() | MapOf():
            _set(target, "value", declared.item if isinstance(declared, OptionalOf) else declared, value)
        case TupleOf(items):
            for number, (item, inner) in enumerate(zip(items, value, strict=True), 1):
                _set(target, f"item{number}", item, inner)
        case UnionOf(members):
            _write_member(target, members[value.member], value.value)


def _write_member(target: Any, member: UnionMember, value: Any) -> None:  # noqa: ANN401 - as above
    """Fill the ``oneof`` of a union."""
    if isinstance(member.type, Scalar) and member.type.kind is not Kind.TIMESTAMP:
        setattr(target, member.name, value)
        return
    inner = getattr(target, member.name)
    inner.SetInParent()
    _write(inner, member.type, value)


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
