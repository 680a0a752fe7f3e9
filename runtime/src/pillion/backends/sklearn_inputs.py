"""What an estimator takes as input, and how tensors become it: texts, one matrix, or a table of named columns.

Where one datatype holds all columns the input is a matrix, as clients of scikit-learn servers send it; names of its
columns are declared beside it. Where columns differ there is one input for each, and a pandas frame is made of them.
pandas is imported only for estimators that cannot do without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from pillion.backends import text
from pillion.backends.api import InputRule, ModelLoadError
from pillion.tensors import Datatype, TensorSpec, datatype_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pillion.backends.sklearn_columns import Column, Table
    from pillion.tensors import Tensor

__all__ = ["INPUT", "Documents", "Matrix", "Reader", "TableReader"]

Array = np.ndarray[Any, np.dtype[Any]]

INPUT: Final = "input"
_NUMBERS: Final = frozenset(Datatype) - {Datatype.BYTES}
_TEXT: Final = frozenset({Datatype.BYTES})


class Reader(Protocol):
    """Makes an estimator's input of tensors."""

    @property
    def rules(self) -> tuple[InputRule, ...]:
        """One for each tensor."""
        ...

    @property
    def columns(self) -> tuple[TensorSpec, ...]:
        """The columns of a matrix that has names for them."""
        ...

    @property
    def ignored(self) -> tuple[str, ...]:
        """Columns that are not looked at."""
        ...

    def read(self, inputs: Sequence[Tensor | None]) -> Any:  # noqa: ANN401 - array, or frame of a library without types
        """What the estimator's methods take."""
        ...


class Documents:
    """A list of texts, for vectorisers."""

    columns: tuple[TensorSpec, ...] = ()
    ignored: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.rules = (InputRule(TensorSpec(INPUT, Datatype.BYTES, (-1,)), _TEXT, shapes=((-1, 1),)),)

    def read(self, inputs: Sequence[Tensor | None]) -> Array:
        """One dimension of ``str``."""
        given = _given(inputs[0])
        return text.decode(given.data, given.name).ravel()


class Matrix:
    """Rows and columns of one datatype.

    Args:
        width: number of columns, -1 if unknown.
        dtype: numbers of this kind; None for text.
        table: what is known of the columns, where they have names.
        nullable: whether elements may be missing, for each column.
    """

    ignored: tuple[str, ...] = ()

    def __init__(self, width: int, dtype: np.dtype[Any] | None, table: Table | None, nullable: Sequence[bool]) -> None:
        self.dtype = dtype
        self._table = table
        datatype = Datatype.BYTES if dtype is None else datatype_of(dtype)
        whole = TensorSpec(INPUT, datatype, (-1, width), nullable=any(nullable))
        self.rules = (InputRule(whole, _TEXT if dtype is None else _NUMBERS),)
        columns = table.columns if table is not None else []
        self.columns = (
            tuple(
                TensorSpec(column.name, datatype, (-1, 1), nullable=gaps, example=column.example)
                for column, gaps in zip(columns, nullable, strict=True)
            )
            if columns
            else ()
        )
        self._names = [column.name for column in columns]
        self._frame = _pandas().DataFrame if table is not None and table.by_name else None
        self.is_plain = dtype is not None and self._frame is None
        """Whether it reads an array of numbers."""

    def read(self, inputs: Sequence[Tensor | None]) -> Any:  # noqa: ANN401 - array or frame
        """A matrix of ``dtype``, or of ``str``; as a frame where parts of the estimator pick columns by name."""
        given = _given(inputs[0])
        matrix = self._texts(given) if self.dtype is None else _numbers(given).astype(self.dtype, copy=False)
        return matrix if self._frame is None else self._frame(matrix, columns=self._names, copy=False)

    def _texts(self, given: Tensor) -> Array:
        columns = self._table.columns if self._table is not None else []
        if not columns:
            return text.decode(given.data, given.name)
        matrix = np.empty(given.data.shape, np.object_)
        for position, (column, spec) in enumerate(zip(columns, self.columns, strict=True)):
            gaps = None if given.missing is None else given.missing[:, position]
            matrix[:, position] = _text_column(given.data[:, position], column, spec, gaps)
        return matrix


class TableReader:
    """Named columns of several datatypes."""

    columns: tuple[TensorSpec, ...] = ()

    def __init__(self, table: Table, nullable: Sequence[bool]) -> None:
        self._columns = table.used
        self.ignored = tuple(column.name for column in table.columns if not column.used)
        self.rules = tuple(
            InputRule(
                TensorSpec(column.name, column.datatype, (-1, 1), nullable=gaps, example=column.example),
                _TEXT if column.text else _NUMBERS,
                symbols=("rows", ""),
                shapes=((-1,),),
            )
            for column, gaps in zip(self._columns, nullable, strict=True)
        )
        pandas = _pandas()
        self._frame, self._series = pandas.DataFrame, pandas.Series

    def read(self, inputs: Sequence[Tensor | None]) -> Any:  # noqa: ANN401 - a frame
        """A data frame with the columns in the order that the estimator was fitted in."""
        # Text stays of dtype object: newer pandas would turn it into its own string type, at a cost, and lose None.
        data = {
            column.name: self._series(values, dtype=object, copy=False) if column.text else values
            for column, values in zip(self._columns, self._read(inputs), strict=True)
        }
        return self._frame(data, copy=False)

    def _read(self, inputs: Sequence[Tensor | None]) -> list[Array]:
        return [
            _column(_given(tensor), column, rule.spec)
            for column, rule, tensor in zip(self._columns, self.rules, inputs, strict=True)
        ]


def _given(tensor: Tensor | None) -> Tensor:
    if tensor is None:
        raise TypeError("the input is missing")
    return tensor


def _numbers(given: Tensor) -> Array:
    data = given.data
    if given.datatype is Datatype.BF16:  # the upper half of an FP32's bits
        data = (data.astype(np.uint32) << 16).view(np.float32)
    if given.missing is not None and data.dtype.kind != "f":
        data = data.astype(np.float64)
        data[given.missing] = np.nan
    return data


def _column(given: Tensor, column: Column, spec: TensorSpec) -> Array:
    if column.text:
        gaps = None if given.missing is None else given.missing.ravel()
        return _text_column(given.data.ravel(), column, spec, gaps)
    data = _numbers(given).ravel()
    # Categories that are whole numbers stay so; fractions, which none of them is, are the encoder's to judge.
    whole = spec.datatype is not Datatype.FP64 and data.dtype.kind in "biu"
    return data if whole else data.astype(np.float64, copy=False)


def _text_column(data: Array, column: Column, spec: TensorSpec, gaps: Array | None) -> Array:
    """Texts, with the estimator's own mark where one is missing.

    The protocol has no null for BYTES, so an empty text is a missing one too, unless the estimator knows it as a value.
    """
    empty = column.null if spec.nullable and not column.empty_is_value else ""
    decoded = text.decode_column(data, spec.name, empty=empty)
    if gaps is not None:
        decoded[gaps] = column.null
    return decoded


def _pandas() -> Any:  # noqa: ANN401 - a module without types
    try:
        import pandas as pd  # noqa: PLC0415 - only estimators that take frames need it
    except ModuleNotFoundError as error:
        raise ModelLoadError(
            "the model picks its columns by name, which needs pandas, and that is not installed",
            "pip install 'pillion[tabular]'",
        ) from error
    return pd
