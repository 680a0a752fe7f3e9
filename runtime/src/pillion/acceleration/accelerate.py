"""Whether a loaded model is served by a faster library: converted, compared, measured, and only then taken."""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pillion.acceleration.comparison import difference
from pillion.acceleration.conversion import converted
from pillion.acceleration.job import Unconvertible
from pillion.acceleration.thresholds import rows_for
from pillion.model import Acceleration
from pillion.tensors import Tensor, dtype_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from pillion.acceleration.job import Converted
    from pillion.acceleration.model import AcceleratedModel
    from pillion.backends.api import LoadedModel
    from pillion.backends.sklearn_model import SklearnModel

__all__ = ["accelerated", "refused"]

Array = np.ndarray[Any, np.dtype[Any]]
_log = logging.getLogger(__name__)

_SECONDS: Final = 60.0
"""For converting, in all; a pod that starts has to be ready some day."""
_PRECISIONS: Final = ("double", "float")
"""Tried in this order: most estimators compute in double precision, and not every conversion can."""
_SIZES: Final = (1, 64)
"""Rows of the calls that are measured."""
_LEAST_GAIN: Final = 0.9
"""Of the estimator's time; a smaller gain is not worth another library."""
_TRIES: Final = 5
_OTHERWISE_LABELLED: Final = frozenset({"SVC", "NuSVC", "TunedThresholdClassifierCV", "FixedThresholdClassifier"})
"""Classifiers whose label is not always the likeliest class: support vector machines fit probabilities apart from it,
and the others move the threshold. Rows between the two are few, and a comparison may miss them all."""
_LONG: Final = 0.05


def accelerated(
    model: LoadedModel,
    label: str,
    threads: int,
    seconds: float = _SECONDS,
    convert: Callable[[Any, str, float], Converted | Unconvertible] = converted,
) -> tuple[LoadedModel, Acceleration]:
    """``model``, or what takes its place, and what is to be said of it. Never raises for a model. Blocks.

    Args:
        model: as its backend loaded it.
        label: name and version, for the log.
        threads: inside one call.
        seconds: for converting.
        convert: makes ONNX of an estimator, in a precision, within some seconds.
    """
    from pillion.backends.sklearn_model import SklearnModel  # noqa: PLC0415 - only its models are of interest

    if not isinstance(model, SklearnModel):
        return model, refused(label, "only models of scikit-learn are converted", logging.INFO)
    try:
        return _accelerated(model, label, threads, seconds, convert)
    except Exception as error:  # noqa: BLE001 - parts of an estimator may refuse in any way, and so may a full disk
        return model, refused(label, f"it could not be tried: {type(error).__name__}: {_line(error)}")


def _accelerated(
    model: SklearnModel,
    label: str,
    threads: int,
    seconds: float,
    convert: Callable[[Any, str, float], Converted | Unconvertible],
) -> tuple[LoadedModel, Acceleration]:
    reason = _unfit(model)
    if reason is not None:
        return model, refused(label, reason)
    estimator = model.estimator
    rows = rows_for(estimator, int(estimator.n_features_in_))
    reasons: list[str] = []
    deadline = time.monotonic() + seconds
    for precision in _PRECISIONS:
        if time.monotonic() >= deadline:
            break
        answer = convert(estimator, precision, deadline - time.monotonic())
        if isinstance(answer, Unconvertible):
            reasons.append(answer.reason)
            continue
        outcome = _chosen(model, answer, rows, threads)
        if isinstance(outcome, str):
            reasons.append(f"in {precision} precision {outcome}")
            continue
        other, slow, quick = outcome
        said = f"a row takes {quick * 1e6:.0f} us instead of {slow * 1e6:.0f}, equal in {len(rows)} rows"
        _log.info("model %s: accelerated by ONNX Runtime: %s", label, said)
        return other, Acceleration("onnx", said)
    return model, refused(label, "; ".join(dict.fromkeys(reasons)))


def refused(label: str, reason: str, level: int = logging.WARNING) -> Acceleration:
    """It was asked for and is not done; logged."""
    _log.log(level, "model %s: not accelerated, it serves as it is: %s", label, reason)
    return Acceleration("", reason)


def _unfit(model: SklearnModel) -> str | None:
    """Why converting is not even tried."""
    names = {spec.name for spec in model.metadata.outputs}
    if not model.takes_numbers:
        return "only a matrix of numbers is converted, not texts or a data frame"
    from sklearn.base import is_classifier, is_regressor  # noqa: PLC0415 - only where one is loaded

    classifies = is_classifier(model.estimator)
    if not (classifies or is_regressor(model.estimator)) or "predict" not in names:
        return "it is neither a classifier nor a regressor"
    if classifies and "predict_proba" not in names:
        return "it gives no probabilities, by which near ties are told"
    if classifies and not _OTHERWISE_LABELLED.isdisjoint(_kinds(model.estimator)):
        return "its labels do not follow from its probabilities"
    if not isinstance(getattr(model.estimator, "n_features_in_", None), int):
        return "it does not say how many columns it takes"
    return None


def _kinds(estimator: Any) -> set[str]:  # noqa: ANN401 - any estimator
    """The classes of an estimator and of those that it is made of."""
    return {type(part).__name__ for part in (estimator, *estimator.get_params(deep=True).values())}


def _chosen(
    model: SklearnModel, answer: Converted, rows: Array, threads: int
) -> tuple[AcceleratedModel, float, float] | str:
    """What takes the model's place, with the seconds of a row before and after; or why nothing does."""
    other = _loaded(model, answer, threads)
    if isinstance(other, str):
        return other
    unlike = _unlike(model, other, rows)
    if unlike is not None:
        return f"it answers otherwise: {unlike}"
    measured = {size: _times(model, other, rows[-size:]) for size in _SIZES}
    for size, (slow, quick) in measured.items():
        if quick > slow * _LEAST_GAIN:
            return f"it is not faster: {quick * 1e6:.0f} us against {slow * 1e6:.0f} for {size} rows"
    return other, *measured[_SIZES[0]]


def _loaded(model: SklearnModel, answer: Converted, threads: int) -> AcceleratedModel | str:
    try:
        from pillion.acceleration.model import AcceleratedModel, session_of  # noqa: PLC0415 - ONNX Runtime

        return AcceleratedModel(model, session_of(answer.model, threads), answer.versions, exact=answer.exact)
    except ModuleNotFoundError as error:
        return f"{error.name} is not installed (pip install 'pillion[accelerate]')"
    except Exception as error:  # noqa: BLE001 - ONNX Runtime refuses a model in ways of its own
        return f"ONNX Runtime cannot load the conversion: {_line(error)}"


def _unlike(model: SklearnModel, other: AcceleratedModel, rows: Array) -> str | None:
    """How the two differ on ``rows``; None where they agree."""
    inputs = [_tensor(model, rows)]
    outputs = tuple(sorted(other.outputs))
    try:
        return difference(model.predict(inputs, outputs, None), other.predict(inputs, outputs, None))
    except Exception as error:  # noqa: BLE001 - an estimator may refuse made-up rows in its own way
        return f"they cannot be compared: {type(error).__name__}: {_line(error)}"


def _times(model: SklearnModel, other: AcceleratedModel, rows: Array) -> tuple[float, float]:
    """Seconds of a call with ``rows``, of the one and of the other."""
    inputs = [_tensor(model, rows)]
    slow, quick = (_shortest(partial(which.predict, inputs, which.default_outputs, None)) for which in (model, other))
    return slow, quick


def _shortest(call: Callable[[], object]) -> float:
    """Seconds: the least of some, which other threads disturbed least; of one, where it is long."""
    shortest = float("inf")
    for _ in range(_TRIES):
        began = time.perf_counter()
        call()
        elapsed = time.perf_counter() - began
        shortest = min(shortest, elapsed)
        if elapsed > _LONG:
            break
    return shortest


def _tensor(model: SklearnModel, rows: Array) -> Tensor:
    spec = model.metadata.inputs[0]
    return Tensor(spec.name, spec.datatype, rows.astype(dtype_of(spec.datatype)))


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
