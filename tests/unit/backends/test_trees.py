"""XGBoost and LightGBM: small real models in their own formats."""

from __future__ import annotations

import inspect
import json
import sys
from typing import TYPE_CHECKING, Any

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest
import xgboost as xgb

from pillion.backends.api import LoadOptions, ModelLoadError, backend_named
from pillion.backends.detect import detect
from pillion.dataplane.validation import Binder
from pillion.errors import PillionError
from pillion.tensors import Datatype, Tensor

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GENERATOR = np.random.default_rng(0)
TABLE = pd.DataFrame(
    {
        "age": GENERATOR.uniform(0, 90, 300),
        "weight": GENERATOR.uniform(2, 9, 300),
        "colour": pd.Categorical(GENERATOR.choice(["brown", "green", "white"], 300)),
    }
)
TABLE.loc[5, "colour"] = None
TABLE.loc[6, "age"] = np.nan
TWO = ((TABLE["age"].fillna(0) > 40) ^ (TABLE["colour"] == "white")).astype(int)
THREE = (TABLE["age"].fillna(0) // 31).astype(int)
NUMBERS = TABLE[["age", "weight"]]
ROWS = TABLE[:12]


def load(path: Path, threads: int = 1) -> Any:
    artifact = detect(path)
    return backend_named(artifact.backend).load(artifact.path, LoadOptions(native_threads=threads))


def tensors(frame: Any) -> list[Tensor]:
    """The columns in another order than the model's."""
    columns = []
    for name in reversed(frame.columns):
        if name == "colour":
            texts = ["" if value != value else str(value) for value in frame[name]]  # noqa: PLR0124 - NaN is not itself
            data: Any = np.array([value.encode() for value in texts], dtype=object)
            columns.append(Tensor(name, Datatype.BYTES, data.reshape(-1, 1)))
        else:
            columns.append(Tensor(name, Datatype.FP64, frame[name].to_numpy().reshape(-1, 1)))
    return columns


def results(model: Any, frame: Any, *outputs: str) -> list[Any]:
    return [tensor.data for tensor in model.predict(Binder(model).inputs(tensors(frame)), outputs, None)]


@pytest.mark.parametrize("suffix", ["json", "ubj", "bst"])
def test_a_classifier_of_xgboost_answers_as_in_python(suffix: str, tmp_path: Path) -> None:
    classifier = xgb.XGBClassifier(n_estimators=8, enable_categorical=True).fit(TABLE, TWO)
    written = tmp_path / f"model.{suffix.replace('bst', 'ubj')}"
    classifier.save_model(written)
    written.rename(written.with_suffix(f".{suffix}"))  # KServe's name for either library's file
    model = load(tmp_path)
    labels, probabilities = results(model, ROWS, "predict", "predict_proba")
    np.testing.assert_array_equal(classifier.predict(ROWS), labels)
    np.testing.assert_array_equal(classifier.predict_proba(ROWS), probabilities)
    assert {"age": "FP32", "weight": "FP32", "colour": "BYTES"} == {
        spec.name: spec.datatype.value for spec in model.metadata.inputs
    }
    assert ("predict",) == model.default_outputs


def test_three_classes_of_xgboost_come_from_a_matrix_and_from_columns(tmp_path: Path) -> None:
    classifier = xgb.XGBClassifier(n_estimators=5).fit(NUMBERS, THREE)
    classifier.save_model(tmp_path / "model.json")
    model = load(tmp_path)
    expected = classifier.predict_proba(NUMBERS[:12])
    assert ["age", "weight"] == [spec.name for spec in model.metadata.columns]
    np.testing.assert_array_equal(expected, results(model, NUMBERS[:12], "predict_proba")[0])
    matrix = Tensor("anything", Datatype.FP64, NUMBERS[:12].to_numpy())
    labels, probabilities = model.predict(Binder(model).inputs([matrix]), ("predict", "predict_proba"), None)
    np.testing.assert_array_equal(expected, probabilities.data)
    np.testing.assert_array_equal(classifier.predict(NUMBERS[:12]), labels.data)


@pytest.mark.parametrize("booster", ["gbtree", "dart", "gblinear"])
def test_a_booster_of_xgboost_predicts_what_it_does_in_python(booster: str, tmp_path: Path) -> None:
    trained = xgb.train({"objective": "binary:logistic", "booster": booster}, xgb.DMatrix(NUMBERS.fillna(0), TWO), 4)
    trained.save_model(tmp_path / "model.ubj")
    rows = NUMBERS[:5]
    predicted, probabilities = results(load(tmp_path), rows, "predict", "predict_proba")
    np.testing.assert_array_equal(trained.predict(xgb.DMatrix(rows)), predicted)
    np.testing.assert_array_equal(predicted, probabilities[:, 1])


def test_training_that_was_stopped_early_predicts_with_the_best_iteration(tmp_path: Path) -> None:
    regressor = xgb.XGBRegressor(n_estimators=60, early_stopping_rounds=3)
    noise = GENERATOR.normal(size=300)
    regressor.fit(NUMBERS[:200], noise[:200], eval_set=[(NUMBERS[200:], noise[200:])], verbose=False)
    assert regressor.best_iteration + 1 < regressor.get_booster().num_boosted_rounds()
    regressor.save_model(tmp_path / "model.json")
    np.testing.assert_array_equal(
        regressor.predict(ROWS[["age", "weight"]]), results(load(tmp_path), NUMBERS[:12], "predict")[0]
    )


def test_a_text_that_xgboost_was_not_trained_on_is_told_with_column_and_row(tmp_path: Path) -> None:
    xgb.XGBClassifier(n_estimators=2, enable_categorical=True).fit(TABLE, TWO).save_model(tmp_path / "model.json")
    rows = ROWS.astype({"colour": object})
    rows.loc[3, "colour"] = "pink"
    with pytest.raises(PillionError, match=r"input 'colour', row 3: 'pink' is no category .*'brown', 'green', 'white'"):
        results(load(tmp_path), rows, "predict")


def test_categories_that_xgboost_writes_wrongly_are_refused_rather_than_mistaken(tmp_path: Path) -> None:
    table = TABLE.assign(colour=TABLE["colour"].cat.rename_categories({"green": "grün"}))
    xgb.XGBClassifier(n_estimators=2, enable_categorical=True).fit(table, TWO).save_model(tmp_path / "model.json")
    with pytest.raises(ModelLoadError, match="not plain ASCII"):
        load(tmp_path)


def test_categories_that_are_numbers_stay_in_one_matrix(tmp_path: Path) -> None:
    codes = pd.Categorical([30, 10, 20] * 100, categories=[10, 20, 30])
    table = pd.DataFrame({"age": NUMBERS["weight"], "code": codes})
    classifier = xgb.XGBClassifier(n_estimators=4, enable_categorical=True).fit(table, [0, 1, 0] * 100)
    classifier.save_model(tmp_path / "model.json")
    model = load(tmp_path)
    rows = Tensor("input", Datatype.FP32, table[:6].astype(np.float32).to_numpy())
    result = model.predict([rows], ("predict_proba",), None)[0].data
    np.testing.assert_array_equal(classifier.predict_proba(table[:6]), result)


@pytest.mark.parametrize("target", [TWO, THREE], ids=["two", "three"])
def test_a_classifier_of_lightgbm_answers_with_its_boosters_probabilities(target: Any, tmp_path: Path) -> None:
    classifier = lgb.LGBMClassifier(n_estimators=8, verbose=-1).fit(TABLE, target)
    classifier.booster_.save_model(tmp_path / "model.txt")
    model = load(tmp_path)
    predicted, probabilities = results(model, ROWS, "predict", "predict_proba")
    np.testing.assert_array_equal(classifier.booster_.predict(ROWS), predicted)
    np.testing.assert_array_equal(classifier.predict_proba(ROWS), probabilities)
    assert {"age": "FP64", "weight": "FP64", "colour": "BYTES"} == {
        spec.name: spec.datatype.value for spec in model.metadata.inputs
    }


def test_a_text_that_lightgbm_was_not_trained_on_counts_as_missing_as_in_python(tmp_path: Path) -> None:
    classifier = lgb.LGBMClassifier(n_estimators=8, verbose=-1).fit(TABLE, TWO)
    classifier.booster_.save_model(tmp_path / "model.txt")
    rows = ROWS.astype({"colour": object})
    rows.loc[3, "colour"] = "pink"
    expected = classifier.booster_.predict(rows.astype({"colour": "category"}))
    np.testing.assert_array_equal(expected, results(load(tmp_path), rows, "predict")[0])


@pytest.mark.parametrize("parameters", [{}, {"linear_tree": True}, {"boosting": "dart"}], ids=str)
def test_a_regressor_of_lightgbm_without_names_takes_a_matrix(parameters: dict[str, Any], tmp_path: Path) -> None:
    data = NUMBERS.fillna(0).to_numpy()
    booster = lgb.train({"verbose": -1} | parameters, lgb.Dataset(data, data[:, 0] * 2 + data[:, 1]), 5)
    booster.save_model(tmp_path / "model.txt")
    model = load(tmp_path)
    assert [("input", (-1, 2))] == [(spec.name, spec.shape) for spec in model.metadata.inputs]
    assert () == model.metadata.columns
    result = model.predict([Tensor("input", Datatype.FP64, data[:9])], ("predict",), None)[0]
    np.testing.assert_array_equal(booster.predict(data[:9]), result.data)


def test_threads_within_a_call_are_those_that_were_allowed(tmp_path: Path) -> None:
    xgb.XGBClassifier(n_estimators=2).fit(NUMBERS, TWO).save_model(tmp_path / "model.json")
    model = load(tmp_path, threads=3)
    library = inspect.getclosurevars(model._raw).nonlocals["library"]
    booster = inspect.getclosurevars(library).nonlocals["booster"]
    assert "3" == json.loads(booster.save_config())["learner"]["generic_param"]["nthread"]


def replaced(old: str, new: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text[: len(text) // 2], "not a whole XGBoost model"),
        (lambda _: '{"learner": {}}', "not a whole XGBoost model"),
        (replaced('"left_children":[1,', '"left_children":[7000,'), "tree 0 points outside its own nodes"),
        (replaced('"left_children":[1,', '"left_children":[0,'), "tree 0 points outside its own nodes"),
        (replaced('"split_indices":[0', '"split_indices":[9'), "tree 0 points outside its own nodes"),
        (replaced('"tree_info":[0', '"tree_info":[5'), "a tree belongs to no class"),
    ],
    ids=["cut", "empty", "outside", "circle", "column", "class"],
)
def test_a_damaged_file_of_xgboost_is_refused_with_a_remedy(
    change: Callable[[str], str], said: str, tmp_path: Path
) -> None:
    path = tmp_path / "model.json"
    xgb.XGBClassifier(n_estimators=2).fit(NUMBERS, TWO).save_model(path)
    path.write_text(change(path.read_text()))
    with pytest.raises(ModelLoadError, match=said) as refusal:
        load(tmp_path)
    assert "save_model('model.json')" in (refusal.value.remedy or "")


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:300],
        lambda text: text[: text.index("end of trees")],
        replaced("left_child=", "left_child=7 "),
        replaced("num_leaves=", "num_leaves=9"),
        lambda text: text.replace("split_feature=0", "split_feature=8", 1).replace(
            "split_feature=1", "split_feature=9"
        ),
        replaced("leaf_value=", "leaf_value=x"),
        replaced("max_feature_idx=1", "max_feature_idx=4"),
        replaced("tree_sizes=", "tree_sizes=1"),
    ],
    ids=["head", "trees", "children", "leaves", "columns", "values", "width", "sizes"],
)
def test_a_damaged_file_of_lightgbm_is_refused_with_a_remedy(change: Callable[[str], str], tmp_path: Path) -> None:
    path = tmp_path / "model.txt"
    lgb.LGBMClassifier(n_estimators=2, verbose=-1).fit(NUMBERS, TWO).booster_.save_model(path)
    path.write_text(change(path.read_text()))
    with pytest.raises(ModelLoadError, match="not a whole LightGBM model") as refusal:
        load(tmp_path)
    assert "save_model('model.txt')" in (refusal.value.remedy or "")


@pytest.mark.parametrize(
    ("name", "content", "remedy"),
    [
        ("model.json", b'{"parameters": {}}', "save_model('model.json')"),
        ("model.txt", b"numpy==2\n", "save_model('model.txt')"),
        ("model.bst", b"binf\0\0\0", "save_model('model.json')"),
    ],
)
def test_a_foreign_file_is_refused_with_a_remedy(name: str, content: bytes, remedy: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelLoadError) as refusal:
        load(tmp_path)
    assert remedy in (refusal.value.remedy or "")


def test_other_files_of_such_names_do_not_stand_in_the_way(tmp_path: Path) -> None:
    xgb.XGBClassifier(n_estimators=2).fit(NUMBERS, TWO).save_model(tmp_path / "churn.json")
    (tmp_path / "metadata.json").write_text("{}")
    (tmp_path / "requirements.txt").write_text("xgboost\n")
    assert ("churn.json", "xgboost") == (detect(tmp_path).path.name, detect(tmp_path).backend)


def test_without_openmp_the_remedy_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "libgomp.so.1: cannot open shared object file: No such file or directory"
    (tmp_path / "lightgbm.py").write_text(f"raise OSError({text!r})")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "lightgbm")
    monkeypatch.delitem(sys.modules, "pillion.backends.lightgbm", raising=False)
    with pytest.raises(ModelLoadError, match=r"libgomp.so.1.*apt-get install libgomp1"):
        backend_named("lightgbm")
