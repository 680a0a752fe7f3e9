"""The C functions of XGBoost and LightGBM give what the Python methods give, and give way to them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import lightgbm as lgb
import numpy as np
import pytest
import xgboost as xgb
from sklearn.datasets import make_classification

from pillion.backends.boosted_calls import lightgbm_call, verified, xgboost_call

if TYPE_CHECKING:
    from collections.abc import Callable

Array = np.ndarray[Any, np.dtype[Any]]
WIDTH = 6
FEATURES, CLASSES = make_classification(300, WIDTH, n_informative=4, n_classes=3, random_state=0)


def trained(library: str, objective: str) -> tuple[Callable[[Array], Array], Callable[[Array], Array], Array]:
    """The library's own method, ours, and the rows as both take them."""
    target = CLASSES if "multi" in objective else CLASSES > 0
    of = {"num_class": 3} if "multi" in objective else {}
    if library == "lightgbm":
        light = lgb.train({"objective": objective, "verbosity": -1, **of}, lgb.Dataset(FEATURES, target), 10)

        def predict(matrix: Array) -> Array:
            return np.asarray(light.predict(matrix, num_threads=1))

        return predict, lightgbm_call(light, 1, WIDTH, predict), FEATURES
    heavy = xgb.train({"objective": objective, "nthread": 1, **of}, xgb.DMatrix(FEATURES, target), 10)

    def in_place(matrix: Array) -> Array:
        return np.asarray(heavy.inplace_predict(matrix, validate_features=False))

    return in_place, xgboost_call(heavy, (0, 0), in_place), FEATURES.astype(np.float32)


KINDS = [
    ("lightgbm", "binary"),
    ("lightgbm", "multiclass"),
    ("xgboost", "binary:logistic"),
    ("xgboost", "multi:softprob"),
]


@pytest.mark.parametrize(("library", "objective"), KINDS)
@pytest.mark.parametrize("rows", [0, 1, 2, 300])
def test_results_are_the_librarys_own_to_the_last_bit(library: str, objective: str, rows: int) -> None:
    own, ours, features = trained(library, objective)
    np.testing.assert_array_equal(own(features[:rows]), ours(features[:rows]))


@pytest.mark.parametrize(("library", "objective"), KINDS)
def test_threads_do_not_get_each_others_results(library: str, objective: str) -> None:
    own, ours, features = trained(library, objective)
    expected = own(features)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda row: ours(features[row : row + 1])[0], range(len(features))))
    np.testing.assert_array_equal(expected, np.array(found))


@pytest.mark.parametrize(("library", "objective"), KINDS)
def test_rows_that_do_not_lie_one_after_another_are_taken(library: str, objective: str) -> None:
    own, ours, features = trained(library, objective)
    np.testing.assert_array_equal(own(features[::3]), ours(features[::3]))
    np.testing.assert_array_equal(own(features[:5]), ours(np.asfortranarray(features[:5])))


def test_a_function_that_differs_gives_way_to_the_method() -> None:
    def own(matrix: Array) -> Array:
        return np.asarray(matrix.sum(axis=1))

    assert own is verified(own, lambda: lambda matrix: matrix.sum(axis=1) + 1e-9, WIDTH, np.dtype(np.float64))


def test_a_name_that_is_gone_gives_way_to_the_method() -> None:
    def own(matrix: Array) -> Array:
        return np.asarray(matrix.sum(axis=1))

    def gone() -> Callable[[Array], Array]:
        raise AttributeError("_LIB")

    assert own is verified(own, gone, WIDTH, np.dtype(np.float64))


@pytest.mark.parametrize(("library", "objective"), KINDS)
def test_the_function_is_what_is_used(library: str, objective: str) -> None:
    own, ours, features = trained(library, objective)
    assert ours is verified(own, lambda: ours, WIDTH, features.dtype)
