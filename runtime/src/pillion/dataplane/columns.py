"""A matrix sent as named columns, put together.

Models fitted on a table know the names of its columns. Where one datatype holds them all the model's input is one
matrix, and these functions make it of columns that arrived one by one, in any order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pillion.backends.api import InputRule
from pillion.tensors import Datatype, Tensor, dtype_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pillion.tensors import TensorSpec

__all__ = ["ROWS", "column_rule", "joined"]

ROWS: Final = "rows"
"""Name of the dimension that all columns share."""


def column_rule(spec: TensorSpec, accepts: frozenset[Datatype]) -> InputRule:
    """The rule of one column: ``[rows, 1]`` as declared, or ``[rows]``."""
    return InputRule(spec, accepts, symbols=(ROWS, ""), shapes=((-1,),))


def joined(columns: Sequence[Tensor], spec: TensorSpec) -> Tensor:
    """The matrix of columns that have been checked and are in the order of the model.

    Numbers are converted to the datatype of the matrix, which takes the nearest value where it is FP32.
    """
    rows = columns[0].data.shape[0]
    matrix: np.ndarray[Any, np.dtype[Any]] = np.empty((rows, len(columns)), dtype_of(spec.datatype))
    missing: np.ndarray[Any, np.dtype[np.bool_]] | None = None
    for position, column in enumerate(columns):
        data = column.data.reshape(rows)
        if column.datatype is Datatype.BF16:  # the upper half of an FP32's bits
            data = (data.astype(np.uint32) << 16).view(np.float32)
        matrix[:, position] = data
        if column.missing is None:
            continue
        gaps = column.missing.reshape(rows)
        if matrix.dtype.kind == "f":
            matrix[gaps, position] = np.nan
        if missing is None:
            missing = np.zeros(matrix.shape, np.bool_)
        missing[:, position] = gaps
    return Tensor(spec.name, spec.datatype, matrix, missing=missing)
