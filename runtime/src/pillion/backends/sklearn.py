"""scikit-learn models: skops files, and pickles where their owner allows them.

The input is a matrix named ``input``; since there is only one, a single tensor of any name is taken, as existing
clients of scikit-learn servers send many. Of an estimator fitted on a data frame the columns are inputs by name: beside
the matrix where one datatype holds them all, instead of it where they differ. Outputs are the estimator's methods:
``predict`` (the default), ``predict_proba``, ``decision_function``, ``transform``.
"""

from __future__ import annotations

import logging
import pickle
import threading
import warnings
from typing import TYPE_CHECKING, Any, Final

import joblib
import sklearn
import skops.io
from sklearn.exceptions import InconsistentVersionWarning

from pillion.backends import sklearn_integrity, sklearn_trust
from pillion.backends.api import LoadOptions, ModelLoadError
from pillion.backends.detect import FileKind, kind_of, pickle_refusal
from pillion.backends.sklearn_model import SklearnModel
from pillion.model import Libraries

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["BACKEND"]

_log = logging.getLogger(__name__)
_WARNINGS = threading.Lock()
"""Python's warning filters belong to the process: only one load at a time may replace them."""


class SklearnBackend:
    """Loads ``.skops``, and with ``allow_pickle`` also ``.joblib``, ``.pkl`` and ``.pickle``."""

    def load(self, path: Path, options: LoadOptions) -> SklearnModel:
        """Load a fitted estimator."""
        kind = kind_of(path)
        if kind is FileKind.PICKLE:
            if not options.allow_pickle:
                raise pickle_refusal(path)
            estimator, saved = _with_version(lambda: _unpickle(path))
        elif kind is FileKind.SKOPS:
            estimator, saved = _with_version(lambda: _load_skops(path))
            sklearn_integrity.check(estimator)
        else:
            raise ModelLoadError(f"{path.name} holds a {kind.value} model", "declare its format")
        if not callable(getattr(estimator, "fit", None)):
            raise ModelLoadError(
                f"{path.name} holds a {type(estimator).__name__}, which is not a scikit-learn estimator",
                "save the fitted estimator itself",
            )
        libraries = Libraries(saved=f"scikit-learn {saved}", loading=f"scikit-learn {sklearn.__version__}")
        if libraries.saved != libraries.loading:
            _log.warning(
                "%s was saved by %s and is loaded by %s: results may differ", path, libraries.saved, libraries.loading
            )
        # Requests bring arrays, never named columns: the warning would be repeated for each of them.
        with _WARNINGS:
            warnings.filterwarnings("ignore", message="X does not have valid feature names", category=UserWarning)
        with _WARNINGS, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the model is tried with rows of examples and of missing values
            return SklearnModel(estimator, platform=f"sklearn_{kind.value}", libraries=libraries)


def _load_skops(path: Path) -> object:
    unknown = _readable(path, lambda: skops.io.get_untrusted_types(file=path))
    not_accepted = sklearn_trust.refused(unknown)
    if not_accepted:
        raise ModelLoadError(
            f"{path.name} holds types that are not trusted: {', '.join(not_accepted)}",
            "train the model without them; if its origin is trusted, save it with joblib and accept the risk"
            " with --allow-pickle or allowPickle: true",
        )
    loaded: object = _readable(path, lambda: skops.io.load(path, trusted=sklearn_trust.accepted(unknown)))
    return loaded


def _readable(path: Path, read: Callable[[], Any]) -> Any:  # noqa: ANN401 - skops returns whatever the file holds
    try:
        return read()
    except RecursionError as error:
        raise ModelLoadError(f"{path.name} is nested too deeply", "save it again with skops.io.dump") from error
    except Exception as error:
        raise ModelLoadError(
            f"{path.name} could not be read as skops: {type(error).__name__}: {error}",
            "it may be cut short: upload it again",
        ) from error


def _unpickle(path: Path) -> object:
    try:
        loaded: object = joblib.load(path)
    except (pickle.UnpicklingError, EOFError, KeyError, IndexError) as error:
        raise ModelLoadError(f"{path.name} is damaged or not a pickle", "upload it again") from error
    except ModuleNotFoundError as error:
        raise ModelLoadError(
            f"{path.name} needs the Python module {error.name!r}, which is not installed",
            "install it in the image, or train the model without it",
        ) from error
    return loaded


def _with_version(load: Callable[[], object]) -> tuple[object, str]:
    """The object and the version of scikit-learn that saved it, which only the warning at loading tells."""
    with _WARNINGS, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loaded = load()
    saved: Any = sklearn.__version__
    for warning in caught:
        if isinstance(warning.message, InconsistentVersionWarning):
            saved = warning.message.original_sklearn_version
        else:
            _log.info("while loading: %s", warning.message)
    return loaded, str(saved)


BACKEND: Final = SklearnBackend()
