"""Writing an estimator in another format, and asking what was written for its results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from pillion.backends.api import ModelLoadError

if TYPE_CHECKING:
    from pathlib import Path

    from pillion.model_conversion.samples import Samples

__all__ = ["METHODS", "Converted", "onnx", "skops"]

Array = np.ndarray[Any, np.dtype[Any]]

METHODS: Final = ("predict", "predict_proba", "decision_function", "transform")


class Converted(Protocol):
    """A model in its new format."""

    foreign_types: list[str]
    """Types that whoever serves it has to trust."""
    versions: dict[str, str]
    """Libraries that wrote it."""

    def rows(self, rows: Any) -> Any:  # noqa: ANN401 - array or data frame
        """The samples as the format can express them."""
        ...

    def results(self, rows: Any) -> dict[str, Array]:  # noqa: ANN401 - as above
        """Results by the method of the estimator that they stand for."""
        ...


class _Skops:
    def __init__(self, estimator: Any, foreign: list[str]) -> None:  # noqa: ANN401 - any estimator
        import skops as library  # noqa: PLC0415 - each format imports its own libraries

        self._estimator = estimator
        self.foreign_types = foreign
        self.versions = {"skops": library.__version__}

    def rows(self, rows: Any) -> Any:  # noqa: ANN401 - array or data frame
        return rows

    def results(self, rows: Any) -> dict[str, Array]:  # noqa: ANN401 - as above
        return results_of(self._estimator, rows)


def skops(estimator: Any, path: Path) -> Converted:  # noqa: ANN401 - any estimator
    """Write a skops file and read it back.

    Raises:
        ModelLoadError: it holds what a skops file cannot, or what nobody could trust.
    """
    import skops.io as library  # noqa: PLC0415 - as above

    from pillion.backends import sklearn_trust  # noqa: PLC0415 - as above

    try:
        library.dump(estimator, path)
        unknown = library.get_untrusted_types(file=path)
    except Exception as error:
        raise ModelLoadError(
            f"a skops file cannot hold this model: {type(error).__name__}: {error}", "try -o model.onnx"
        ) from error
    verdict = sklearn_trust.judge(unknown)
    hopeless = [name for name in verdict.refused if not sklearn_trust.trustable(name)]
    if hopeless:
        raise ModelLoadError(
            f"the model holds {', '.join(hopeless)}, which a skops file may never name", "try -o model.onnx"
        )
    # The source was opened by consent and its classes are installed here: reading it back runs nothing new.
    return _Skops(library.load(path, trusted=verdict.accepted + verdict.refused), verdict.refused)


class _Onnx:
    def __init__(self, session: Any, estimator: Any, versions: dict[str, str]) -> None:  # noqa: ANN401 - untyped libraries
        self._session = session
        self._estimator = estimator
        self._outputs = _methods_of(estimator)
        self.foreign_types: list[str] = []
        self.versions = versions

    def rows(self, rows: Any) -> Any:  # noqa: ANN401 - array or data frame
        """In single precision, which is what the converted model computes in."""
        rows = expressed(self._estimator, rows)
        if isinstance(rows, np.ndarray):
            return rows.astype(np.float32)
        numbers = rows.select_dtypes("number").columns
        return rows.astype(dict.fromkeys(numbers, np.float32))

    def results(self, rows: Any) -> dict[str, Array]:  # noqa: ANN401 - as above
        results = self._session.run(None, feed(rows))
        return dict(zip(self._outputs, (np.asarray(result) for result in results), strict=False))


def onnx(estimator: Any, path: Path, samples: Samples) -> Converted:  # noqa: ANN401 - any estimator
    """Write an ONNX file and load it.

    Raises:
        ModelLoadError: the converter is not installed, or does not know the model.
    """
    try:
        import onnxruntime  # noqa: PLC0415 - as above
        import skl2onnx  # noqa: PLC0415 - as above
    except ModuleNotFoundError as error:
        raise ModelLoadError(
            f"ONNX needs {error.name}, which is not installed", "pip install 'pillion[convert]'"
        ) from error
    # Classifiers put out a list of dictionaries unless told not to.
    options = {id(estimator): {"zipmap": False}} if callable(getattr(estimator, "predict_proba", None)) else None
    try:
        model = skl2onnx.convert_sklearn(
            estimator, initial_types=_types(expressed(estimator, samples.rows)), options=options
        )
    except Exception as error:
        raise ModelLoadError(
            f"skl2onnx cannot convert this model: {type(error).__name__}: {' '.join(str(error).split())[:300]}",
            "try -o model.skops",
        ) from error
    path.write_bytes(model.SerializeToString())
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    versions = {"skl2onnx": skl2onnx.__version__, "onnxruntime": onnxruntime.__version__}
    return _Onnx(session, estimator, versions)


def results_of(estimator: Any, rows: Any) -> dict[str, Array]:  # noqa: ANN401 - any estimator and its rows
    """What the estimator's methods return."""
    found = {name: method for name in METHODS if callable(method := getattr(estimator, name, None))}
    return {name: _dense(method(rows)) for name, method in found.items()}


def expressed(estimator: Any, rows: Any) -> Any:  # noqa: ANN401 - any estimator; array or data frame
    """The rows as the ONNX model takes them: columns by name where the estimator picks them by name, else a matrix."""
    if isinstance(rows, np.ndarray) or rows.select_dtypes("number").shape != rows.shape:
        return rows
    return rows if _picks_columns(estimator) else rows.to_numpy()


def _picks_columns(estimator: Any) -> bool:  # noqa: ANN401 - any estimator
    from sklearn.compose import ColumnTransformer  # noqa: PLC0415 - each format imports its own libraries

    parts = [estimator]
    if callable(getattr(estimator, "get_params", None)):
        parts += estimator.get_params(deep=True).values()
    return any(isinstance(part, ColumnTransformer) for part in parts)


def feed(rows: Any) -> dict[str, Array]:  # noqa: ANN401 - array or data frame
    """The samples as inputs of the ONNX model: one, or one per named column."""
    if isinstance(rows, np.ndarray):
        return {"X": rows}
    return {str(name): rows[[name]].to_numpy() for name in rows.columns}


def _types(rows: Any) -> list[tuple[str, Any]]:  # noqa: ANN401 - as above
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType  # noqa: PLC0415 - as above

    if isinstance(rows, np.ndarray):
        return [("X", FloatTensorType([None, rows.shape[1]]))]
    kinds = {name: FloatTensorType if rows[name].dtype.kind in "biuf" else StringTensorType for name in rows.columns}
    return [(str(name), kind([None, 1])) for name, kind in kinds.items()]


def _methods_of(estimator: Any) -> tuple[str, ...]:  # noqa: ANN401 - any estimator
    """The methods that the outputs of the converted model stand for, in their order."""
    if callable(getattr(estimator, "predict_proba", None)):
        return ("predict", "predict_proba")
    if callable(getattr(estimator, "predict", None)):
        return ("predict",)
    return ("transform",)


def _dense(result: Any) -> Array:  # noqa: ANN401 - array or sparse matrix
    return np.asarray(result.toarray() if hasattr(result, "toarray") else result)
