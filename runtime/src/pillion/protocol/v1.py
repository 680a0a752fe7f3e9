"""The V1 protocol: ``instances`` as rows or ``inputs`` as columns, against what the model says of its inputs.

Source: KServe's V1 data plane, which follows TensorFlow Serving's REST API. Accepted forms:

* ``{"instances": [[5.1, 3.5, 1.4, 0.2], ...]}``: rows of a model with one input, or whose inputs are columns: then each
  row has one value for each, in the order of the model's metadata.
* ``{"instances": [{"a": 1, "b": 2}, ...]}``: rows as objects, one key for each input or column.
* ``{"inputs": ...}``: the whole tensor of a model with one input, or an object of columns, one key for each input.
* ``{"inputs": [{"a": [1], "b": [2]}, ...]}``: such objects one below the other, as KServe's LightGBM server takes them.

A missing value of a column is null.

The answer is ``{"predictions": [...]}``: one value for each row, or an object by output name where the model has more
than one output.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import orjson

from pillion.dataplane.call import InferRequest
from pillion.errors import ErrorCode, PillionError
from pillion.protocol.json_errors import decode_json
from pillion.protocol.limits import CodecLimits
from pillion.protocol.oip_json import elements_from_json, without_nulls
from pillion.protocol.oip_json_answer import json_elements
from pillion.protocol.shape import element_count
from pillion.protocol.v1_table import columns_of, decode_rows, tensors_of_rows
from pillion.protocol.wire import element_type, nested
from pillion.tensors import Datatype, Tensor
from pillion.wording import listing, missing, nearest

if TYPE_CHECKING:
    from pillion.dataplane.call import InferResponse, ModelMetadata
    from pillion.tensors import TensorSpec

__all__ = ["decode_v1", "encode_v1"]


class _Body(msgspec.Struct):
    instances: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET
    inputs: msgspec.Raw = msgspec.Raw()
    signature_name: str | None = None


_BODY = msgspec.json.Decoder(_Body)
_ROW = msgspec.json.Decoder(dict[str, msgspec.Raw])
_CELLS = msgspec.json.Decoder(list[msgspec.Raw])
_BLOCKS = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_BLOCKS_START = re.compile(rb"\[\s*\{")


@lru_cache(maxsize=64)
def _element_decoder(datatype: Datatype, depth: int, max_string: int, nullable: bool) -> msgspec.json.Decoder[Any]:  # noqa: FBT001 - part of a cache's key
    element = element_type(datatype, max_string)
    if nullable:
        element = element | None
    return msgspec.json.Decoder(element | nested(element, depth))


def decode_v1(
    body: bytes | memoryview, *, model: str, metadata: ModelMetadata, limits: CodecLimits | None = None
) -> InferRequest:
    """One request for the model described by ``metadata``.

    Raises:
        PillionError: ``INVALID_ARGUMENT`` naming the field, such as ``instances[3]``.
    """
    limits = limits or CodecLimits()
    columns = columns_of(metadata)
    if columns:
        table = decode_rows(body, columns, metadata.ignored, limits)
        if table is not None:
            return InferRequest(model, table)
    document = decode_json(_BODY.decode, body)
    given = bytes(document.inputs)
    if document.instances is msgspec.UNSET:
        if not given:
            raise _invalid("the body needs instances (rows) or inputs (columns)", "instances")
        return InferRequest(model, _columns(given, metadata, limits))
    if given:
        raise _invalid("the body has both instances and inputs", "inputs", "send one of them")
    rows = [bytes(row) for row in document.instances]
    if not rows:
        raise _invalid("instances: there are no rows", "instances", "send at least one")
    if rows[0][:1] == b"{":
        return InferRequest(model, _object_rows(rows, metadata, limits))
    if columns and not metadata.columns:
        return InferRequest(
            model, tensors_of_rows([_row(row, i, columns, limits) for i, row in enumerate(rows)], columns)
        )
    spec = _only_input(metadata, "instances")
    values = [_decode(row, spec, f"instances[{index}]", limits) for index, row in enumerate(rows)]
    _check_widths(values, spec, columns)
    return InferRequest(model, [_tensor(values, spec, "instances", limits)])


def _check_widths(rows: list[Any], spec: TensorSpec, columns: tuple[TensorSpec, ...]) -> None:
    """Rows of a matrix are as wide as it is."""
    if len(spec.shape) != 2 or spec.shape[1] <= 1:
        return
    width = spec.shape[1]
    order = f"in this order: {listing([column.name for column in columns])}" if columns else None
    for index, row in enumerate(rows):
        field = f"instances[{index}]"
        if not isinstance(row, list):
            raise _invalid(f"{field}: a row is a list of {width} values", field, order)
        if len(row) != width:
            raise _invalid(f"{field}: {_values(len(row))}, the model takes {width}", field, order)


def _values(number: int) -> str:
    return f"{number} value" if number == 1 else f"{number} values"


def _row(text: bytes, index: int, columns: tuple[TensorSpec, ...], limits: CodecLimits) -> list[Any]:
    """One value for each column."""
    field = f"instances[{index}]"
    if text[:1] != b"[":
        kind = "an object" if text[:1] == b"{" else "no list"
        raise _invalid(f"{field}: the rows are lists of columns, this one is {kind}", field)
    cells = decode_json(_CELLS.decode, text)
    if len(cells) != len(columns):
        names = listing([spec.name for spec in columns])
        raise _invalid(f"{field}: {_values(len(cells))} for {len(columns)} columns", field, f"in this order: {names}")
    values = []
    for position, (cell, spec) in enumerate(zip(cells, columns, strict=True)):
        place = f"{field}[{position}]"
        try:
            value = _decode(bytes(cell), spec, place, limits)
        except PillionError as error:
            problem = error.message.removeprefix(f"{place}: ")
            raise _invalid(f"{place}: column {spec.name!r}: {problem}", place, error.remedy) from error
        if isinstance(value, list):
            raise _invalid(f"{place}: column {spec.name!r} takes one value", place)
        values.append(value)
    return values


def _columns(columns: bytes, metadata: ModelMetadata, limits: CodecLimits) -> list[Tensor]:
    if _BLOCKS_START.match(columns):
        return _column_blocks(columns, metadata, limits)
    if columns[:1] != b"{":
        spec = _only_input(metadata, "inputs")
        return [_tensor(_decode(columns, spec, "inputs", limits), spec, "inputs", limits)]
    by_name = decode_json(_ROW.decode, columns)
    return [
        _tensor(_decode(bytes(column), spec, f"inputs.{name}", limits), spec, f"inputs.{name}", limits)
        for name, column in by_name.items()
        if name not in metadata.ignored
        for spec in (_input(metadata, name, f"inputs.{name}"),)
    ]


def _column_blocks(text: bytes, metadata: ModelMetadata, limits: CodecLimits) -> list[Tensor]:
    """Objects of columns one below the other, as KServe's LightGBM server takes them; a bare value is one row."""
    columns: dict[str, list[Any]] = {}
    for index, block in enumerate(decode_json(_BLOCKS.decode, text)):
        for name, cell in block.items():
            if name in metadata.ignored:
                continue
            field = f"inputs[{index}].{name}"
            value = _decode(bytes(cell), _input(metadata, name, field), field, limits)
            columns.setdefault(name, []).extend(value if isinstance(value, list) else [value])
    return [
        _tensor(values, _input(metadata, name, name), f"inputs[*].{name}", limits) for name, values in columns.items()
    ]


def _object_rows(rows: list[bytes], metadata: ModelMetadata, limits: CodecLimits) -> list[Tensor]:
    columns: dict[str, list[Any]] = {}
    table = columns_of(metadata)
    for index, row in enumerate(rows):
        field = f"instances[{index}]"
        if row[:1] != b"{":
            raise _invalid(f"{field}: the first row is an object, this one is not", field)
        cells = decode_json(_ROW.decode, row)
        if table:
            _check_keys(cells, metadata, table, field)
        keys = cells.keys() - frozenset(metadata.ignored)
        if index and keys != columns.keys():
            difference = ", ".join(sorted(keys ^ columns.keys()))
            raise _invalid(f"{field}: has not the keys of the first row: {difference}", field)
        for name, cell in cells.items():
            if name in metadata.ignored:
                continue
            spec = _input(metadata, name, f"{field}.{name}")
            value = _decode(bytes(cell), spec, f"{field}.{name}", limits)
            if table and isinstance(value, list):
                if len(value) != 1 or isinstance(value[0], list):
                    raise _invalid(f"{field}.{name}: a column takes one value in each row", f"{field}.{name}")
                value = value[0]
            columns.setdefault(name, []).append(value)
    return [
        _tensor(values, _input(metadata, name, name), f"instances[*].{name}", limits)
        for name, values in columns.items()
    ]


def _check_keys(cells: dict[str, Any], metadata: ModelMetadata, table: tuple[TensorSpec, ...], field: str) -> None:
    """A row of a table has its columns, and no others."""
    known = {spec.name for spec in table}
    for name in cells:
        if name not in known and name not in metadata.ignored:
            absent = [spec.name for spec in table if spec.name not in cells]
            problem = f"{field}.{name}: the model has no input {name!r}{nearest(name, absent)}"
            raise _invalid(problem, f"{field}.{name}", f"its inputs are {listing([spec.name for spec in table])}")
    absent = [spec.name for spec in table if spec.name not in cells and not spec.optional]
    if absent:
        gaps = all(spec.nullable for spec in table if spec.name in absent)
        raise _invalid(f"{field}: {missing(absent)}", field, "send null for a missing value" if gaps else None)


def _decode(text: bytes, spec: TensorSpec, field: str, limits: CodecLimits) -> Any:  # noqa: ANN401  # JSON value
    if spec.datatype in (Datatype.FP16, Datatype.BF16):
        raise _invalid(f"{field}: {spec.datatype} has no JSON form", field, "use the binary form of /v2")
    decoder = _element_decoder(spec.datatype, limits.max_json_depth, limits.max_string_bytes, spec.nullable)
    try:
        return decode_json(decoder.decode, text)
    except PillionError as error:
        place = f"{field}{error.field or ''}"
        problem = error.message.removeprefix(f"{error.field}: ") if error.field else error.message
        raise _invalid(f"{place}: {problem}", place, error.remedy) from error


def _tensor(values: Any, spec: TensorSpec, field: str, limits: CodecLimits) -> Tensor:  # noqa: ANN401  # JSON value
    """A tensor from nested lists; a flat column becomes a matrix of one column where the model wants one."""
    if not isinstance(values, list):
        values = [values]
    shape = _shape(values)
    count = element_count(shape, field, limits.max_elements)
    gaps: np.ndarray[Any, np.dtype[np.bool_]] | None = None
    if spec.nullable:
        values, gaps = without_nulls(values, spec.datatype)
    data = elements_from_json(values, spec.datatype, shape, count, field)
    if data.ndim == 1 and len(spec.shape) == 2 and spec.shape[1] == 1:
        data = data.reshape(-1, 1)
    return Tensor(spec.name, spec.datatype, data, missing=None if gaps is None else gaps.reshape(data.shape))


def _shape(values: list[Any]) -> list[int]:
    shape: list[int] = []
    level: Any = values
    while isinstance(level, list):
        shape.append(len(level))
        level = level[0] if level else None
    return shape


def _only_input(metadata: ModelMetadata, field: str) -> TensorSpec:
    required = [spec for spec in metadata.inputs if not spec.optional] or list(metadata.inputs)
    if not required:
        raise _invalid(f"{field}: the model takes no tensors", field, "call its tasks: /docs lists them")
    if len(required) != 1:
        names = listing([spec.name for spec in metadata.inputs])
        raise _invalid(f"{field}: the model has several inputs", field, f"send objects with the keys {names}")
    return required[0]


def _input(metadata: ModelMetadata, name: str, field: str) -> TensorSpec:
    known = [*metadata.inputs, *metadata.columns]
    for spec in known:
        if spec.name == name:
            return spec
    names = [spec.name for spec in metadata.columns or metadata.inputs]
    problem = f"{field}: the model has no input {name!r}{nearest(name, names)}"
    raise _invalid(problem, field, f"its inputs are {listing(names)}")


def encode_v1(response: InferResponse) -> bytes:
    """``{"predictions": [...]}``, row by row.

    Raises:
        PillionError: ``INVALID_ARGUMENT`` for NaN, infinities and datatypes that JSON cannot carry.
    """
    columns: dict[str, Any] = {}
    for tensor in response.outputs:
        elements = json_elements(tensor)
        if isinstance(elements, np.ndarray):
            if elements.dtype.kind == "f" and not np.isfinite(elements).all():
                raise _invalid(
                    f"output {tensor.name!r} holds NaN or Infinity, which JSON cannot carry",
                    "predictions",
                    "use the binary form of /v2",
                )
            columns[tensor.name] = elements.reshape(tensor.shape)
        else:
            columns[tensor.name] = np.array(elements, dtype=object).reshape(tensor.shape).tolist()
    if len(columns) == 1:
        predictions = next(iter(columns.values()))
    else:
        rows = min((len(column) for column in columns.values()), default=0)
        predictions = [{name: column[row] for name, column in columns.items()} for row in range(rows)]
    return orjson.dumps({"predictions": predictions}, option=orjson.OPT_SERIALIZE_NUMPY)


def _invalid(message: str, field: str, remedy: str | None = None) -> PillionError:
    return PillionError(ErrorCode.INVALID_ARGUMENT, message, field=field, remedy=remedy)
