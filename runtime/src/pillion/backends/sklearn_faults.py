"""Which cell of a request an estimator did not take. Runs only after it has refused: scikit-learn seldom says which."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pillion.errors import ErrorCode, PillionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pillion.backends.sklearn_columns import Column
    from pillion.tensors import TensorSpec

__all__ = ["fault_of"]

_LISTED = 12


def fault_of(data: Any, specs: Sequence[TensorSpec], columns: Sequence[Column]) -> PillionError | None:  # noqa: ANN401 - array or frame
    """The first value that is missing where none may be, or that no encoder knows; None where there is no such value.

    Args:
        data: what the estimator was given.
        specs: of the columns where they have names, else of the whole input.
        columns: what is known of them; empty where they have no names.
    """
    if getattr(data, "ndim", 0) != 2:
        return None
    for position in range(data.shape[1]):
        spec = specs[position if len(specs) > 1 or columns else 0]
        place = f"input {spec.name!r}" if columns else f"column {position} of input {spec.name!r}"
        values = np.asarray(data.iloc[:, position] if hasattr(data, "iloc") else data[:, position])
        missing = _missing(values)
        if not spec.nullable and missing.any():
            row = int(missing.argmax())
            return _fault(spec.name, row, f"{place}, row {row}: the value is missing, and the model takes none there")
        column = columns[position] if columns else None
        if column is None or not column.refuses or column.categories is None:
            continue
        known = set(column.categories)
        for row, value in enumerate(values.tolist()):
            if not missing[row] and value not in known:
                listed = ", ".join(repr(category) for category in column.categories[:_LISTED])
                more = ", ..." if len(column.categories) > _LISTED else ""
                problem = f"{value!r} is no category that the model knows ({listed}{more})"
                return _fault(spec.name, row, f"{place}, row {row}: {problem}")
    return None


def _missing(values: np.ndarray[Any, np.dtype[Any]]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    if values.dtype.kind == "f":
        return np.asarray(np.isnan(values))
    if values.dtype.kind != "O":
        return np.zeros(len(values), np.bool_)
    return np.array([value is None or value != value for value in values], np.bool_)  # noqa: PLR0124 - NaN is not itself


def _fault(name: str, row: int, message: str) -> PillionError:
    return PillionError(ErrorCode.INVALID_ARGUMENT, message, field=f"{name}[{row}]")
