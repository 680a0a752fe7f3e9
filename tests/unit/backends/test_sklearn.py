from __future__ import annotations

import logging
import pickle
import sys
import warnings
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np
import pytest
import skops.io
from sklearn.cluster import KMeans
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, SGDClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from pillion.backends import sklearn_trust
from pillion.backends.api import LoadFailure, LoadOptions, ModelLoadError, backend_named
from pillion.tensors import Datatype, Tensor, TensorSpec
from tests.models import iris_rows

if TYPE_CHECKING:
    from pathlib import Path

    from pillion.backends.sklearn_model import SklearnModel
    from tests.models import IrisModels

FEATURES, CLASSES = load_iris(return_X_y=True)


def load(path: Path, **options: Any) -> SklearnModel:
    loaded: Any = backend_named("sklearn").load(path, LoadOptions(**options))
    return loaded  # type: ignore[no-any-return] # the registry returns the protocol; these tests look closer


def dumped(estimator: object, folder: Path) -> Path:
    path = folder / "model.skops"
    skops.io.dump(estimator, path)
    return path


def test_a_classifier_declares_what_its_artifact_says(iris: IrisModels) -> None:
    model = load(iris.skops)
    assert model.metadata.platform == "sklearn_skops"
    assert model.metadata.inputs == (TensorSpec("input", Datatype.FP64, (-1, 4)),)
    assert model.metadata.outputs == (
        TensorSpec("predict", Datatype.INT64, (-1,)),
        TensorSpec("predict_proba", Datatype.FP64, (-1, 3)),
        TensorSpec("decision_function", Datatype.FP64, (-1, 3)),
    )
    assert model.default_outputs == ("predict",)


def test_requested_outputs_select_the_estimators_methods(iris: IrisModels) -> None:
    labels, probabilities = load(iris.skops).predict([iris_rows()], ("predict", "predict_proba"), None)
    assert [0, 1, 2] == labels.data.tolist()
    assert (probabilities.name, probabilities.datatype, probabilities.shape) == ("predict_proba", Datatype.FP64, (3, 3))
    np.testing.assert_array_equal(iris.estimator.predict_proba(iris_rows().data), probabilities.data)


@pytest.mark.parametrize(
    "estimator",
    [
        RandomForestClassifier(3, random_state=0),
        GradientBoostingClassifier(n_estimators=3, random_state=0),
        HistGradientBoostingClassifier(max_iter=3),
        DecisionTreeClassifier(random_state=0),
        KNeighborsClassifier(),
        KNeighborsClassifier(algorithm="ball_tree"),
        SVC(),
        SGDClassifier(random_state=0),
        GaussianProcessClassifier(),
        make_pipeline(StandardScaler(), LogisticRegression()),
        make_pipeline(FunctionTransformer(np.log1p), LogisticRegression(max_iter=500)),
        StackingClassifier([("a", DecisionTreeClassifier(random_state=0))], LogisticRegression()),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_common_estimators_load_from_skops_and_predict_as_they_did(estimator: Any, tmp_path: Path) -> None:
    estimator.fit(FEATURES, CLASSES)
    model = load(dumped(estimator, tmp_path))
    results = model.predict([iris_rows(rows=5)], ("predict",), None)
    np.testing.assert_array_equal(estimator.predict(iris_rows(rows=5).data), results[0].data)


def test_regressors_clusters_outlier_detectors_and_transformers_load(tmp_path: Path) -> None:
    features, target = load_diabetes(return_X_y=True)
    regressor = load(dumped(LinearRegression().fit(features, target), tmp_path))
    assert regressor.metadata.outputs == (TensorSpec("predict", Datatype.FP64, (-1,)),)
    forest = load(dumped(RandomForestRegressor(2).fit(features, np.c_[target, target]), tmp_path))
    assert forest.metadata.outputs == (TensorSpec("predict", Datatype.FP64, (-1, 2)),)
    clusters = load(dumped(KMeans(3, random_state=0).fit(features), tmp_path))
    assert [spec.name for spec in clusters.metadata.outputs] == ["predict", "transform"]
    outliers = load(dumped(IsolationForest(n_estimators=3).fit(features), tmp_path))
    assert outliers.metadata.outputs[0] == TensorSpec("predict", Datatype.INT64, (-1,))
    scaler = load(dumped(StandardScaler().fit(features), tmp_path))
    assert scaler.default_outputs == ("transform",)


def test_text_labels_come_back_as_bytes(tmp_path: Path) -> None:
    names = load_iris().target_names[CLASSES]
    model = load(dumped(LogisticRegression(max_iter=500).fit(FEATURES, names), tmp_path))
    assert model.metadata.outputs[0] == TensorSpec("predict", Datatype.BYTES, (-1,))
    result = model.predict([iris_rows()], ("predict",), None)[0]
    assert [b"setosa", b"versicolor", b"virginica"] == result.data.tolist()


def test_a_pipeline_over_documents_takes_texts(tmp_path: Path) -> None:
    pipeline = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(["good film", "bad film"], [1, 0])
    model = load(dumped(pipeline, tmp_path))
    assert model.metadata.inputs == (TensorSpec("input", Datatype.BYTES, (-1,)),)
    texts = Tensor("input", Datatype.BYTES, np.array([[b"good"], [b"bad"]], dtype=object))
    assert [1, 0] == model.predict([texts], ("predict",), None)[0].data.tolist()


def test_categories_given_as_text_are_encoded(tmp_path: Path) -> None:
    table = np.array([["red"], ["blue"]], dtype=object)
    model = load(dumped(make_pipeline(OneHotEncoder(), LogisticRegression()).fit(table, [1, 0]), tmp_path))
    given = Tensor("input", Datatype.BYTES, np.array([[b"blue"], [b"red"]], dtype=object))
    assert [0, 1] == model.predict([given], ("predict",), None)[0].data.tolist()


def test_sparse_results_are_sent_dense(tmp_path: Path) -> None:
    encoder = OneHotEncoder().fit(np.array([[0.0], [1.0]]))
    result = load(dumped(encoder, tmp_path)).predict(
        [Tensor("input", Datatype.FP64, np.array([[1.0]]))], ("transform",), None
    )
    assert [[0.0, 1.0]] == result[0].data.tolist()


def test_text_that_is_not_utf8_is_the_callers_fault(tmp_path: Path) -> None:
    pipeline = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(["good film", "bad film"], [1, 0])
    bad = Tensor("input", Datatype.BYTES, np.array([b"\xff"], dtype=object))
    with pytest.raises(ValueError, match="element 0 is not valid UTF-8"):
        load(dumped(pipeline, tmp_path)).predict([bad], ("predict",), None)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int8, np.int64, np.uint32])
def test_numbers_of_any_type_are_cast(iris: IrisModels, dtype: Any) -> None:
    from pillion.tensors import datatype_of

    data = iris_rows().data.astype(dtype)
    result = load(iris.skops).predict([Tensor("input", datatype_of(np.dtype(dtype)), data)], ("predict",), None)
    assert result[0].data.tolist() == iris.estimator.predict(data.astype(np.float64)).tolist()


def test_bfloat16_bits_are_read_as_numbers(iris: IrisModels) -> None:
    bits = (iris_rows().data.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    result = load(iris.skops).predict([Tensor("input", Datatype.BF16, bits)], ("predict",), None)
    assert [0, 1, 2] == result[0].data.tolist()


def test_read_only_buffers_of_a_request_are_good_enough(iris: IrisModels, tmp_path: Path) -> None:
    rows = np.frombuffer(iris_rows().data.tobytes()).reshape(3, 4)
    assert not rows.flags.writeable
    for path in (iris.skops, dumped(RandomForestClassifier(2, random_state=0).fit(FEATURES, CLASSES), tmp_path)):
        result = load(path).predict([Tensor("input", Datatype.FP64, rows)], ("predict",), None)
        assert [0, 1, 2] == result[0].data.tolist()


def test_a_model_that_was_fitted_with_names_does_not_warn_at_every_call(tmp_path: Path) -> None:
    estimator = LogisticRegression(max_iter=500).fit(FEATURES, CLASSES)
    estimator.feature_names_in_ = np.array(["a", "b", "c", "d"], dtype=object)
    with warnings.catch_warnings():
        model = load(dumped(estimator, tmp_path))
        assert [0, 1, 2] == model.predict([iris_rows()], ("predict",), None)[0].data.tolist()


# Formats that can run code


class Marks:
    """Unpickling it creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return (_touch, (str(self.path), "w"))


def _touch(path: str, mode: str) -> object:
    with open(path, mode) as stream:  # noqa: PTH123 - kept plain so that the pickle holds only builtins
        return stream.name


@pytest.mark.parametrize("name", ["model.pkl", "model.joblib", "model.pickle", "model.skops", "model.onnx", "model"])
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_pickle_never_runs_without_opt_in_whatever_its_name(tmp_path: Path, name: str, protocol: int) -> None:
    mark = tmp_path / "ran"
    (tmp_path / name).write_bytes(pickle.dumps(Marks(mark), protocol=protocol))
    with pytest.raises(ModelLoadError):
        load(tmp_path / name)
    assert not mark.exists()


def test_the_same_pickle_does_run_when_allowed(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(Marks(mark)))
    with pytest.raises(ModelLoadError, match="not a scikit-learn estimator"):
        load(path, allow_pickle=True)
    assert mark.exists()


@pytest.mark.parametrize("compress", [0, 3, ("gzip", 3), ("xz", 3)])
def test_a_compressed_joblib_file_never_runs_without_opt_in(tmp_path: Path, compress: Any) -> None:
    mark = tmp_path / "ran"
    joblib.dump(Marks(mark), tmp_path / "model.joblib", compress=compress)
    with pytest.raises(ModelLoadError, match="is a pickle"):
        load(tmp_path / "model.joblib")
    assert not mark.exists()


def test_the_refusal_of_a_pickle_tells_both_ways_out(iris: IrisModels) -> None:
    with pytest.raises(ModelLoadError) as refusal:
        load(iris.joblib)
    assert "pillion convert-model iris.joblib -o iris.skops --allow-pickle" in str(refusal.value)
    assert "accept the risk: --allow-pickle or allowPickle: true" in str(refusal.value)


def test_an_allowed_joblib_file_predicts(iris: IrisModels) -> None:
    result = load(iris.joblib, allow_pickle=True).predict([iris_rows()], ("predict",), None)
    assert [0, 1, 2] == result[0].data.tolist()


def test_a_damaged_pickle_is_said_to_be_damaged(iris: IrisModels, tmp_path: Path) -> None:
    (tmp_path / "model.joblib").write_bytes(iris.joblib.read_bytes()[:200])
    with pytest.raises(ModelLoadError, match="damaged or not a pickle"):
        load(tmp_path / "model.joblib", allow_pickle=True)


def test_a_pickle_that_needs_a_missing_module_names_it(tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(b"cno_such_module\nThing\n.")
    with pytest.raises(ModelLoadError, match="needs the Python module 'no_such_module'"):
        load(tmp_path / "model.pkl", allow_pickle=True)


# skops and its types


def _shout(rows: Any) -> Any:
    return rows


def test_types_of_other_packages_in_a_skops_file_are_listed(tmp_path: Path) -> None:
    pipeline = make_pipeline(FunctionTransformer(_shout), LogisticRegression(max_iter=500)).fit(FEATURES, CLASSES)
    with pytest.raises(ModelLoadError, match=r"types that are not trusted: .*_shout"):
        load(dumped(pipeline, tmp_path))


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "builtins.eval",
        "sklearn.utils.validation.check_array",
        "sklearn.datasets._base.load_files",
        "sklearn.externals.array_api_compat.common",
        "sklearn.utils.os.system",
        "sklearn.utils._joblib.Parallel",
        "numpy.load",
        "numpy.f2py.crackfortran.myeval",
        "scipy.io.loadmat",
        "sklearnevil.Tree",
        "sklearn.tests.test_base.MyEstimator",
        "functools.partial",
        "sklearn.ensemble.RandomForestClassifier",
        "sklearn.no.such.Thing",
        "Tree",
    ],
)
def test_functions_borrowed_names_and_other_packages_are_never_trusted(name: str) -> None:
    assert sklearn_trust.judge([name]).accepted == []


def test_the_parts_of_fitted_forests_and_neighbours_are_trusted() -> None:
    names = ["sklearn.tree._tree.Tree", "sklearn.metrics._dist_metrics.EuclideanDistance64"]
    assert sorted(names) == sklearn_trust.judge(names).accepted


def test_a_type_is_trusted_where_the_owner_names_it_and_its_code_runs(tmp_path: Path) -> None:
    pipeline = make_pipeline(FunctionTransformer(_shout), LogisticRegression(max_iter=500)).fit(FEATURES, CLASSES)
    path = dumped(pipeline, tmp_path)
    with pytest.raises(ModelLoadError) as refusal:
        load(path)
    assert refusal.value.cause is LoadFailure.UNTRUSTED_TYPES
    named = f"{_shout.__module__}._shout"
    assert f"add trustedTypes: [{named}] to the model, or --trust {named}" in str(refusal.value)

    model = load(path, trusted_types=frozenset({named}))
    assert [0, 1, 2] == model.predict([iris_rows()], ("predict",), None)[0].data.tolist()


@pytest.mark.parametrize(
    "name", ["os.system", "builtins.eval", "posix.system", "subprocess.Popen", "joblib.load", "numpy.f2py.compile", "x"]
)
def test_what_reaches_the_machine_cannot_be_trusted_by_name(name: str) -> None:
    assert [] == sklearn_trust.judge([name], {name}).accepted
    assert "trustedTypes" not in sklearn_trust.remedy([name, "own.Type"])


def test_names_that_this_scikit_learn_does_not_have_are_told_from_untrusted_ones() -> None:
    verdict = sklearn_trust.judge(["sklearn.compose._column_transformer._Gone", "own.Type"])
    assert (["sklearn.compose._column_transformer._Gone"], ["own.Type"]) == (verdict.gone, verdict.refused)


def test_a_name_from_the_tests_of_scikit_learn_is_not_imported_to_be_judged() -> None:
    sklearn_trust.judge(["sklearn.utils.tests.test_bunch.Thing"])
    assert "sklearn.utils.tests.test_bunch" not in sys.modules


def test_a_truncated_skops_file_is_refused_with_a_sentence(iris: IrisModels, tmp_path: Path) -> None:
    (tmp_path / "model.skops").write_bytes(iris.skops.read_bytes()[:-500])
    with pytest.raises(ModelLoadError, match="not a skops file"):
        load(tmp_path / "model.skops")


def test_a_skops_file_with_a_damaged_member_is_refused_with_a_sentence(iris: IrisModels, tmp_path: Path) -> None:
    content = bytearray(iris.skops.read_bytes())
    content[len(content) // 2] ^= 0xFF
    (tmp_path / "model.skops").write_bytes(content)
    with pytest.raises(ModelLoadError, match="could not be read as skops"):
        load(tmp_path / "model.skops")


def test_something_else_than_an_estimator_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="holds a dict, which is not a scikit-learn estimator"):
        load(dumped({"weights": np.ones(3)}, tmp_path))


@pytest.mark.parametrize(
    ("field", "bad"),
    [(field, bad) for field in ("feature", "left_child", "right_child") for bad in (10**6, -7)] + [("left_child", 0)],
)
def test_a_tree_that_points_outside_itself_is_refused_before_it_is_used(tmp_path: Path, field: str, bad: int) -> None:
    forest = RandomForestClassifier(2, random_state=0).fit(FEATURES, CLASSES)
    tree = forest.estimators_[1].tree_
    state = tree.__getstate__()
    state["nodes"] = state["nodes"].copy()
    state["nodes"][field][0] = bad
    tree.__setstate__(state)
    with pytest.raises(ModelLoadError, match="damaged: a Tree points outside its own nodes"):
        load(dumped(forest, tmp_path))


def test_an_ensemble_that_checks_for_fewer_features_than_its_trees_use_is_refused(tmp_path: Path) -> None:
    forest = RandomForestClassifier(2, random_state=0).fit(FEATURES, CLASSES)
    for part in (forest, *forest.estimators_):
        part.n_features_in_ = 1
    with pytest.raises(ModelLoadError, match="damaged"):
        load(dumped(forest, tmp_path))


def test_a_histogram_predictor_that_points_outside_itself_is_refused(tmp_path: Path) -> None:
    boosted = HistGradientBoostingClassifier(max_iter=2).fit(FEATURES, CLASSES)
    boosted._predictors[0][0].nodes["left"][0] = 10**6
    with pytest.raises(ModelLoadError, match="damaged: a TreePredictor"):
        load(dumped(boosted, tmp_path))


def test_the_version_that_saved_an_artifact_is_shown_and_a_mismatch_is_logged(
    iris: IrisModels, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:

    import sklearn

    old = rewritten(iris.skops, tmp_path, sklearn.__version__.encode(), b"1.4.2")
    with caplog.at_level(logging.WARNING):
        model = load(old)
    assert model.libraries is not None
    assert "1.4.2" == model.libraries.saved["scikit-learn"]
    assert sklearn.__version__ == model.libraries.loading["scikit-learn"]
    assert "saved by scikit-learn 1.4.2" in caplog.text
    assert "results may differ" in caplog.text


def rewritten(source: Path, folder: Path, before: bytes, after: bytes) -> Path:
    """A skops file in whose schema one text stands for another."""
    import zipfile

    with zipfile.ZipFile(source) as given, zipfile.ZipFile(folder / "model.skops", "w") as target:
        for name in given.namelist():
            content = given.read(name)
            target.writestr(name, content.replace(before, after) if name == "schema.json" else content)
    return folder / "model.skops"


def test_a_file_that_its_version_wrote_differently_names_the_runtime_that_reads_it(
    iris: IrisModels, tmp_path: Path
) -> None:
    import sklearn

    (tmp_path / "a").mkdir()
    old = rewritten(iris.skops, tmp_path / "a", sklearn.__version__.encode(), b"1.2.2")
    renamed = rewritten(old, tmp_path, b"LogisticRegression", b"LogisticRegressionOfOld")
    with pytest.raises(ModelLoadError, match=r"saved by scikit-learn 1\.2\.2") as refusal:
        load(renamed)
    assert refusal.value.cause is LoadFailure.LIBRARY_MISMATCH
    assert "runtimeVersion: sklearn-1.2" in str(refusal.value)


def test_the_versions_of_a_pickle_are_shown_too(iris: IrisModels) -> None:
    import sklearn

    model = load(iris.joblib, allow_pickle=True)
    assert model.libraries is not None
    assert sklearn.__version__ == model.libraries.saved["scikit-learn"]


def test_a_pickle_that_fails_after_a_warning_of_versions_names_the_runtime_that_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    import sklearn

    estimator = LogisticRegression(max_iter=500).fit(FEATURES, CLASSES)
    # Protocol 0 is text without lengths, so that another version fits in.
    old = pickle.dumps(estimator, protocol=0).replace(sklearn.__version__.encode(), b"1.1.3")
    # The first object is rebuilt, with the warning; the name of the second is not there any more.
    path.write_bytes(old[:-1] + b"csklearn.linear_model\nGone\n.")
    with pytest.raises(ModelLoadError, match=r"saved by scikit-learn 1\.1\.3") as refusal:
        load(path, allow_pickle=True)
    assert refusal.value.cause is LoadFailure.LIBRARY_MISMATCH
    assert "runtimeVersion: sklearn-1.1" in str(refusal.value)
