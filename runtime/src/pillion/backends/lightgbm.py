"""LightGBM models in its own text format, which cannot run code.

The file holds a booster, so ``predict`` answers what ``Booster.predict`` does in Python: probabilities for a
classifier, the value for a regressor. Classifiers have ``predict_proba`` as well, with a column for each class. A value
may be missing anywhere, and a category that was not in training counts as missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pillion.backends import lightgbm_file
from pillion.backends.api import LoadOptions, ModelLoadError
from pillion.backends.boosted import BoostedModel, Feature, classes, unchanged
from pillion.backends.boosted_calls import lightgbm_call, verified
from pillion.model import Libraries

try:
    import lightgbm as lgb
except OSError as error:  # its library is there, and one that it needs itself is not
    raise ModelLoadError(f"LightGBM cannot be loaded: {error}", "install OpenMP: apt-get install libgomp1") from error

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pillion.backends.lightgbm_file import Header

__all__ = ["BACKEND"]

Array = np.ndarray[Any, np.dtype[Any]]
_CLASSIFIERS: Final = frozenset({"binary", "multiclass", "multiclassova"})


class LightGBMBackend:
    """Loads ``.txt``."""

    def load(self, path: Path, options: LoadOptions) -> BoostedModel:
        """Load a booster, to run with ``options.intra_op_threads()`` threads in a call.

        The text is checked first: LightGBM ends the process when it meets a damaged tree.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise lightgbm_file.damaged(path.name, "it is not text") from error
        header = lightgbm_file.check(text, path.name)
        try:
            booster = lgb.Booster(model_str=text)
        except lgb.basic.LightGBMError as error:
            raise lightgbm_file.damaged(path.name, " ".join(str(error).split())[:200]) from error
        threads = options.intra_op_threads()
        width = booster.num_feature()

        def library(matrix: Array) -> Array:
            return np.asarray(booster.predict(matrix, num_threads=threads))

        outputs: dict[str, Callable[[Array], Array]] = {"predict": unchanged}
        if header.objective in _CLASSIFIERS:
            outputs["predict_proba"] = classes
        return BoostedModel(
            platform="lightgbm_txt",
            features=_features(booster, header, path.name),
            named=not header.counted,
            dtype=np.dtype(np.float64),
            raw=verified(library, lambda: lightgbm_call(booster, threads, width, library), width, np.dtype(np.float64)),
            outputs=outputs,
            refuses_unknown=False,
            libraries=Libraries(saved=options.saved, loading={"lightgbm": lgb.__version__}),
        )


def _features(booster: lgb.Booster, header: Header, name: str) -> list[Feature]:
    """The columns; the categories that pandas had are given to the columns that were categories, in their order."""
    known = booster.pandas_categorical or []
    positions = header.categorical
    if known and len(positions) != len(known):
        raise ModelLoadError(
            f"{name} has the categories of {len(known)} columns and does not say which of its columns they are",
            "train with the categories as numbers, or name the columns in categorical_feature",
        )
    categories = dict(zip(positions, known, strict=True)) if known else {}
    return [
        Feature(column, tuple(categories[position]) if position in categories else None)
        for position, column in enumerate(header.names)
    ]


BACKEND: Final = LightGBMBackend()
