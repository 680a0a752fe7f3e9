"""Outputs of models in the form that the caller's data had."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pillion.client.tensors import is_frame, texts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pillion.client.tensors import Array

__all__ = ["like"]


def like(data: object, outputs: Mapping[str, Array], wanted: str | None) -> Any:  # noqa: ANN401 - by the data
    """An array where there is one output, or one was asked for; else arrays by name. For a DataFrame, a Series or a
    DataFrame with its index.
    """
    arrays = {name: texts(array) for name, array in outputs.items()}
    if is_frame(data):
        index: Any = data.index  # type: ignore[attr-defined] # a DataFrame, which has no types here
        tables = {name: _table(name, array, index) for name, array in arrays.items()}
        return tables.get(wanted or "") if wanted else _single(tables)
    return arrays[wanted] if wanted else _single(arrays)


def _single(by_name: Mapping[str, Any]) -> Any:  # noqa: ANN401 - as above
    return next(iter(by_name.values())) if len(by_name) == 1 else dict(by_name)


def _table(name: str, array: Array, index: Any) -> Any:  # noqa: ANN401 - as above
    import pandas as pd  # noqa: PLC0415 - the caller has it, whose data is a DataFrame

    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    # An output that is not one row for a row of the data keeps its own order.
    rows = index if len(index) == len(array) else None
    if array.ndim == 1:
        return pd.Series(array, index=rows, name=name)
    return pd.DataFrame(array.reshape(len(array), -1), index=rows)
