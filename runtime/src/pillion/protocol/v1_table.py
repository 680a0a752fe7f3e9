"""Rows of V1 for models whose input is a table: objects by column, or lists in the order of the columns.

Whole bodies are decoded at once against the types of the columns, in C; what does not fit is left to
:mod:`pillion.protocol.v1`, which reads row by row and says what is wrong and where.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pillion.errors import PillionError
from pillion.protocol.oip_json import elements_from_json, without_nulls
from pillion.protocol.raw import RAW_ONLY
from pillion.protocol.wire import element_type
from pillion.tensors import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from pillion.model import ModelMetadata
    from pillion.protocol.limits import CodecLimits
    from pillion.tensors import TensorSpec

__all__ = ["columns_of", "decode_rows", "tensors_of_rows"]

_ODD: Final = re.compile(r'["\\\x00-\x1f]')
"""Characters that msgspec allows in no name of a field."""


def columns_of(metadata: ModelMetadata) -> tuple[TensorSpec, ...]:
    """The columns of a model whose input is a table; empty where it is something else."""
    if metadata.columns:
        return metadata.columns
    inputs = metadata.inputs
    return inputs if len(inputs) > 1 and all(spec.shape == (-1, 1) for spec in inputs) else ()


def decode_rows(
    body: bytes | memoryview, columns: tuple[TensorSpec, ...], ignored: tuple[str, ...], limits: CodecLimits
) -> list[Tensor] | None:
    """The columns of ``{"instances": [{...}, ...]}``; None where the body is of another form or does not fit."""
    if any(spec.datatype in RAW_ONLY or _ODD.search(spec.name) for spec in columns) or any(map(_ODD.search, ignored)):
        return None
    try:
        rows = _rows_decoder(columns, ignored, limits.max_string_bytes).decode(body).instances
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    if not 0 < len(rows) <= limits.max_elements:
        return None
    fields = [f"c{position}" for position in range(len(columns))]
    present = [getattr(rows[0], name) is not msgspec.UNSET for name in fields]
    values = [[getattr(row, name) for row in rows] for name, there in zip(fields, present, strict=True) if there]
    given = [spec for spec, there in zip(columns, present, strict=True) if there]
    if any(msgspec.UNSET in column for spec, column in zip(given, values, strict=True) if spec.optional):
        return None
    if not all(present) and any(
        getattr(row, name) is not msgspec.UNSET
        for name, there in zip(fields, present, strict=True)
        if not there
        for row in rows
    ):
        return None
    try:
        return [_column(column, spec, nulls=spec.nullable) for spec, column in zip(given, values, strict=True)]
    except PillionError:
        return None


def tensors_of_rows(rows: Sequence[Sequence[Any]], columns: tuple[TensorSpec, ...]) -> list[Tensor]:
    """The columns of rows that have been decoded, each with one value for each column."""
    return [
        _column(list(values), spec, nulls=True) for spec, values in zip(columns, zip(*rows, strict=True), strict=True)
    ]


def _column(values: list[Any], spec: TensorSpec, *, nulls: bool) -> Tensor:
    missing: np.ndarray[Any, np.dtype[np.bool_]] | None = None
    if nulls and None in values:
        values, missing = without_nulls(values, spec.datatype)
    shape = [len(values)]
    data = elements_from_json(values, spec.datatype, shape, len(values), spec.name).reshape(-1, 1)
    return Tensor(spec.name, spec.datatype, data, missing=None if missing is None else missing.reshape(-1, 1))


@lru_cache(maxsize=64)
def _rows_decoder(
    columns: tuple[TensorSpec, ...], ignored: tuple[str, ...], max_string: int
) -> msgspec.json.Decoder[Any]:
    """A decoder of bodies whose rows have one field for each column.

    Fields have names of their own, since columns may be called anything.
    """
    fields: list[Any] = []
    keys: dict[str, str] = {}
    for position, spec in enumerate(columns):
        name, element = f"c{position}", element_type(spec.datatype, max_string)
        keys[name] = spec.name
        kind = element | None if spec.nullable else element
        if spec.optional:
            fields.append((name, kind | msgspec.UnsetType, msgspec.field(default=msgspec.UNSET)))
        else:
            fields.append((name, kind))
    for position, column in enumerate(ignored):
        keys[f"i{position}"] = column
        fields.append((f"i{position}", msgspec.Raw, msgspec.field(default=msgspec.Raw())))
    row = msgspec.defstruct("Row", fields, rename=keys, forbid_unknown_fields=True, kw_only=True)
    body = msgspec.defstruct("Rows", [("instances", list[row])], forbid_unknown_fields=True)  # type: ignore[valid-type] # made at run time
    return msgspec.json.Decoder(body)
