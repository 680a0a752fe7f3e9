"""Encoders of text columns, computed once for each distinct row.

A column of categories repeats its few values, and scikit-learn's imputers and encoders look at each of its cells in
Python. They treat rows independently, so the rows that differ are computed and their results are put in every row's
place: the same numbers, made by the same code. Only scikit-learn's own classes that are known to do so are treated so.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pillion.backends.sklearn_columns import Table

__all__ = ["Distinct", "distinct_rows", "quick"]

_ROW_BY_ROW: Final = frozenset({"SimpleImputer", "OneHotEncoder", "OrdinalEncoder", "TargetEncoder"})
_LEAST_ROWS: Final = 128
"""Fewer are computed sooner than told apart."""
_MOST_CELLS: Final = 4096
"""What is kept of a call."""
_REPEATS: Final = 4
"""How often rows have to repeat, on average, for telling them apart to pay."""


class Distinct:
    """A fitted transformer of text columns, as the parts around it use one."""

    def __init__(self, transformer: Any, factorize: Any) -> None:  # noqa: ANN401 - libraries without types
        """Args:
        transformer: that treats rows independently.
        factorize: pandas' function of that name.
        """
        self._transformer = transformer
        self._factorize = factorize
        # Calls of several threads may put in and read at once; what is lost by that is computed again.
        self._known: dict[tuple[object, ...], Any] = {}

    def transform(self, frame: Any) -> Any:  # noqa: ANN401 - a frame to a matrix
        """What the transformer makes of the rows of a data frame."""
        found = None
        if len(frame) >= _LEAST_ROWS and self._makes_arrays():
            columns = [frame.iloc[:, position].to_numpy() for position in range(frame.shape[1])]
            found = distinct_rows(columns, self._factorize)
        if found is None:
            return self._transformer.transform(frame)
        first, places = found
        return self._of(frame.iloc[first])[places]

    def _makes_arrays(self) -> bool:
        """Whether results are arrays now: ``sklearn.set_config(transform_output=...)`` makes frames, whose rows have
        names.
        """
        from sklearn import get_config  # noqa: PLC0415 - there where its estimators are

        plain: bool = get_config().get("transform_output", "default") == "default"
        return plain

    def _of(self, frame: Any) -> Any:  # noqa: ANN401 - as above
        """What the transformer makes of distinct rows, which are mostly those of the call before."""
        cells = tuple(cell for position in range(frame.shape[1]) for cell in frame.iloc[:, position].tolist())
        known = self._known.get(cells)
        if known is None:
            known = self._transformer.transform(frame)
            if len(cells) <= _MOST_CELLS:
                self._known = {cells: known}
        return known


def distinct_rows(
    columns: Sequence[np.ndarray[Any, Any]],
    factorize: Any,  # noqa: ANN401 - as above
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]] | None:
    """Where each distinct row is first, and for each row which of those it equals; None where they hardly repeat."""
    rows = len(columns[0])
    numbers, kinds = np.zeros(rows, np.int64), 1
    for column in columns:
        codes, values = factorize(column)
        numbers *= len(values) + 1
        numbers += codes + 1  # a missing value is -1
        kinds *= len(values) + 1
        if kinds * _REPEATS > rows:  # numbered anew: of the combinations most may not be there
            numbers, values = factorize(numbers)
            kinds = len(values)
            if kinds * _REPEATS > rows:
                return None
    first = np.full(kinds, rows)
    first[numbers[::-1]] = np.arange(rows - 1, -1, -1)  # of equal ones the last that is written stays
    present = first < rows
    return first[present], (np.cumsum(present) - 1)[numbers]


def quick(estimator: Any, table: Table | None) -> Any:  # noqa: ANN401 - any estimator
    """The estimator with its encoders of text columns computing distinct rows; itself where it has none.

    The estimator is not changed: what is replaced is replaced in copies of the parts that lead there.
    """
    if table is None or not any(column.text for column in table.columns):
        return estimator
    try:
        import pandas as pd  # noqa: PLC0415 - estimators that take no frames do without
    except ModuleNotFoundError:
        return estimator
    return _quick(estimator, {column.name: column.text for column in table.columns}, pd.factorize)


def _quick(part: Any, texts: dict[str, bool], factorize: Any) -> Any:  # noqa: ANN401 - as above
    kind = _kind(part)
    if kind == "Pipeline" and part.steps:
        # Only the first step sees the columns themselves.
        (name, first), *others = part.steps
        other = _quick(first, texts, factorize)
        if other is first:
            return part
        copied = copy.copy(part)
        copied.steps = [(name, other), *others]
        return copied
    if kind != "ColumnTransformer":
        return part
    replaced = [
        (name, Distinct(one, factorize) if _all_text(columns, texts) and _row_by_row(one) else one, columns)
        for name, one, columns in part.transformers_
    ]
    if not any(isinstance(one, Distinct) for _, one, _ in replaced):
        return part
    copied = copy.copy(part)
    copied.transformers_ = replaced
    return copied


def _all_text(columns: Any, texts: dict[str, bool]) -> bool:  # noqa: ANN401 - as scikit-learn takes them
    chosen = [columns] if isinstance(columns, str) else columns
    if isinstance(columns, str) or not isinstance(chosen, (list, tuple, np.ndarray)) or len(chosen) == 0:
        return False  # a single name gives a column without a frame around it
    return all(isinstance(one, str) and texts.get(one, False) for one in chosen)


def _row_by_row(part: Any) -> bool:  # noqa: ANN401 - as above
    kind = _kind(part)
    if kind == "Pipeline":
        return bool(part.steps) and all(_row_by_row(step) for _, step in part.steps)
    # With names for its outputs asked for, it makes frames, whose rows have names as well.
    plain = getattr(part, "_sklearn_output_config", {}).get("transform", "default") == "default"
    return kind in _ROW_BY_ROW and plain


def _kind(part: Any) -> str:  # noqa: ANN401 - as above
    """The name of a class of scikit-learn's; empty for others, whatever their name."""
    cls = type(part)
    return cls.__name__ if cls.__module__.startswith("sklearn.") else ""
