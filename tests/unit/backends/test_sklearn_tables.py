"""What the columns of fitted estimators are, and what becomes of tensors that fill them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.ensemble import HistGradientBoostingClassifier, VotingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from pillion.backends.api import LoadOptions, ModelLoadError, backend_named
from pillion.backends.sklearn_columns import table_of
from pillion.dataplane.validation import Binder
from pillion.errors import PillionError
from pillion.tensors import Datatype, Tensor

if TYPE_CHECKING:
    from pathlib import Path

TABLE = pd.DataFrame(
    {
        "colour": pd.Series(["red", "blue", "red", None] * 10, dtype=object),
        "size": [1.0, 2.0, np.nan, 4.0] * 10,
        "floor": [0, 1, 2, 3] * 10,
        "open": [True, False] * 20,
        "note": ["good film", "dull", "", "film"] * 10,
    }
)
TARGET = [0, 1] * 20
OUTPUTS = ("predict",)


def load(estimator: Any, folder: Path) -> Any:
    path = folder / "model.skops"
    skops.io.dump(estimator, path)
    return backend_named("sklearn").load(path, LoadOptions())


def datatypes(model: Any) -> dict[str, str]:
    return {spec.name: spec.datatype.value for spec in model.metadata.columns or model.metadata.inputs}


def column(name: str, values: list[Any], datatype: Datatype = Datatype.FP64) -> Tensor:
    if datatype is Datatype.BYTES:
        data = np.array([str(value).encode() for value in values], dtype=object)
    else:
        data = np.array(values, {Datatype.INT64: np.int64, Datatype.BOOL: np.bool_}.get(datatype, np.float64))
    return Tensor(name, datatype, data.reshape(-1, 1))


def answer(model: Any, tensors: list[Tensor]) -> list[Any]:
    bound = Binder(model).inputs(tensors)
    result: list[Any] = model.predict(bound, OUTPUTS, None)[0].data.tolist()
    return result


def mixed(*encoder: Any) -> Any:
    texts = make_pipeline(*(encoder or (OneHotEncoder(handle_unknown="ignore"),)))
    parts = [
        ("texts", texts, ["colour"]),
        ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), make_column_selector(dtype_include="float")),
        ("floors", OrdinalEncoder(), slice("floor", "open")),
        ("notes", TfidfVectorizer(), "note"),
    ]
    return make_pipeline(ColumnTransformer(parts), LogisticRegression()).fit(TABLE, TARGET)


def test_each_columns_datatype_is_what_the_fitted_parts_say(tmp_path: Path) -> None:
    model = load(mixed(), tmp_path)
    expected = {"colour": "BYTES", "size": "FP64", "floor": "INT64", "open": "BOOL", "note": "BYTES"}
    assert expected == datatypes(model)
    assert {"colour", "size"} == {spec.name for spec in model.metadata.inputs if spec.nullable}
    assert () == model.metadata.columns


def test_an_empty_text_is_missing_for_an_encoder_and_a_text_for_a_vectoriser(tmp_path: Path) -> None:
    estimator = mixed(SimpleImputer(missing_values=None, strategy="most_frequent"), OneHotEncoder())
    model = load(estimator, tmp_path)
    tensors = [
        column("note", ["", "dull"], Datatype.BYTES),
        column("open", [True, False], Datatype.BOOL),
        column("floor", [2, 3], Datatype.INT64),
        column("size", [np.nan, 2]),
        column("colour", ["", "blue"], Datatype.BYTES),
    ]
    frame = pd.DataFrame(
        {
            "colour": pd.Series([None, "blue"], dtype=object),
            "size": [np.nan, 2],
            "floor": [2, 3],
            "open": [True, False],
            "note": ["", "dull"],
        }
    )
    assert estimator.predict(frame).tolist() == answer(model, tensors)


def test_a_text_that_is_empty_stays_so_where_it_is_a_category(tmp_path: Path) -> None:
    table = pd.DataFrame({"a": ["", "x"] * 5, "b": [0.0, 1.0] * 5})
    columns = ColumnTransformer([("a", OneHotEncoder(), ["a"]), ("b", StandardScaler(), ["b"])])
    model = load(make_pipeline(columns, LogisticRegression()).fit(table, [0, 1] * 5), tmp_path)
    assert [0, 1] == answer(model, [column("a", ["", "x"], Datatype.BYTES), column("b", [0, 1])])


def test_numbers_with_names_are_a_matrix_that_may_come_as_columns(tmp_path: Path) -> None:
    table = pd.DataFrame({"a": [1.0, 2, 3, 4], "b": [0.0, 5, 1, 7]})
    estimator = LogisticRegression().fit(table, [0, 1, 0, 1])
    model = load(estimator, tmp_path)
    assert [("input", "FP64", (-1, 2))] == [(s.name, s.datatype.value, s.shape) for s in model.metadata.inputs]
    assert ["a", "b"] == [spec.name for spec in model.metadata.columns]
    expected = estimator.predict(table).tolist()
    assert expected == answer(model, [Tensor("anything", Datatype.FP64, table.to_numpy())])
    assert expected == answer(model, [column("b", [0, 5, 1, 7], Datatype.INT64), column("a", [1, 2, 3, 4])])


def test_one_column_of_a_matrix_is_told_what_else_is_missing(tmp_path: Path) -> None:
    table = pd.DataFrame({"a": [1.0, 2], "b": [0.0, 5], "c": [0.0, 5]})
    model = load(LogisticRegression().fit(table, [0, 1]), tmp_path)
    with pytest.raises(PillionError, match="inputs 'a', 'c' are missing"):
        answer(model, [column("b", [0, 5])])


def test_numbers_that_a_column_transformer_picks_by_name_are_a_matrix_too(tmp_path: Path) -> None:
    table = pd.DataFrame({"a": [1.0, 2, 3, 4], "b": [0.0, 5, 1, 7]})
    columns = ColumnTransformer([("b", StandardScaler(), ["b"])], remainder="passthrough")
    estimator = make_pipeline(columns, LogisticRegression()).fit(table, [0, 1, 0, 1])
    model = load(estimator, tmp_path)
    assert [(-1, 2)] == [spec.shape for spec in model.metadata.inputs]
    assert estimator.predict(table).tolist() == answer(model, [Tensor("input", Datatype.FP64, table.to_numpy())])


def test_text_with_names_is_a_matrix_of_text_or_columns(tmp_path: Path) -> None:
    table = pd.DataFrame({"a": ["x", "y"] * 3, "b": ["u", "v", "w"] * 2})
    estimator = make_pipeline(OneHotEncoder(), LogisticRegression()).fit(table, [0, 1] * 3)
    model = load(estimator, tmp_path)
    assert {"a": "BYTES", "b": "BYTES"} == datatypes(model)
    rows = Tensor("input", Datatype.BYTES, np.array([[b"x", b"w"], [b"y", b"u"]], dtype=object))
    assert [0, 1] == answer(model, [rows])
    by_name = [column("b", ["w", "u"], Datatype.BYTES), column("a", ["x", "y"], Datatype.BYTES)]
    assert [0, 1] == answer(model, by_name)


def test_categories_of_gradient_boosting_are_known(tmp_path: Path) -> None:
    table = TABLE.assign(colour=TABLE["colour"].astype("category"))[["size", "colour"]]
    estimator = HistGradientBoostingClassifier(max_iter=3, min_samples_leaf=1).fit(table, TARGET)
    joblib.dump(estimator, tmp_path / "model.joblib")  # it holds a function, which skops does not read unasked
    model: Any = backend_named("sklearn").load(tmp_path / "model.joblib", LoadOptions(allow_pickle=True))
    assert {"size": "FP64", "colour": "BYTES"} == datatypes(model)
    tensors = [column("colour", ["red", "blue", ""], Datatype.BYTES), column("size", [1.0, np.nan, 2])]
    colours = pd.Categorical(["red", "blue", None], categories=["blue", "red"])
    assert estimator.predict(pd.DataFrame({"size": [1.0, np.nan, 2], "colour": colours})).tolist() == answer(
        model, tensors
    )


@pytest.mark.parametrize(
    "around",
    [
        lambda inner: GridSearchCV(inner, {"logisticregression__C": [1.0]}, cv=2),
        lambda inner: VotingClassifier([("one", inner)]),
    ],
    ids=["search", "voting"],
)
def test_columns_are_found_inside_estimators_around_the_pipeline(around: Any) -> None:
    columns = ColumnTransformer([("texts", OneHotEncoder(), ["colour"])], remainder=StandardScaler())
    inner = make_pipeline(columns, LogisticRegression())
    table = table_of(around(inner).fit(TABLE[["colour", "floor"]], TARGET))
    assert table is not None
    assert {"colour": "BYTES", "floor": "FP64"} == {found.name: found.datatype.value for found in table.columns}


def test_a_step_that_picks_columns_made_before_it_leaves_those_of_the_table_as_they_are() -> None:
    table = pd.DataFrame({"a": [1.0, 2, 3, 4], "b": [0.0, 5, 1, 7]})
    first = StandardScaler().set_output(transform="pandas")
    union = FeatureUnion([("scaled", first)]).set_output(transform="pandas")
    second = ColumnTransformer([("b", StandardScaler(), ["scaled__b"])], remainder="passthrough")
    estimator = make_pipeline(union, second, LogisticRegression()).fit(table, [0, 1, 0, 1])
    found = table_of(estimator)
    assert found is not None
    assert found.by_name
    assert ["a", "b"] == [column.name for column in found.used]


def test_a_missing_number_is_told_with_column_and_row(tmp_path: Path) -> None:
    table = pd.DataFrame({"a": [1.0, 2], "b": [0.0, 5]})
    model = load(LogisticRegression().fit(table, [0, 1]), tmp_path)
    with pytest.raises(PillionError, match="input 'b', row 1: the value is missing") as refusal:
        answer(model, [column("a", [1, 2]), column("b", [0, np.nan])])
    assert "b[1]" == refusal.value.field


def test_a_whole_category_is_met_by_a_fraction_only_if_equal(tmp_path: Path) -> None:
    table = pd.DataFrame({"a": [1, 2, 3] * 3, "b": [0.5, 1.5, 2.5] * 3})
    columns = ColumnTransformer([("a", OneHotEncoder(), ["a"]), ("b", StandardScaler(), ["b"])])
    model = load(make_pipeline(columns, LogisticRegression()).fit(table, [0, 1, 1] * 3), tmp_path)
    assert [0] == answer(model, [Tensor("input", Datatype.FP64, np.array([[1.0, 0.5]]))])
    with pytest.raises(PillionError, match=r"input 'a', row 0: 1.5 is no category that the model knows \(1, 2, 3\)"):
        answer(model, [column("a", [1.5]), column("b", [0.5])])


def test_without_pandas_the_remedy_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.skops"
    skops.io.dump(mixed(), path)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ModelLoadError, match=r"needs pandas.*pip install 'pillion\[tabular\]'"):
        backend_named("sklearn").load(path, LoadOptions())
