"""Tensors as the Open Inference Protocol names them: datatype, shape, and the data as one numpy array.

Layout of the data, by datatype:

* ``BOOL``, ``UINT8`` .. ``UINT64``, ``INT8`` .. ``INT64``, ``FP16``, ``FP32``, ``FP64``: an array of the matching
  numpy dtype.
* ``BYTES``: an object array whose elements are ``bytes``.
* ``BF16``: a ``uint16`` array that holds the raw bit patterns (numpy has no bfloat16).
"""

from __future__ import annotations

from enum import StrEnum, unique
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Datatype", "Tensor", "TensorSpec", "datatype_of", "dtype_of"]


@unique
class Datatype(StrEnum):
    """The datatypes of the Open Inference Protocol, section "Tensor Data Types"."""

    BOOL = "BOOL"
    UINT8 = "UINT8"
    UINT16 = "UINT16"
    UINT32 = "UINT32"
    UINT64 = "UINT64"
    INT8 = "INT8"
    INT16 = "INT16"
    INT32 = "INT32"
    INT64 = "INT64"
    FP16 = "FP16"
    FP32 = "FP32"
    FP64 = "FP64"
    BF16 = "BF16"
    BYTES = "BYTES"


_DTYPES: Mapping[Datatype, np.dtype[Any]] = {
    Datatype.BOOL: np.dtype(np.bool_),
    Datatype.UINT8: np.dtype(np.uint8),
    Datatype.UINT16: np.dtype(np.uint16),
    Datatype.UINT32: np.dtype(np.uint32),
    Datatype.UINT64: np.dtype(np.uint64),
    Datatype.INT8: np.dtype(np.int8),
    Datatype.INT16: np.dtype(np.int16),
    Datatype.INT32: np.dtype(np.int32),
    Datatype.INT64: np.dtype(np.int64),
    Datatype.FP16: np.dtype(np.float16),
    Datatype.FP32: np.dtype(np.float32),
    Datatype.FP64: np.dtype(np.float64),
    Datatype.BF16: np.dtype(np.uint16),
    Datatype.BYTES: np.dtype(np.object_),
}
_DATATYPES: Mapping[np.dtype[Any], Datatype] = {
    dtype: datatype for datatype, dtype in _DTYPES.items() if datatype is not Datatype.BF16
}


def dtype_of(datatype: Datatype) -> np.dtype[Any]:
    """The numpy dtype that carries ``datatype`` in memory."""
    return _DTYPES[datatype]


def datatype_of(dtype: np.dtype[Any]) -> Datatype:
    """The protocol's datatype for a numpy dtype; text and object arrays are ``BYTES``.

    Raises:
        ValueError: the dtype has no counterpart in the protocol (complex numbers, datetimes, records).
    """
    known = _DATATYPES.get(dtype)
    if known is not None:
        return known
    if dtype.kind in "SUT":
        return Datatype.BYTES
    native = dtype.newbyteorder("=")
    if native in _DATATYPES:
        return _DATATYPES[native]
    raise ValueError(f"arrays of dtype {dtype} have no datatype in the Open Inference Protocol")


class TensorSpec(msgspec.Struct, frozen=True):
    """What a model declares about one input or output.

    ``shape`` has -1 for a dimension that may vary. ``optional`` inputs may be left out of a request,
    ``optional`` outputs come only when a request names them. Elements of
    ``nullable`` inputs may be missing: null in JSON, NaN, or an empty text. ``example`` is a value that the model takes
    where zero or an empty text is none.
    """

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    optional: bool = False
    nullable: bool = False
    example: str | bool | float | None = None


class Tensor(msgspec.Struct):
    """A named array with its protocol datatype. ``data.shape`` is the tensor's shape.

    ``missing`` marks elements that were sent as null, in an array of the same shape; None where there are none. The
    data holds NaN, 0, False or empty bytes there.
    """

    name: str
    datatype: Datatype
    data: np.ndarray[Any, np.dtype[Any]]
    parameters: dict[str, bool | int | float | str] = {}
    missing: np.ndarray[Any, np.dtype[np.bool_]] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The tensor's shape, outermost dimension first."""
        shape: tuple[int, ...] = self.data.shape
        return shape
