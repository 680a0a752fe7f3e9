"""How far two results of the same method are apart. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np

from pillion.model_conversion.job import Compared

__all__ = ["compare"]

Array = np.ndarray[Any, np.dtype[Any]]


def compare(method: str, before: Array, after: Array, tolerance: float) -> Compared:
    """Compare row by row; numbers by their difference, everything else by equality.

    Args:
        method: whose results they are.
        before: of the source, one row per sample.
        after: of the result. Trailing dimensions of one element do not count.
        tolerance: see :class:`~pillion.model_conversion.job.Job`.
    """
    before, after = _rows(before), _rows(after)
    if before.shape != after.shape:
        return Compared(method, float("inf"), float("inf"), max(len(before), len(after), 1))
    if not _numeric(before) or not _numeric(after):
        unequal = (before.astype(str) != after.astype(str)).any(axis=1)
        return Compared(method, 0.0, 0.0, int(unequal.sum()))
    left, right = before.astype(np.float64), after.astype(np.float64)
    same = (left == right) | (np.isnan(left) & np.isnan(right))
    with np.errstate(invalid="ignore"):
        apart = np.where(same, 0.0, np.abs(left - right))
    apart = np.where(np.isnan(apart), np.inf, apart)  # a number on one side only
    relative = apart / np.maximum(1.0, np.abs(np.nan_to_num(left)))
    labels = method == "predict" and before.dtype.kind in "biu"
    different = apart > 0 if labels else relative > tolerance  # labels are equal or not
    largest, largest_relative = (float(found.max(initial=0.0)) for found in (apart, relative))
    return Compared(method, largest, largest_relative, int(different.any(axis=1).sum()))


def _rows(result: Array) -> Array:
    flat = np.asarray(result)
    return flat.reshape(len(flat), -1) if flat.ndim else flat.reshape(1, 1)


def _numeric(result: Array) -> bool:
    return result.dtype.kind in "biuf"
