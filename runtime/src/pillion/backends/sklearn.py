"""scikit-learn models: skops files, and pickles where policy and owner allow them.

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

from pillion.backends import sklearn_integrity, sklearn_trust, sklearn_versions
from pillion.backends.api import LoadFailure, LoadOptions, ModelLoadError
from pillion.backends.detect import FileKind, kind_of
from pillion.backends.sklearn_model import SklearnModel
from pillion.backends.unsafe import unsafe_refusal
from pillion.libraries import mismatches
from pillion.model import Libraries

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
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
                raise unsafe_refusal(path, kind)
            estimator, saved = _with_versions(path, options.saved, lambda: _unpickle(path))
        elif kind is FileKind.SKOPS:
            saved = _readable(path, lambda: sklearn_versions.saved_by_skops(path))
            trusted = _trusted(path, saved, options.trusted_types)
            estimator, saved = _with_versions(path, saved, lambda: _load_skops(path, trusted))
            sklearn_integrity.check(estimator)
        else:
            raise ModelLoadError(f"{path.name} holds a {kind.value} model", "declare its format")
        if not callable(getattr(estimator, "fit", None)):
            raise ModelLoadError(
                f"{path.name} holds a {type(estimator).__name__}, which is not a scikit-learn estimator",
                "save the fitted estimator itself",
            )
        libraries = Libraries(saved, sklearn_versions.loading_versions())
        for mismatch in mismatches(libraries.saved, libraries.loading):
            _log.warning("%s was %s: results may differ", path, mismatch)
        # Requests bring arrays, never named columns: the warning would be repeated for each of them.
        with _WARNINGS:
            warnings.filterwarnings("ignore", message="X does not have valid feature names", category=UserWarning)
        with _WARNINGS, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the model is tried with rows of examples and of missing values
            return SklearnModel(estimator, f"sklearn_{kind.value}", libraries, options.columns)


def _trusted(path: Path, saved: Mapping[str, str], trusted: Collection[str]) -> list[str]:
    """The types in the file besides those that skops trusts itself.

    Raises:
        ModelLoadError: some are trusted by nobody; lists them, and the line that would trust them.
    """
    unknown: list[str] = _readable(path, lambda: skops.io.get_untrusted_types(file=path))
    verdict = sklearn_trust.judge(unknown, trusted)
    if verdict.gone:
        problem = f"{', '.join(verdict.gone)} is not there"
        raise sklearn_versions.mismatch_refusal(path, saved, problem) or ModelLoadError(
            f"{path.name} needs what this scikit-learn does not have: {', '.join(verdict.gone)}",
            "save it again with the version that loads it",
            LoadFailure.LIBRARY_MISMATCH,
        )
    if verdict.refused:
        raise ModelLoadError(
            f"{path.name} holds types that are not trusted: {', '.join(verdict.refused)}",
            sklearn_trust.remedy(verdict.refused),
            LoadFailure.UNTRUSTED_TYPES,
        )
    return verdict.accepted


def _load_skops(path: Path, trusted: list[str]) -> object:
    loaded: object = _readable(path, lambda: skops.io.load(path, trusted=trusted))
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


def _with_versions(
    path: Path, saved: Mapping[str, str], load: Callable[[], object]
) -> tuple[object, Mapping[str, str]]:
    """The object, and the versions that saved it: for a pickle only a warning while it is loaded tells.

    Raises:
        ModelLoadError: it cannot be loaded, and versions are the likely reason.
    """
    with _WARNINGS, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            loaded = load()
        except Exception as error:
            known = {**saved, **sklearn_versions.saved_by_warnings(caught)}
            refusal = sklearn_versions.mismatch_refusal(path, known, f"{type(error).__name__}: {error}")
            if refusal is None:
                raise
            raise refusal from error
    for warning in caught:
        _log.info("while loading: %s", warning.message)
    found = sklearn_versions.saved_by_warnings(caught)
    return loaded, {"scikit-learn": sklearn.__version__, **saved, **found}


BACKEND: Final = SklearnBackend()
