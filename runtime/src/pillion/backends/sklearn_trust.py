"""Which types a skops file may name: skops' own list, and known families of scikit-learn's classes.

skops builds an object only if its type is trusted. Its default list leaves out what fitted forests, neighbours and
Gaussian processes are made of, since their content is indexed without checks. Those families are accepted here, by
class and not by name alone, and :mod:`pillion.backends.sklearn_integrity` checks the content of the indexed ones.
``numpy.dtype`` is accepted as well: skops reads it as the type of an array that it loads without pickle.
Functions, and classes of any other package, are accepted only where the model's owner or the platform names them: never
because the artifact asks for them. Parts of Python's standard library that reach the machine cannot be named at all: to
load a file with one of them is to run what its author wrote, which is what ``allowPickle`` is there to say.
"""

from __future__ import annotations

import inspect
import sys
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

__all__ = ["Verdict", "judge", "remedy", "trustable"]

_FAMILIES: Final = (
    "sklearn.base.BaseEstimator",
    "sklearn.compose._column_transformer.make_column_selector",
    "sklearn.tree._tree.Tree",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.gaussian_process.kernels.Kernel",
    "sklearn.metrics._dist_metrics.DistanceMetric",
    "sklearn.metrics._dist_metrics.DistanceMetric32",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neighbors._kd_tree.KDTree32",
    "sklearn.neighbors._ball_tree.BallTree",
    "sklearn.neighbors._ball_tree.BallTree32",
    "sklearn.utils._bunch.Bunch",
)
_VALUES: Final = frozenset({"numpy.dtype"})
"""What imputers keep of the tables that they were fitted on."""
_NEVER_IMPORTED: Final = frozenset({"tests", "conftest", "externals", "datasets", "_build_utils"})
_HARMLESS: Final = frozenset(
    {"collections", "datetime", "decimal", "enum", "fractions", "functools", "operator", "uuid", "zoneinfo"}
)
"""Modules of the standard library that hold data and pure functions."""
_RUN_CODE: Final = frozenset({"joblib", "numpy.f2py", "numpy.testing", "pip", "setuptools", "cloudpickle", "dill"})
"""Packages in every environment that offer to run what they are given."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of the types that skops does not trust by itself."""

    accepted: list[str]
    refused: list[str]
    gone: list[str]
    """Names of scikit-learn that the installed version does not have."""


def judge(names: Iterable[str], trusted: Collection[str] = ()) -> Verdict:
    """Sort skops' untrusted type names.

    Args:
        names: the types that the file holds.
        trusted: those that the model's owner or the platform named.
    """
    verdict = Verdict([], [], [])
    for name in sorted(names):
        if _in_family(name) or (name in trusted and trustable(name)):
            verdict.accepted.append(name)
        elif _of_sklearn(_split(name)[0]) and _resolve(*_split(name)) is None:
            verdict.gone.append(name)
        else:
            verdict.refused.append(name)
    return verdict


def trustable(name: str) -> bool:
    """Whether a type may be trusted by name."""
    module = _split(name)[0]
    root = module.partition(".")[0]
    if any(module == package or module.startswith(f"{package}.") for package in _RUN_CODE):
        return False
    return bool(module) and (root in _HARMLESS or root not in sys.stdlib_module_names)


def remedy(refused: Collection[str]) -> str:
    """What to do about types that were refused: the line to add, where adding one can help."""
    if not all(trustable(name) for name in refused):
        return (
            "train the model without them; if its origin is trusted, save it with joblib and accept the risk:"
            " --allow-pickle or allowPickle: true"
        )
    flags = " ".join(f"--trust {name}" for name in refused)
    return f"if you trust their code, add trustedTypes: [{', '.join(refused)}] to the model, or {flags}"


def _in_family(name: str) -> bool:
    if name in _VALUES:
        return True
    module, attribute = _split(name)
    if not _of_sklearn(module):
        return False
    found = _resolve(module, attribute)
    # The class must be at home in the module that the file names: a name borrowed by an import does not count.
    if not inspect.isclass(found) or found.__module__ != module or found.__name__ != attribute:
        return False
    families = [_resolve(*family.rsplit(".", 1)) for family in _FAMILIES]
    return any(inspect.isclass(family) and issubclass(found, family) for family in families)


def _of_sklearn(module: str) -> bool:
    """Whether it is a module of scikit-learn that may be imported because a file names it."""
    segments = module.split(".")
    return segments[0] == "sklearn" and not _NEVER_IMPORTED.intersection(segments)


def _split(name: str) -> tuple[str, str]:
    module, _, attribute = name.rpartition(".")
    return module, attribute


def _resolve(module: str, attribute: str) -> object | None:
    try:
        found: object = getattr(import_module(module), attribute, None)
    except ImportError:
        return None
    return found
