"""Jobs and trainings as messages with types: what is kept is the JSON that every transport hands in and gives."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
from typing import TYPE_CHECKING, Any

from pillion.authoring.arrays import to_array
from pillion.authoring.file import File
from pillion.authoring.files import received
from pillion.authoring.unions import Chosen
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
from pillion.json_values import json_document
from pillion.protocol.task_file import filename_in
from pillion.protocol.task_json import encode_document
from pillion.protocol.task_message import given_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.message import Message

    from pillion.authoring.signature import TaskSignature
    from pillion.authoring.training import TrainSignature
    from pillion.authoring.values import ValueType

__all__ = ["file_value", "job_envelope", "json_value", "training_document"]


def job_envelope(message: Message, contract: TaskSignature, model: str) -> bytes:
    """The body of ``POST /api/v1/task/{task}/job`` that says the same as the message of the direct call.

    Raises:
        PillionError: ``INVALID_ARGUMENT``: JSON cannot carry it.
    """
    # A map has another order in each process: sorted, a request that comes again is known again by its key.
    return encode_document({"model_id": model, "parameters": given_in(message, contract.parameters)})


def training_document(message: Any, signature: TrainSignature) -> dict[str, Any]:  # noqa: ANN401 - a message made at run time
    """The body of ``POST /api/v1/{Task}{Class}Train`` that says the same as the message.

    Raises:
        PillionError: ``INVALID_ARGUMENT``: data come twice, or JSON cannot carry them.
    """
    sent = message.parameters
    parameters = given_in(sent, signature.plain)
    for one in signature.data:
        if sent.HasField(one.name):
            parameters[one.name] = _data(getattr(sent, one.name), one.name, one.item)
    kept = json_document(encode_document(parameters))
    document: dict[str, Any] = {"model_name": message.model_name, "parameters": kept}
    document |= {"output_path": message.output_path} if message.output_path else {}
    return document | ({"deploy": True} if message.deploy else {})


def _data(sent: Any, name: str, item: ValueType) -> Any:  # noqa: ANN401 - as above
    items = given_in(sent, [_Items(item)]).get("items")
    if not sent.HasField("uri"):
        return items or []
    if items:
        raise PillionError(
            ErrorCode.INVALID_ARGUMENT,
            f"parameters.{name}: it has items and a uri; give one of them",
            field=f"parameters.{name}",
        )
    return {"uri": sent.uri}


class _Items:
    """How the items of data are declared."""

    name = "items"
    required = False

    def __init__(self, item: ValueType) -> None:
        self.type: ValueType = ListOf(item)


def file_value(content: bytes, media_type: str, headers: Mapping[str, str]) -> File | None:
    """The file that a job gave; None where it gave JSON."""
    disposition = headers.get("content-disposition")
    return None if disposition is None else File(content, filename=filename_in(disposition), media_type=media_type)


def json_value(value: Any, declared: ValueType) -> Any:  # noqa: ANN401 - JSON in, plain data out
    """The plain value that was written as this JSON (see :func:`pillion.authoring.results.plain`).

    Of a union without a tag JSON does not say which member it was: the first that fits is taken.

    Raises:
        ValueError: it is of another type.
    """
    match declared:
        case Scalar():
            return _scalar(value, declared)
        case AnyValue():
            return value
        case Nothing() if value is None:
            return None
        case ArrayOf(dtype):
            return to_array(value, dtype)
        case FileOf() if isinstance(value, dict):
            return received(value)
        case OptionalOf(item):
            return None if value is None else json_value(value, item)
        case ListOf(item) if isinstance(value, list):
            return [json_value(one, item) for one in value]
        case TupleOf(items) if isinstance(value, list):
            return [json_value(one, item) for one, item in zip(value, items, strict=True)]
        case MapOf(item) if isinstance(value, dict):
            return {key: json_value(one, item) for key, one in value.items()}
        case Record() if isinstance(value, dict):
            return _record(value, declared)
        case UnionOf():
            return _member(value, declared)
        case _:
            raise _wrong(value)


def _scalar(value: Any, declared: Scalar) -> Any:  # noqa: ANN401 - as above
    if declared.choices and value not in declared.choices:
        raise _wrong(value)
    match declared.kind:
        case Kind.BYTES if isinstance(value, str):
            try:
                return base64.b64decode(value, validate=True)
            except binascii.Error:
                raise _wrong(value) from None
        case Kind.TIMESTAMP if isinstance(value, str):
            return dt.datetime.fromisoformat(value)
        case Kind.NUMBER if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        case (Kind.STRING | Kind.INTEGER | Kind.BOOLEAN) as kind if type(value) is _PYTHON[kind]:
            return value
        case _:
            raise _wrong(value)


_PYTHON: dict[Kind, type[Any]] = {Kind.STRING: str, Kind.INTEGER: int, Kind.BOOLEAN: bool}


def _record(value: dict[str, Any], declared: Record) -> dict[str, Any]:
    fields = {field.out_key: field for field in declared.fields}
    if value.keys() - fields.keys() or any(one.required and key not in value for key, one in fields.items()):
        raise _wrong(value)
    return {key: json_value(one, fields[key].type) for key, one in value.items()}


def _member(value: Any, declared: UnionOf) -> Chosen:  # noqa: ANN401 - as above
    told = value.get(declared.tag) if declared.tag is not None and isinstance(value, dict) else None
    for index, member in enumerate(declared.members):
        if declared.tag is not None and told not in member.tags:
            continue
        try:
            return Chosen(index, json_value(value, member.type))
        except ValueError:
            continue
    raise _wrong(value)


def _wrong(value: object) -> ValueError:
    return ValueError(f"{str(value)[:60]!r} is of another type than the task gives")
