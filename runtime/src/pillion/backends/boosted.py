"""What the boosted trees of XGBoost and LightGBM have in common: inputs by column, categories, outputs.

Both libraries take a matrix of numbers in which a category is its number and NaN is a missing value. The names of
columns and the categories stand in the model's file, so neither a data frame nor the training code is needed: texts are
looked up here. As in :mod:`pillion.backends.sklearn_inputs`, the input is one matrix that may also come as its columns
where all are numbers, and one input for each column where some are text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pillion.backends import text
from pillion.backends.api import InputRule
from pillion.errors import ErrorCode, PillionError
from pillion.model import Libraries, ModelMetadata
from pillion.tensors import Datatype, Tensor, TensorSpec, datatype_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pillion.execution.api import Interrupt

__all__ = ["BoostedModel", "Feature", "classes", "largest", "more_likely", "unchanged"]

Array = np.ndarray[Any, np.dtype[Any]]
_INPUT: Final = "input"
_NUMBERS: Final = frozenset(Datatype) - {Datatype.BYTES}
_LISTED: Final = 12


@dataclass(frozen=True, slots=True)
class Feature:
    """One column. ``categories`` are its values in the order of their numbers; None for a number."""

    name: str
    categories: tuple[str | int | float | bool, ...] | None = None

    @property
    def is_text(self) -> bool:
        """Whether its categories are texts."""
        return self.categories is not None and any(isinstance(value, str) for value in self.categories)


class BoostedModel:
    """Trees whose raw result is computed once for all outputs that a request asks for. Threads may share it."""

    any_input_name = True

    def __init__(
        self,
        *,
        platform: str,
        features: Sequence[Feature],
        named: bool,
        dtype: np.dtype[Any],
        raw: Callable[[Array], Array],
        outputs: Mapping[str, Callable[[Array], Array]],
        refuses_unknown: bool,
        libraries: Libraries,
    ) -> None:
        """Args:
        platform: for metadata.
        features: the columns in the model's order.
        named: whether their names come from the data; else they are only counted.
        dtype: of the matrix that ``raw`` takes.
        raw: the library's prediction for a matrix.
        outputs: what is made of it, by name; the first is the default.
        refuses_unknown: whether a text that is no category is an error, else it counts as missing.
        libraries: for status.
        """
        self.libraries: Libraries | None = libraries
        self._features = tuple(features)
        self._dtype = dtype
        self._raw = raw
        self._outputs = dict(outputs)
        self._refuses = refuses_unknown
        self._codes = [_codes(feature) for feature in self._features]
        self._table = any(feature.is_text for feature in self._features)
        datatype = datatype_of(dtype)
        columns = tuple(_column_spec(feature, datatype) for feature in self._features)
        if self._table:
            self.rules = tuple(
                InputRule(
                    spec,
                    frozenset({Datatype.BYTES}) if feature.is_text else _NUMBERS,
                    symbols=("rows", ""),
                    shapes=((-1,),),
                )
                for spec, feature in zip(columns, self._features, strict=True)
            )
        else:
            whole = TensorSpec(_INPUT, datatype, (-1, len(columns)), nullable=True)
            self.rules = (InputRule(whole, _NUMBERS),)
        row = raw(np.full((1, len(columns)), np.nan, dtype))
        self.metadata = ModelMetadata(
            platform,
            tuple(rule.spec for rule in self.rules),
            tuple(_output_spec(name, make(row)) for name, make in self._outputs.items()),
            columns=columns if named and not self._table else (),
        )
        self.default_outputs = (next(iter(self._outputs)),)

    def predict(
        self,
        inputs: Sequence[Tensor | None],
        outputs: tuple[str, ...],
        interrupt: Interrupt | None,  # noqa: ARG002 - a call of the library cannot be stopped
    ) -> list[Tensor]:
        """See :class:`~pillion.backends.api.Predictor`."""
        raw = self._raw(self._matrix(inputs))
        results = [(name, self._outputs[name](raw)) for name in outputs]
        return [Tensor(name, datatype_of(data.dtype), data) for name, data in results]

    def _matrix(self, inputs: Sequence[Tensor | None]) -> Array:
        given = [tensor for tensor in inputs if tensor is not None]
        if self._table:
            matrix = np.empty((given[0].data.shape[0], len(given)), self._dtype)
            for position, tensor in enumerate(given):
                matrix[:, position] = self._column(tensor, position)
            return matrix
        matrix = _numbers(given[0]).astype(self._dtype, copy=False)
        if any(codes is not None for codes in self._codes):
            matrix = matrix.copy()
            for position, codes in enumerate(self._codes):
                if codes is not None:
                    matrix[:, position] = self._coded(matrix[:, position].tolist(), position)
        return matrix

    def _column(self, tensor: Tensor, position: int) -> Array:
        if not self._features[position].is_text:
            column = _numbers(tensor).ravel()
            return column if self._codes[position] is None else self._coded(column.tolist(), position)
        column = text.decode_column(tensor.data.ravel(), tensor.name)
        coded = self._coded(column.tolist(), position)
        if tensor.missing is not None:
            coded[tensor.missing.ravel()] = np.nan
        return coded

    def _coded(self, values: list[Any], position: int) -> Array:
        """The number of each value's category; NaN for a missing one.

        An empty text is missing unless it is a category: the protocol has no null for BYTES.
        """
        codes = self._codes[position] or {}
        nothing = float("nan")
        # Distinct values are looked up once: columns of categories repeat.
        known = {value: codes.get(value, nothing) for value in set(values)}
        if self._refuses:
            unknown = {value for value in known if value not in codes and value not in {"", None} and value == value}  # noqa: PLR0124 - NaN is not itself
            if unknown:
                raise self._unknown(values, unknown, position)
        return np.array([known.get(value, nothing) for value in values], np.float64)

    def _unknown(self, values: list[Any], unknown: set[Any], position: int) -> PillionError:
        feature = self._features[position]
        row = next(row for row, value in enumerate(values) if value in unknown)
        known = ", ".join(repr(value) for value in (feature.categories or ())[:_LISTED])
        more = ", ..." if len(feature.categories or ()) > _LISTED else ""
        return PillionError(
            ErrorCode.INVALID_ARGUMENT,
            f"input {feature.name!r}, row {row}: {values[row]!r} is no category that the model knows ({known}{more})",
            field=f"{feature.name}[{row}]",
        )

    def close(self) -> None:
        """The trees' memory goes with the last reference to them."""


def unchanged(raw: Array) -> Array:
    """The library's own prediction."""
    return raw


def classes(raw: Array) -> Array:
    """A probability for each class: of two classes the library gives only that of the second."""
    return np.column_stack([1 - raw, raw]) if raw.ndim == 1 else raw


def largest(raw: Array) -> Array:
    """The number of the likeliest of several classes."""
    return np.asarray(raw.argmax(axis=1), np.int64)


def more_likely(raw: Array) -> Array:
    """1 where the probability is above one half, else 0."""
    return np.asarray(raw > 0.5, np.int64)


def _codes(feature: Feature) -> dict[Any, float] | None:
    if feature.categories is None:
        return None
    return {value: float(number) for number, value in enumerate(feature.categories)}


def _column_spec(feature: Feature, datatype: Datatype) -> TensorSpec:
    if feature.categories is None:
        return TensorSpec(feature.name, datatype, (-1, 1), nullable=True)
    if feature.is_text:
        return TensorSpec(feature.name, Datatype.BYTES, (-1, 1), nullable=True, example=feature.categories[0])
    return TensorSpec(feature.name, datatype, (-1, 1), nullable=True, example=feature.categories[0])


def _output_spec(name: str, sample: Array) -> TensorSpec:
    return TensorSpec(name, datatype_of(sample.dtype), (-1, *sample.shape[1:]))


def _numbers(tensor: Tensor) -> Array:
    data = tensor.data
    if tensor.datatype is Datatype.BF16:  # the upper half of an FP32's bits
        data = (data.astype(np.uint32) << 16).view(np.float32)
    if tensor.missing is not None and data.dtype.kind != "f":
        data = data.astype(np.float64)
        data[tensor.missing] = np.nan
    return data
