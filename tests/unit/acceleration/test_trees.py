"""The graphs that are written for trees, run by ONNX Runtime and compared with the estimators near thresholds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.datasets import make_classification, make_regression
from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from pillion.acceleration.job import Converted, Unconvertible
from pillion.acceleration.model import session_of
from pillion.acceleration.thresholds import rows_for, thresholds_of
from pillion.acceleration.worker import convert

WIDTH = 6
BINARY = make_classification(400, WIDTH, n_informative=4, random_state=0)
THREE = make_classification(400, WIDTH, n_informative=4, n_classes=3, random_state=1)
NUMBERS = make_regression(400, WIDTH, random_state=2)
NAMES = np.array(["a", "b", "c"])


def run(estimator: Any, rows: np.ndarray[Any, Any]) -> tuple[Converted, np.ndarray[Any, Any]]:
    answer = convert(estimator, "double")
    assert isinstance(answer, Converted), answer
    session = session_of(answer.model, 1)
    [result] = session.run(None, {"X": rows})
    return answer, result


@pytest.mark.parametrize(
    ("estimator", "data"),
    [
        (RandomForestClassifier(30, random_state=0), BINARY),
        (RandomForestClassifier(30, random_state=0), (THREE[0], NAMES[THREE[1]])),
        (RandomForestClassifier(30, random_state=0), (BINARY[0], BINARY[1].astype(bool))),
        (ExtraTreesClassifier(30, random_state=0), THREE),
        (DecisionTreeClassifier(random_state=0), THREE),
        (make_pipeline(StandardScaler(), RandomForestClassifier(30, random_state=0)), BINARY),
    ],
    ids=["two classes", "three texts", "flags", "extra trees", "one tree", "scaled"],
)
def test_votes_of_forests_are_those_of_scikit_learn_to_the_last_bit(estimator: Any, data: Any) -> None:
    estimator.fit(*data)
    rows = rows_for(estimator, WIDTH)
    answer, probabilities = run(estimator, rows)
    assert answer.exact
    np.testing.assert_array_equal(estimator.predict_proba(rows), probabilities)


@pytest.mark.parametrize(
    ("estimator", "data"),
    [
        (RandomForestClassifier(20, min_samples_leaf=5, random_state=0), THREE),
        (HistGradientBoostingClassifier(max_iter=20), BINARY),
        (HistGradientBoostingClassifier(max_iter=10), (THREE[0], NAMES[THREE[1]])),
    ],
    ids=["mixed leaves", "boosted, two classes", "boosted, three texts"],
)
def test_other_probabilities_are_within_single_precision_and_not_called_exact(estimator: Any, data: Any) -> None:
    estimator.fit(*data)
    rows = rows_for(estimator, WIDTH)
    answer, probabilities = run(estimator, rows)
    assert not answer.exact
    np.testing.assert_allclose(probabilities, estimator.predict_proba(rows), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("estimator", "target"),
    [
        (RandomForestRegressor(20, random_state=0), NUMBERS[1]),
        (DecisionTreeRegressor(random_state=0), NUMBERS[1]),
        (HistGradientBoostingRegressor(max_iter=20), NUMBERS[1]),
        (HistGradientBoostingRegressor(loss="poisson", max_iter=20), np.abs(NUMBERS[1])),
    ],
    ids=["forest", "tree", "boosted", "boosted by logarithms"],
)
def test_numbers_are_within_single_precision(estimator: Any, target: Any) -> None:
    estimator.fit(NUMBERS[0], target)
    rows = rows_for(estimator, WIDTH)
    _, predicted = run(estimator, rows)
    np.testing.assert_allclose(predicted.ravel(), estimator.predict(rows), rtol=1e-6, atol=1e-4)


def test_missing_values_go_the_way_they_were_taught() -> None:
    random = np.random.default_rng(0)
    features = np.where(random.random(BINARY[0].shape) < 0.2, np.nan, BINARY[0])
    for estimator in (HistGradientBoostingClassifier(max_iter=20), RandomForestClassifier(20, random_state=0)):
        estimator.fit(features, BINARY[1])
        _, probabilities = run(estimator, features)
        np.testing.assert_allclose(probabilities, estimator.predict_proba(features), rtol=0, atol=1e-6)


def test_splits_by_categories_are_not_written() -> None:
    features = np.random.default_rng(0).integers(0, 4, (200, 2)).astype(np.float64)
    estimator = HistGradientBoostingClassifier(max_iter=3, categorical_features=[0]).fit(features, features[:, 0] > 1)
    answer = convert(estimator, "double")
    assert isinstance(answer, Unconvertible)
    assert "columns of categories" in answer.reason


def test_compared_rows_hold_thresholds_and_their_neighbours() -> None:
    estimator = RandomForestClassifier(5, random_state=0).fit(*BINARY)
    columns, numbers = thresholds_of(estimator) or pytest.fail("no trees")
    first = numbers[columns == 0]
    seen = set(rows_for(estimator, WIDTH)[:, 0].tolist())
    assert seen & set(first.tolist())
    assert seen & set(np.nextafter(first, np.inf).tolist())
    assert seen & set(np.nextafter(first.astype(np.float32), np.float32(np.inf)).astype(np.float64).tolist())
