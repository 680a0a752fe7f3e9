"""The bodies of MLflow's scoring protocol, rewritten as V1: the two share ``instances``, ``inputs`` and the answer.

Source: MLflow, "Deploy MLflow Model as a Local Inference Server", accepted formats of ``/invocations``. Forms:

* ``{"dataframe_split": {"columns": [...], "data": [[...], ...]}}``: rows, and the names of their columns in any order.
* ``{"dataframe_records": [{...}, ...]}``: rows as objects.
* ``{"instances": ...}``, ``{"inputs": ...}``: as in V1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from pillion.errors import ErrorCode, PillionError
from pillion.protocol.json_errors import decode_json
from pillion.protocol.v1 import decode_v1
from pillion.protocol.v1_table import columns_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pillion.dataplane.call import InferRequest, ModelMetadata
    from pillion.protocol.limits import CodecLimits

__all__ = ["decode_invocation"]


class _Split(msgspec.Struct):
    data: list[list[msgspec.Raw]]
    columns: list[str] | None = None


class _Body(msgspec.Struct):
    dataframe_split: _Split | None = None
    dataframe_records: list[dict[str, msgspec.Raw]] | None = None
    instances: msgspec.Raw = msgspec.Raw()
    inputs: msgspec.Raw = msgspec.Raw()
    params: dict[str, Any] | None = None


_BODY: Final = msgspec.json.Decoder(_Body)
_FORMS: Final = ("dataframe_split", "dataframe_records", "instances", "inputs")


def decode_invocation(
    body: bytes | memoryview, *, model: str, metadata: ModelMetadata, limits: CodecLimits | None = None
) -> InferRequest:
    """One request for the model described by ``metadata``.

    Raises:
        PillionError: ``INVALID_ARGUMENT`` naming the field, such as ``dataframe_split.data[3]``.
    """
    document = decode_json(_BODY.decode, body)
    given = [form for form in _FORMS if _is_given(getattr(document, form))]
    if len(given) != 1:
        found = f"has {' and '.join(given)}" if given else "has none of them"
        raise _invalid(
            f"the body needs exactly one of {', '.join(_FORMS)}, and {found}", given[-1] if given else "body"
        )
    if document.params:
        raise _invalid("params: the model takes no parameters", "params", "leave them out")
    if document.dataframe_split is not None:
        place, rows = "dataframe_split.data", _split(document.dataframe_split, metadata)
    elif document.dataframe_records is not None:
        place, rows = "dataframe_records", _records(document.dataframe_records, metadata)
    else:
        return decode_v1(body, model=model, metadata=metadata, limits=limits)
    try:
        return decode_v1(b'{"instances":%b}' % rows, model=model, metadata=metadata, limits=limits)
    except PillionError as error:
        raise _elsewhere(error, place) from error


def _is_given(part: object) -> bool:
    return bool(bytes(part)) if isinstance(part, msgspec.Raw) else part is not None


def _split(split: _Split, metadata: ModelMetadata) -> bytes:
    """Rows as objects where the model's input is a table with names, else as they are."""
    columns = split.columns
    if columns is None:
        return _list(map(_list, split.data))
    if len(set(columns)) != len(columns):
        raise _invalid("dataframe_split.columns: a name stands twice", "dataframe_split.columns")
    for index, row in enumerate(split.data):
        if len(row) != len(columns):
            place = f"dataframe_split.data[{index}]"
            raise _invalid(f"{place}: {len(row)} values for {len(columns)} columns", place)
    if not columns_of(metadata):
        return _list(map(_list, split.data))
    keys = [msgspec.json.encode(name) for name in columns]
    return _list(b"{%b}" % b",".join(b"%b:%b" % pair for pair in zip(keys, row, strict=True)) for row in split.data)


def _records(records: list[dict[str, msgspec.Raw]], metadata: ModelMetadata) -> bytes:
    """The same; without names in the model, values count in the order of the first row's keys, as in a data frame."""
    if columns_of(metadata) or len(metadata.inputs) > 1 or not records:
        return msgspec.json.encode(records)
    names = list(records[0])
    for index, record in enumerate(records):
        if record.keys() != records[0].keys():
            difference = ", ".join(sorted(record.keys() ^ records[0].keys()))
            place = f"dataframe_records[{index}]"
            raise _invalid(f"{place}: has not the keys of the first row: {difference}", place)
    return _list(_list([record[name] for name in names]) for record in records)


def _list(parts: Iterable[bytes | msgspec.Raw]) -> bytes:
    return b"[%b]" % b",".join(map(bytes, parts))


def _elsewhere(error: PillionError, place: str) -> PillionError:
    """The error with its field named as the caller wrote it."""
    message = error.message.replace("instances", place)
    field = None if error.field is None else error.field.replace("instances", place)
    return PillionError(error.code, message, field=field, remedy=error.remedy)


def _invalid(message: str, field: str, remedy: str | None = None) -> PillionError:
    return PillionError(ErrorCode.INVALID_ARGUMENT, message, field=field, remedy=remedy)
