"""XGBoost models in its own formats, JSON and UBJSON: neither can run code.

What ``predict`` answers is what the saved object answers in Python: the class for a classifier of its scikit-learn
interface, else the prediction of the booster. Classifiers have ``predict_proba`` as well. A value may be missing
anywhere.
"""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import xgboost as xgb

from pillion.backends import xgboost_file
from pillion.backends.api import LoadOptions, ModelLoadError
from pillion.backends.boosted import BoostedModel, Feature, classes, largest, more_likely, unchanged
from pillion.backends.boosted_calls import verified, xgboost_call
from pillion.backends.devices import cuda_index, refused
from pillion.model import Libraries

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pillion.backends.xgboost_file import Document

__all__ = ["BACKEND"]

Array = np.ndarray[Any, np.dtype[Any]]
_PROBABILITIES: Final = frozenset({"binary:logistic", "multi:softprob"})


class XGBoostBackend:
    """Loads ``.json`` and ``.ubj``."""

    def load(self, path: Path, options: LoadOptions) -> BoostedModel:
        """Load a booster, to run with ``options.intra_op_threads()`` threads in a call.

        Trees compute on the processor unless CUDA is asked for: rows come in the machine's memory.
        """
        threads = options.intra_op_threads()
        booster = xgb.Booster({"nthread": threads, "verbosity": 0})
        try:
            booster.load_model(bytearray(path.read_bytes()))
            booster.set_param({"nthread": threads})
            document = xgboost_file.read(booster.save_raw("json"))
        except (xgb.core.XGBoostError, UnicodeDecodeError) as error:
            raise ModelLoadError(
                f"{path.name} is not a whole XGBoost model: {_sentence(error)}",
                "write it with model.save_model('model.json'), or upload it again",
            ) from error
        xgboost_file.check(document, path.name)
        on_cuda = _to_device(booster, options.asked_device())
        named = bool(booster.feature_names)
        return BoostedModel(
            platform="xgboost_json",
            features=_features(booster, document),
            named=named,
            dtype=np.dtype(np.float32),
            raw=_predictor(booster, document, on_cuda=on_cuda),
            outputs=_outputs(document),
            refuses_unknown=True,
            libraries=Libraries(
                saved={"xgboost": ".".join(map(str, document.version))}, loading={"xgboost": xgb.__version__}
            ),
        )


def _to_device(booster: xgb.Booster, asked: str | None) -> bool:
    """Move the booster to the device; whether that is one of CUDA.

    Raises:
        ModelLoadError: there is no such device, or the library knows none.
    """
    index = None if asked in {None, "auto"} else cuda_index(str(asked))
    if index is None:
        return False
    if not xgb.build_info().get("USE_CUDA"):
        raise refused(
            str(asked), "this build of XGBoost has no CUDA", "cpu or auto, or install XGBoost's build with it"
        )
    try:
        booster.set_param({"device": f"cuda:{index}"})
        found = json.loads(booster.save_config())["learner"]["generic_param"]["device"]
    except xgb.core.XGBoostError as error:
        raise refused(str(asked), _sentence(error)) from error
    if not str(found).startswith("cuda"):  # it says so on standard error only, and computes on the processor
        raise refused(str(asked), "XGBoost sees no such device")
    return True


def _features(booster: xgb.Booster, document: Document) -> list[Feature]:
    count = booster.num_features()
    names = booster.feature_names or [f"f{position}" for position in range(count)]
    categories = xgboost_file.categories(document, count)
    return [Feature(name, known) for name, known in zip(names, categories, strict=True)]


def _predictor(booster: xgb.Booster, document: Document, *, on_cuda: bool) -> Callable[[Array], Array]:
    """The booster's own prediction; of its best iteration where training was stopped early, as in Python."""
    best = booster.attr("best_iteration")
    iterations = (0, int(best) + 1) if best is not None and best.isdecimal() else (0, 0)
    if document.learner.gradient_booster.name != "gblinear":

        def library(matrix: Array) -> Array:
            return np.asarray(booster.inplace_predict(matrix, iteration_range=iterations, validate_features=False))

        if on_cuda:  # the C function below is for the processor
            return library
        width = booster.num_features()
        return verified(library, lambda: xgboost_call(booster, iterations, library), width, np.dtype(np.float32))
    # A linear booster takes no matrix in place, and is not made for several threads.
    lock = threading.Lock()

    def linear(matrix: Array) -> Array:
        with lock:
            return np.asarray(booster.predict(xgb.DMatrix(matrix), validate_features=False))

    return linear


def _outputs(document: Document) -> dict[str, Callable[[Array], Array]]:
    objective = document.learner.objective.name
    outputs: dict[str, Callable[[Array], Array]] = {"predict": unchanged}
    if xgboost_file.is_classifier(document):
        outputs["predict"] = largest if objective == "multi:softprob" else more_likely
    if objective in _PROBABILITIES:
        outputs["predict_proba"] = classes
    return outputs


def _sentence(error: Exception) -> str:
    """XGBoost's message without time, source line and stack."""
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return first.rsplit(": ", 1)[-1][:200]


BACKEND: Final = XGBoostBackend()
