"""A fitted estimator as a model of tensors: what it declares, and the conversions around each call."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pillion.backends import text
from pillion.backends.api import InputRule
from pillion.model import Libraries, ModelMetadata
from pillion.tensors import Datatype, Tensor, TensorSpec, datatype_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pillion.execution.api import Interrupt

__all__ = ["INPUT", "SklearnModel"]

Array = np.ndarray[Any, np.dtype[Any]]

_log = logging.getLogger(__name__)

INPUT: Final = "input"
_METHODS: Final = ("predict", "predict_proba", "decision_function", "transform")
_NUMBERS: Final = frozenset(Datatype) - {Datatype.BYTES}


class SklearnModel:
    """A fitted estimator. Its methods do not change it, so several threads may call it at once."""

    any_input_name = True

    def __init__(self, estimator: Any, platform: str, libraries: Libraries) -> None:  # noqa: ANN401 - any estimator
        self.libraries: Libraries | None = libraries
        self._text = _takes_text(estimator)
        self._flat = self._text and _takes_documents(estimator)
        columns = int(getattr(estimator, "n_features_in_", -1))
        self._methods: dict[str, Callable[[Array], Any]] = {
            name: method for name in _METHODS if callable(method := getattr(estimator, name, None))
        }
        self._dtype: np.dtype[Any] = np.dtype(np.float64)
        probes = self._probe(columns)
        dimensions = (-1,) if self._flat else (-1, columns)
        datatype = Datatype.BYTES if self._text else datatype_of(self._dtype)
        spec = TensorSpec(INPUT, datatype, dimensions)
        accepts = frozenset({Datatype.BYTES}) if self._text else _NUMBERS
        self.rules = (InputRule(spec, accepts, shapes=((-1, 1),) if self._flat else ()),)
        outputs = [_output_spec(name, estimator, probes.get(name)) for name in self._methods]
        self.metadata = ModelMetadata(platform, (spec,), tuple(outputs))
        self.default_outputs = (next(iter(self._methods)),) if self._methods else ()

    def _probe(self, columns: int) -> dict[str, Array]:
        """Results of each method for one row of zeros: the surest source of output types and shapes.

        Some estimators only take the precision they were trained with; where FP64 fails and FP32 works, FP32 is
        declared. Zeros may be invalid for the model (a category never seen): then the estimator's attributes decide.
        """
        if columns < 0 or self._text:
            return {}
        for dtype in (np.dtype(np.float64), np.dtype(np.float32)):
            try:
                results = {name: method(np.zeros((1, columns), dtype)) for name, method in self._methods.items()}
            except Exception as error:  # noqa: BLE001 - any estimator may refuse generated input in its own way
                _log.info("zeros of %s are not valid input: %s", dtype, error)
                continue
            self._dtype = dtype
            for name, result in results.items():
                if isinstance(result, (list, tuple)):  # several outputs: no single tensor holds them
                    del self._methods[name]
            return {name: _dense(results[name]) for name in self._methods}
        return {}

    def predict(
        self, inputs: Sequence[Tensor | None], outputs: tuple[str, ...], interrupt: Interrupt | None
    ) -> list[Tensor]:
        """See :class:`~pillion.backends.api.Predictor`. ``interrupt`` is heeded between two methods."""
        given = inputs[0]
        if given is None:
            raise TypeError("the input is missing")
        matrix = self._matrix(given)
        results: list[Tensor] = []
        for name in outputs:
            if interrupt is not None and interrupt.fired:
                raise InterruptedError("the call was given up")
            results.append(_tensor(name, self._methods[name](matrix)))
        return results

    def _matrix(self, given: Tensor) -> Array:
        data = given.data
        if self._text:
            decoded = text.decode(data, given.name)
            return decoded.ravel() if self._flat else decoded
        if given.datatype is Datatype.BF16:  # the upper half of an FP32's bits
            data = (data.astype(np.uint32) << 16).view(np.float32)
        return data.astype(self._dtype, copy=False)

    def close(self) -> None:
        """Nothing outside Python's memory."""


def _tensor(name: str, result: Any) -> Tensor:  # noqa: ANN401 - array or sparse matrix
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


def _first_step(estimator: Any) -> Any:  # noqa: ANN401 - any estimator
    steps = getattr(estimator, "steps", None)
    return _first_step(steps[0][1]) if steps else estimator


def _takes_documents(estimator: Any) -> bool:  # noqa: ANN401 - any estimator
    """Whether the first step reads a list of texts rather than a table."""
    return hasattr(_first_step(estimator), "build_analyzer")


def _takes_text(estimator: Any) -> bool:  # noqa: ANN401 - any estimator
    """Whether the model was fitted on text: a vectoriser of documents, or an encoder of text categories."""
    if _takes_documents(estimator):
        return True
    categories = getattr(_first_step(estimator), "categories_", None)
    return isinstance(categories, list) and any(
        isinstance(column, np.ndarray) and column.dtype.kind in "OUST" for column in categories
    )
