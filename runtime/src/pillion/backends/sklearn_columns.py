"""What a fitted estimator says of the columns of the table it was fitted on.

scikit-learn keeps their names and not their types, but the fitted parts tell them: an encoder holds the categories it
saw, an imputer the type of what it fills in, a vectoriser reads texts, everything else that has seen the columns takes
numbers. Nothing is guessed from requests. Which parts see which columns is what a ColumnTransformer says; other
compositions (Pipeline, FeatureUnion, ensembles, searches) pass all columns on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pillion.tensors import Datatype

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Column", "Table", "table_of"]

_INNER: Final = ("best_estimator_", "estimator_", "regressor_", "_preprocessor", "transformer_")
_INNER_LISTS: Final = ("estimators_", "calibrated_classifiers_", "transformer_list")
_DEPTH: Final = 32


@dataclass(slots=True)
class Column:
    """What is known of one column."""

    name: str
    used: bool = False
    """Whether any part of the estimator takes it."""
    text: bool = False
    categories: list[object] | None = None
    """The values an encoder was fitted on, without missing ones."""
    refuses: bool = False
    """Whether the encoder raises at a value that is none of the categories."""
    null: object = np.nan
    """What a missing text is for the parts that see it: NaN or None."""
    empty_is_value: bool = False
    """Whether an empty text is one of the categories, what an imputer looks for, or a document."""

    @property
    def datatype(self) -> Datatype:
        """The datatype that holds it. What passes through to later steps is a number, as these take nothing else."""
        if self.text:
            return Datatype.BYTES
        return _datatype_of(self.categories) if self.categories else Datatype.FP64

    @property
    def example(self) -> str | bool | float | None:
        """A value that the column may hold; None for zero."""
        first = self.categories[0] if self.categories else "text" if self.text else None
        return first if isinstance(first, (str, bool, int, float)) else None


@dataclass(slots=True)
class Table:
    """The columns in the order they were fitted in."""

    columns: list[Column] = field(default_factory=list)
    by_name: bool = False
    """Whether a part picks its columns by name, for which scikit-learn needs a data frame."""

    @property
    def used(self) -> list[Column]:
        """The columns that are looked at."""
        return [column for column in self.columns if column.used]


def table_of(estimator: Any, declared: Sequence[str] = ()) -> Table | None:  # noqa: ANN401 - any estimator
    """The table the estimator was fitted on; None where it was fitted without names of columns.

    Args:
        estimator: the estimator.
        declared: names that come with it from elsewhere, for one that was fitted without.
    """
    names = getattr(estimator, "feature_names_in_", None)
    if names is None:
        names = getattr(_first_fitted(estimator), "feature_names_in_", None)
    if names is None and declared and len(declared) == getattr(estimator, "n_features_in_", -1):
        names = declared
    if names is None:
        return None
    table = Table([Column(str(name)) for name in names])
    _walk(estimator, table.columns, table, _DEPTH)
    return table


def _first_fitted(estimator: Any) -> Any:  # noqa: ANN401 - any estimator
    steps = getattr(estimator, "steps", None)
    return _first_fitted(steps[0][1]) if steps else estimator


def _walk(part: Any, columns: list[Column], table: Table, depth: int) -> None:  # noqa: ANN401 - any estimator
    """Add what ``part`` says of the columns it is given."""
    if depth == 0 or part is None or isinstance(part, str):
        return
    if hasattr(part, "transformers_"):
        _walk_by_name(part, columns, table, depth)
        return
    if hasattr(part, "steps"):
        _walk_steps([step for _, step in part.steps], columns, table, depth)
        return
    inner = [other for other in _inner(part) if getattr(other, "n_features_in_", len(columns)) == len(columns)]
    for other in inner:
        _walk(other, columns, table, depth - 1)
    if not inner:
        _read(part, columns, table)


def _walk_by_name(part: Any, columns: list[Column], table: Table, depth: int) -> None:  # noqa: ANN401 - any estimator
    by_name = {column.name: column for column in columns}
    for _, transformer, selection in part.transformers_:
        try:
            chosen = _chosen(selection, columns, by_name)
        except (KeyError, ValueError, IndexError, TypeError):
            # It sees columns that an earlier step made, not those of the table.
            table.by_name = True
            for column in columns:
                column.used = True
            continue
        table.by_name = table.by_name or _has_names(selection)
        if transformer == "passthrough":
            for column in chosen:
                column.used = True
        _walk(transformer, chosen, table, depth - 1)


def _walk_steps(steps: Sequence[Any], columns: list[Column], table: Table, depth: int) -> None:
    """Steps see the columns themselves as long as the ones before give one column for each and encode nothing."""
    for step in steps:
        if getattr(step, "n_features_in_", len(columns)) != len(columns):
            return
        _walk(step, columns, table, depth - 1)
        if hasattr(step, "transformers_") or any(column.categories is not None for column in columns):
            return


def _inner(part: Any) -> Iterator[Any]:  # noqa: ANN401 - any estimator
    for name in _INNER:
        other = getattr(part, name, None)
        if other is not None:
            yield other
    for name in _INNER_LISTS:
        others = getattr(part, name, None)
        if isinstance(others, (list, np.ndarray)):
            for other in np.ravel(np.array(others, dtype=object)) if isinstance(others, np.ndarray) else others:
                candidate = other[1] if isinstance(other, tuple) else other
                if not isinstance(candidate, str) and candidate is not None:
                    yield getattr(candidate, "estimator", candidate) if name == "calibrated_classifiers_" else candidate


def _chosen(selection: Any, columns: list[Column], by_name: dict[str, Column]) -> list[Column]:  # noqa: ANN401 - as given
    if isinstance(selection, str):
        return [by_name[selection]]
    if isinstance(selection, slice):
        names = [column.name for column in columns]
        start = names.index(selection.start) if isinstance(selection.start, str) else selection.start
        stop = names.index(selection.stop) + 1 if isinstance(selection.stop, str) else selection.stop
        return columns[start : stop : selection.step]
    listed = np.asarray(selection)
    if listed.dtype.kind == "b":
        return [column for column, taken in zip(columns, listed.tolist(), strict=True) if taken]
    return [by_name[item] if isinstance(item, str) else columns[item] for item in listed.ravel().tolist()]


def _has_names(selection: Any) -> bool:  # noqa: ANN401 - as given
    if isinstance(selection, slice):
        return isinstance(selection.start, str) or isinstance(selection.stop, str)
    return np.asarray(selection).dtype.kind in "UO"


def _read(part: Any, columns: list[Column], table: Table) -> None:  # noqa: ANN401 - any estimator
    """What a part without parts of its own says."""
    for column in columns:
        column.used = True
    categories = getattr(part, "categories_", None)
    if isinstance(categories, list) and len(categories) == len(columns):
        _read_categories(part, categories, columns)
    elif hasattr(part, "build_analyzer"):
        for column in columns:
            column.text = column.empty_is_value = True
    elif hasattr(part, "statistics_") or hasattr(part, "initial_imputer_"):
        _read_imputer(part, columns)
    elif type(part).__name__ == "FunctionTransformer":
        table.by_name = table.by_name or part.func is not None  # it may ask for columns by name


def _read_categories(part: Any, categories: list[Any], columns: list[Column]) -> None:  # noqa: ANN401 - any encoder
    refuses = getattr(part, "handle_unknown", "error") == "error"
    for column, known in zip(columns, categories, strict=True):
        values = [value.item() if isinstance(value, np.generic) else value for value in known]
        present = [value for value in values if value is not None and value == value]  # noqa: PLR0124 - NaN is not itself
        if len(present) < len(values) and None in values:
            column.null = None
        column.categories = [*(column.categories or []), *present]
        column.refuses = column.refuses or refuses
        column.text = column.text or any(isinstance(value, str) for value in present)
        column.empty_is_value = column.empty_is_value or "" in present


def _read_imputer(part: Any, columns: list[Column]) -> None:  # noqa: ANN401 - any imputer
    text = np.asarray(getattr(part, "statistics_", ())).dtype.kind in "OUST"
    wanted = getattr(part, "missing_values", np.nan)
    for column in columns:
        column.text = column.text or text
        if wanted is None:
            column.null = None
        column.empty_is_value = column.empty_is_value or isinstance(wanted, str)


def _datatype_of(values: list[object]) -> Datatype:
    if all(isinstance(value, bool) for value in values):
        return Datatype.BOOL
    if all(isinstance(value, int) for value in values):
        return Datatype.INT64
    return Datatype.FP64
