"""A fitted estimator as a model of tensors: what it declares, and the conversions around each call."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pillion.backends import text
from pillion.backends.labels import fitting, telling
from pillion.backends.sklearn_columns import table_of
from pillion.backends.sklearn_distinct import quick
from pillion.backends.sklearn_faults import fault_of
from pillion.backends.sklearn_inputs import Documents, Matrix, TableReader
from pillion.model import Libraries, ModelMetadata
from pillion.tensors import Datatype, Tensor, TensorSpec, datatype_of, dtype_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pillion.backends.sklearn_columns import Table
    from pillion.backends.sklearn_inputs import Reader
    from pillion.execution.api import Interrupt

    Factory = Callable[[Sequence[bool]], Reader]

__all__ = ["SklearnModel", "tensor_of"]

Array = np.ndarray[Any, np.dtype[Any]]

_log = logging.getLogger(__name__)

_METHODS: Final = ("predict", "predict_proba", "decision_function", "transform")
_OF_CLASSES: Final = frozenset({"predict_proba", "decision_function"})
_PRECISIONS: Final = (np.dtype(np.float64), np.dtype(np.float32))
_MOST_TRIED: Final = 64
"""A number and not a time: what a model declares must not depend on how busy the machine was."""


class SklearnModel:
    """A fitted estimator. Its methods do not change it, so several threads may call it at once."""

    any_input_name = True

    def __init__(
        self,
        estimator: Any,  # noqa: ANN401 - any estimator
        platform: str,
        libraries: Libraries,
        declared: tuple[str, ...] = (),
    ) -> None:
        self.estimator = estimator
        self.libraries: Libraries | None = libraries
        self._methods: dict[str, Callable[[Any], Any]] = {
            name: method for name in _METHODS if callable(method := getattr(estimator, name, None))
        }
        table = table_of(estimator, declared)
        self._columns = table.used if table is not None else []
        faster = quick(estimator, table)
        if faster is not estimator:
            self._methods = {name: getattr(faster, name) for name in self._methods}
        self._reader, probes = self._probe(list(_readers(estimator, table)), max(1, len(self._columns)))
        self.rules = self._reader.rules
        outputs = [_output_spec(name, estimator, probes.get(name)) for name in self._methods]
        self.metadata = ModelMetadata(
            platform,
            tuple(rule.spec for rule in self.rules),
            tuple(outputs),
            columns=self._reader.columns,
            ignored=self._reader.ignored,
            labels=_labels(estimator, outputs),
        )
        self.default_outputs = (next(iter(self._methods)),) if self._methods else ()

    def _probe(self, factories: list[Factory], width: int) -> tuple[Reader, dict[str, Array]]:
        """The reader whose row of examples the estimator takes, and what each method says to it.

        Trying is the surest source of output types and shapes, and of where values may be missing. Some estimators only
        take the precision they were trained with: where FP64 fails and FP32 works, FP32 is declared. The row may be
        invalid for the model: then its attributes decide, and missing values are left to the model to judge where it
        knows its columns.
        """
        for factory in factories:
            reader = factory([True] * width)
            row = _example(reader, frozenset())
            if row is None:
                break
            try:
                results = {name: method(reader.read(row)) for name, method in self._methods.items()}
            except Exception as error:  # noqa: BLE001 - any estimator may refuse generated input in its own way
                _log.info("a row of examples is not valid input: %s", error)
                continue
            for name, result in results.items():
                if isinstance(result, (list, tuple)):  # several outputs: no single tensor holds them
                    del self._methods[name]
            found = {name: _dense(results[name]) for name in self._methods}
            return factory(self._nullable(reader, width)), found
        return factories[0]([bool(self._columns)] * width), {}

    def _nullable(self, reader: Reader, width: int) -> list[bool]:
        """For each column whether the estimator takes a row in which it is missing.

        Of many columns only the first are tried one by one: the estimator judges the others when requests come.
        """
        if self._takes(reader, frozenset(range(width))):
            return [True] * width
        if width == 1:
            return [False]
        return [position >= _MOST_TRIED or self._takes(reader, frozenset({position})) for position in range(width)]

    def _takes(self, reader: Reader, gaps: frozenset[int]) -> bool:
        row = _example(reader, gaps)
        if row is None or not self._methods:
            return False
        try:
            next(iter(self._methods.values()))(reader.read(row))
        except Exception:  # noqa: BLE001 - the answer to the question, in whatever way the estimator says it
            return False
        return True

    @property
    def takes_numbers(self) -> bool:
        """Whether the estimator is given one matrix of numbers, and not texts or a data frame."""
        return isinstance(self._reader, Matrix) and self._reader.is_plain

    def read(self, inputs: Sequence[Tensor | None]) -> Any:  # noqa: ANN401 - array or data frame
        """What the estimator's methods are given for these tensors."""
        return self._reader.read(inputs)

    def predict(
        self, inputs: Sequence[Tensor | None], outputs: tuple[str, ...], interrupt: Interrupt | None
    ) -> list[Tensor]:
        """See :class:`~pillion.backends.api.Predictor`. ``interrupt`` is heeded between two methods."""
        data = self._reader.read(inputs)
        results: list[Tensor] = []
        for name in outputs:
            if interrupt is not None and interrupt.fired:
                raise InterruptedError("the call was given up")
            try:
                result = self._methods[name](data)
            except (ValueError, TypeError) as error:
                fault = fault_of(data, self._reader.columns or self.metadata.inputs, self._columns)
                raise (error if fault is None else fault) from error
            results.append(tensor_of(name, result))
        return results

    def close(self) -> None:
        """Nothing outside Python's memory."""


def _readers(estimator: Any, table: Table | None) -> Iterator[Factory]:  # noqa: ANN401 - any estimator
    """The ways the estimator may take its input, the likeliest first."""
    if _takes_documents(estimator):
        yield lambda _: Documents()
        return
    width = int(getattr(estimator, "n_features_in_", -1))
    if table is not None:
        text_columns = sum(column.text for column in table.columns)
        if len(table.used) < len(table.columns) or 0 < text_columns < len(table.columns):
            yield lambda nullable: TableReader(table, nullable)
            return
        width = len(table.columns)
    is_text = _takes_text(estimator) if table is None else bool(table.columns) and table.columns[0].text
    for dtype in (None,) if is_text else _PRECISIONS:
        yield lambda nullable, dtype=dtype: Matrix(width, dtype, table, nullable)  # type: ignore[misc] # binds the loop's variable


def _example(reader: Reader, gaps: frozenset[int]) -> list[Tensor] | None:
    """One row of examples, with the columns of those numbers missing; None where it cannot be made."""
    if not reader.columns:
        tensors = [_one(rule.spec, position in gaps) for position, rule in enumerate(reader.rules)]
        return None if None in tensors else [tensor for tensor in tensors if tensor is not None]
    columns = [_one(spec, position in gaps) for position, spec in enumerate(reader.columns)]
    present = [column for column in columns if column is not None]
    missing = np.hstack([_gaps(column) for column in present])
    data = np.hstack([column.data for column in present])
    return [Tensor(reader.rules[0].spec.name, present[0].datatype, data, missing=missing)]


def _one(spec: TensorSpec, gap: bool) -> Tensor | None:  # noqa: FBT001 - read with the call
    """One row of one input; None where its width is not known, or a text has no example."""
    if spec.shape[-1] < 0 or (spec.datatype is Datatype.BYTES and spec.example is None):
        return None
    shape = (1, *spec.shape[1:])
    if spec.datatype is Datatype.BYTES:
        data = np.full(shape, b"" if gap else str(spec.example).encode(), dtype=np.object_)
    else:
        data = np.full(shape, spec.example or 0, dtype=dtype_of(spec.datatype))
        if gap and data.dtype.kind == "f":
            data.fill(np.nan)
    return Tensor(spec.name, spec.datatype, data, missing=np.full(shape, gap))


def _gaps(tensor: Tensor) -> np.ndarray[Any, np.dtype[np.bool_]]:
    return np.zeros(tensor.shape, np.bool_) if tensor.missing is None else tensor.missing


def tensor_of(name: str, result: Any) -> Tensor:  # noqa: ANN401 - array or sparse matrix
    """What a method of an estimator returned as the output of its name."""
    data = _dense(result)
    datatype = datatype_of(data.dtype)
    return Tensor(name, datatype, text.encode(data) if datatype is Datatype.BYTES else data)


def _dense(result: Any) -> Array:  # noqa: ANN401 - array or sparse matrix
    return np.asarray(result.toarray() if hasattr(result, "toarray") else result)


def _output_spec(name: str, estimator: Any, probe: Array | None) -> TensorSpec:  # noqa: ANN401 - any estimator
    if probe is not None:
        return TensorSpec(name, datatype_of(probe.dtype), (-1, *probe.shape[1:]))
    classes = getattr(estimator, "classes_", None)
    if name == "predict":
        dtype = classes.dtype if isinstance(classes, np.ndarray) else np.dtype(np.float64)
        return TensorSpec(name, datatype_of(dtype), (-1,))
    if name == "predict_proba" and isinstance(classes, np.ndarray):
        return TensorSpec(name, Datatype.FP64, (-1, len(classes)))
    return TensorSpec(name, Datatype.FP64, (-1, -1) if name in {"transform", "predict_proba"} else (-1,))


def _labels(estimator: Any, outputs: list[TensorSpec]) -> dict[str, tuple[str, ...]]:  # noqa: ANN401 - any estimator
    """Names of the classes, for the outputs that have a column for each. Of several targets there is a list of them."""
    classes = getattr(estimator, "classes_", None)
    if not isinstance(classes, np.ndarray) or classes.ndim != 1:
        return {}
    return fitting((spec for spec in outputs if spec.name in _OF_CLASSES), telling(classes.tolist()))


def _first_step(estimator: Any) -> Any:  # noqa: ANN401 - any estimator
    steps = getattr(estimator, "steps", None)
    return _first_step(steps[0][1]) if steps else estimator


def _takes_documents(estimator: Any) -> bool:  # noqa: ANN401 - any estimator
    """Whether the first step reads a list of texts rather than a table."""
    return hasattr(_first_step(estimator), "build_analyzer")


def _takes_text(estimator: Any) -> bool:  # noqa: ANN401 - any estimator
    """Whether the first step of a model without column names encodes text."""
    categories = getattr(_first_step(estimator), "categories_", None)
    return isinstance(categories, list) and any(
        isinstance(column, np.ndarray) and column.dtype.kind in "OUST" for column in categories
    )
