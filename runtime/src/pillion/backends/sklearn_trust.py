"""Which types a skops file may name: skops' own list, and known families of scikit-learn's classes.

skops builds an object only if its type is trusted. Its default list leaves out what fitted forests, neighbours and
Gaussian processes are made of, since their content is indexed without checks. Those families are accepted here, by
class and not by name alone, and :mod:`pillion.backends.sklearn_integrity` checks the content of the indexed ones.
``numpy.dtype`` is accepted as well: skops reads it as the type of an array that it loads without pickle.
Functions, and classes of any other package, are never accepted.
"""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["accepted", "refused"]

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


def accepted(names: Iterable[str]) -> list[str]:
    """Those of skops' untrusted type names that are accepted."""
    return [name for name in names if _in_family(name)]


def refused(names: Iterable[str]) -> list[str]:
    """Those that are not, sorted."""
    return sorted(name for name in names if not _in_family(name))


def _in_family(name: str) -> bool:
    if name in _VALUES:
        return True
    module, _, attribute = name.rpartition(".")
    segments = module.split(".")
    if segments[0] != "sklearn" or _NEVER_IMPORTED.intersection(segments):
        return False
    found = _resolve(module, attribute)
    # The class must be at home in the module that the file names: a name borrowed by an import does not count.
    if not inspect.isclass(found) or found.__module__ != module or found.__name__ != attribute:
        return False
    families = [_resolve(*family.rsplit(".", 1)) for family in _FAMILIES]
    return any(inspect.isclass(family) and issubclass(found, family) for family in families)


def _resolve(module: str, attribute: str) -> object | None:
    try:
        found: object = getattr(import_module(module), attribute, None)
    except ImportError:
        return None
    return found
