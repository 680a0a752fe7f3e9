"""Whether two models give the same answer: labels exactly, numbers within what single precision can keep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pillion.tensors import Tensor

__all__ = ["TOLERANCE", "difference"]

Array = np.ndarray[Any, np.dtype[Any]]

TOLERANCE: Final = 1e-5
"""Of a probability; of another number by its size, or by a thousandth of the largest of its column if that is more."""
_FLOOR: Final = 1e-3


def difference(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> str | None:
    """The first output that differs, in words; None where all are equal.

    Args:
        ours: of the original, one tensor for each output.
        theirs: of what would take its place, for the same rows and outputs.
    """
    for mine, other in zip(ours, theirs, strict=True):
        if mine.datatype is not other.datatype or mine.shape != other.shape:
            return (
                f"{mine.name} is {other.datatype.value} {list(other.shape)}"
                f" instead of {mine.datatype.value} {list(mine.shape)}"
            )
        rows = len(mine.data)
        if mine.data.dtype.kind != "f":
            unlike = int(np.count_nonzero(_by_row(mine.data != other.data)))
            if unlike:
                return f"{unlike} of {rows} rows have another {mine.name}"
            continue
        apart = np.abs(mine.data - other.data)
        beyond = ~(apart <= _allowed(mine))  # NaN is beyond everything
        unlike = int(np.count_nonzero(_by_row(beyond)))
        if unlike:
            largest = float(np.nanmax(apart))
            return f"{mine.name} differs in {unlike} of {rows} rows, by up to {largest:.2g}"
    return None


def _allowed(tensor: Tensor) -> Array:
    if tensor.name == "predict_proba":
        return np.asarray(TOLERANCE)
    size = np.abs(tensor.data)
    largest = size.max(axis=0, initial=0.0)
    return np.asarray(TOLERANCE * np.maximum(size, _FLOOR * largest))


def _by_row(flags: Array) -> Array:
    return np.asarray(flags.reshape(len(flags), -1).any(axis=1))
