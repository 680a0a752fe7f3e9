"""Encoders of text columns that compute distinct rows once: the same answers, from the same code."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, TargetEncoder

from pillion.backends.sklearn_columns import table_of
from pillion.backends.sklearn_distinct import Distinct, distinct_rows, quick
from tests import penguins

RANDOM = np.random.default_rng(0)


def frame(rows: int = 3000) -> Any:
    """Two columns of text with gaps, one of numbers."""
    colours = RANDOM.choice(np.array(["red", "green", "blue", np.nan], dtype=object), rows)
    sizes = RANDOM.choice(np.array(["s", "m", "l"], dtype=object), rows)
    columns = {"colour": pd.Series(colours, dtype=object), "size": pd.Series(sizes, dtype=object)}
    return pd.DataFrame({**columns, "weight": RANDOM.normal(size=rows)})


def fitted(encoder: Any, table: Any) -> Any:
    columns = ColumnTransformer([("texts", encoder, ["colour", "size"])], remainder="passthrough")
    return make_pipeline(columns, LogisticRegression()).fit(table, table["weight"] > 0)


@pytest.mark.parametrize(
    "encoder",
    [
        OneHotEncoder(handle_unknown="ignore"),
        OneHotEncoder(sparse_output=False),
        make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(drop="first")),
        make_pipeline(SimpleImputer(strategy="most_frequent", add_indicator=True), OrdinalEncoder()),
        make_pipeline(SimpleImputer(strategy="constant", fill_value="?"), TargetEncoder()),
    ],
    ids=str,
)
def test_the_probabilities_are_the_same_to_the_last_bit(encoder: Any) -> None:
    table = frame()
    estimator = fitted(encoder, table)
    faster = quick(estimator, table_of(estimator))
    assert isinstance(faster.steps[0][1].transformers_[0][1], Distinct)
    assert not isinstance(estimator.steps[0][1].transformers_[0][1], Distinct)
    for rows in (table, frame(), frame(200), table[:5], table[:0]):
        if len(rows):
            np.testing.assert_array_equal(estimator.predict_proba(rows), faster.predict_proba(rows))
        else:
            with pytest.raises(ValueError, match="0 sample"):
                faster.predict_proba(rows)


def test_other_rows_of_the_same_values_are_told_apart() -> None:
    table = frame()
    estimator = fitted(OneHotEncoder(), table)
    faster = quick(estimator, table_of(estimator))
    swapped = table.assign(colour=table["colour"].to_numpy()[::-1])
    for rows in (table, swapped, table):
        np.testing.assert_array_equal(estimator.predict_proba(rows), faster.predict_proba(rows))


@pytest.mark.parametrize(
    "encoder", [OneHotEncoder(sparse_output=False), OrdinalEncoder(encoded_missing_value=-1)], ids=str
)
def test_frames_may_be_asked_for_from_all_transformers(encoder: Any) -> None:
    table = frame()
    with config_context(transform_output="pandas"):
        columns = ColumnTransformer([("texts", encoder, ["colour", "size"])])
        estimator = make_pipeline(columns, LogisticRegression()).fit(table, table["weight"] > 0)
        faster = quick(estimator, table_of(estimator))
        assert isinstance(faster.steps[0][1].transformers_[0][1], Distinct)
        np.testing.assert_array_equal(estimator.predict_proba(table), faster.predict_proba(table))


def test_an_unknown_category_is_refused_as_ever() -> None:
    table = frame()
    estimator = fitted(OneHotEncoder(), table)
    wrong = table.copy()
    wrong.loc[7, "colour"] = "mauve"
    with pytest.raises(ValueError, match=r"Found unknown categories \['mauve'\] in column 0"):
        quick(estimator, table_of(estimator)).predict(wrong)


def own(rows: Any) -> Any:
    """Depends on the other rows."""
    return (rows == rows.iloc[0]).astype(float)


class Mine(OneHotEncoder):  # type: ignore[misc] # scikit-learn has no types
    """Of the user's, whatever it does."""


@pytest.mark.parametrize(
    "encoder", [make_pipeline(OneHotEncoder(sparse_output=False), FunctionTransformer()), Mine()], ids=str
)
def test_classes_that_are_not_known_to_take_rows_alone_are_left_alone(encoder: Any) -> None:
    estimator = fitted(encoder, frame())
    assert quick(estimator, table_of(estimator)) is estimator


def test_an_estimator_without_columns_of_text_is_left_alone() -> None:
    table = frame()[["weight"]]
    estimator = LogisticRegression().fit(table, table["weight"] > 0)
    assert quick(estimator, table_of(estimator)) is estimator


def test_the_reference_pipeline_is_computed_so() -> None:
    estimator = penguins.fit()
    faster = quick(estimator, table_of(estimator))
    rows = penguins.table().sample(5000, replace=True, random_state=1)
    np.testing.assert_array_equal(estimator.predict_proba(rows), faster.predict_proba(rows))


def test_distinct_rows_are_found_with_the_place_of_each() -> None:
    columns = [np.array(["a", "b", "a", None, "a"] * 20, dtype=object), np.array([1, 1, 2, 1, 1] * 20)]
    found = distinct_rows(columns, pd.factorize)
    assert found is not None
    first, places = found
    assert [0, 1, 2, 3] == sorted(first.tolist())
    for column in columns:
        assert column.tolist() == column[first][places].tolist()


def test_rows_that_hardly_repeat_are_not_told_apart() -> None:
    many = np.array([str(number // 2) for number in range(400)], dtype=object)
    assert distinct_rows([many], pd.factorize) is None
    assert distinct_rows([np.array(["a", "b"] * 200, dtype=object), many], pd.factorize) is None
