"""What is taken in place of a model, and what is said where nothing is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import TunedThresholdClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from pillion.acceleration import accelerate
from pillion.acceleration.accelerate import accelerated
from pillion.acceleration.comparison import difference
from pillion.acceleration.conversion import converted
from pillion.acceleration.job import Converted, Unconvertible
from pillion.acceleration.model import AcceleratedModel, session_of
from pillion.acceleration.thresholds import rows_for, thresholds_of
from pillion.acceleration.worker import convert
from pillion.backends.sklearn_model import SklearnModel
from pillion.model import Libraries
from pillion.tensors import Datatype, Tensor
from tests.processes import alive
from tests.waiting import until_now

if TYPE_CHECKING:
    from pathlib import Path

    from pillion.model import Acceleration

WIDTH = 6
FEATURES, CLASSES = make_classification(400, WIDTH, n_informative=4, random_state=0)


def model_of(estimator: Any) -> SklearnModel:
    return SklearnModel(estimator.fit(FEATURES, CLASSES), "sklearn_skops", Libraries({}, {}))


def here(estimator: Any, precision: str, _seconds: float) -> Converted | Unconvertible:
    """Without a process of its own, which is what takes the time."""
    return convert(estimator, precision)


def tried(estimator: Any, convert: Any = here) -> tuple[Any, Acceleration]:
    return accelerated(model_of(estimator), "m/1", 1, convert=convert)


def tensor(rows: Any) -> Tensor:
    return Tensor("input", Datatype.FP64, np.asarray(rows, np.float64))


@pytest.fixture(scope="module")
def forest() -> AcceleratedModel:
    other, said = tried(RandomForestClassifier(50, random_state=0))
    assert isinstance(other, AcceleratedModel), said
    return other


@pytest.fixture(scope="module")
def boosted() -> AcceleratedModel:
    other, said = tried(HistGradientBoostingClassifier(max_iter=20))
    assert isinstance(other, AcceleratedModel), said
    return other


class Counting:
    """An estimator that counts the rows it is asked for."""

    def __init__(self, estimator: Any) -> None:
        self._estimator = estimator
        self.rows = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._estimator, name)

    def predict(self, rows: Any) -> Any:
        self.rows += len(rows)
        return self._estimator.predict(rows)


def test_a_forest_is_taken_over_with_what_it_declares(forest: AcceleratedModel) -> None:
    original = forest.original
    assert (original.metadata, original.rules, original.default_outputs) == (
        forest.metadata, forest.rules, forest.default_outputs,
    )  # fmt: skip
    assert forest.libraries is not None
    assert {"skl2onnx", "onnxruntime"} <= forest.libraries.loading.keys()


def test_what_it_gains_is_said() -> None:
    _, said = tried(RandomForestClassifier(50, random_state=0))
    assert "onnx" == said.by
    assert "instead of" in said.note


@pytest.mark.filterwarnings("ignore:The `probability` parameter")
@pytest.mark.parametrize("estimator", [
    make_pipeline(StandardScaler(), SVC(probability=True, random_state=0)),
    TunedThresholdClassifierCV(LogisticRegression()),
], ids=["support-vectors", "threshold"])  # fmt: skip
def test_labels_that_are_not_always_the_likeliest_class_are_not_made_from_probabilities(estimator: Any) -> None:
    # Compared rows are few, and those that tell may not be among them.
    other, said = tried(estimator)
    assert isinstance(other, SklearnModel)
    assert "its labels do not follow from its probabilities" == said.note


def test_a_step_that_only_fills_gaps_does_not_hide_the_thresholds_behind_it() -> None:
    pipeline = make_pipeline(SimpleImputer(), RandomForestClassifier(50, random_state=0)).fit(FEATURES, CLASSES)
    assert 2000 < len(rows_for(pipeline, WIDTH))
    found = thresholds_of(pipeline)
    assert found is not None
    assert np.isin(found[1], rows_for(pipeline, WIDTH)).mean() > 0.5


def test_a_model_is_loaded_whatever_happens_while_it_is_tried() -> None:
    def full(*_: object) -> Converted:
        raise OSError(28, "No space left on device")

    other, said = tried(DecisionTreeClassifier(), full)
    assert isinstance(other, SklearnModel)
    assert "it could not be tried: OSError: [Errno 28] No space left on device" == said.note


@pytest.mark.parametrize("rows", [1, 7, 400])
def test_labels_and_probabilities_are_those_of_the_estimator(
    forest: AcceleratedModel, boosted: AcceleratedModel, rows: int
) -> None:
    for other in (forest, boosted):
        inputs, outputs = [tensor(FEATURES[:rows])], ("predict_proba", "predict")
        assert difference(other.original.predict(inputs, outputs, None), other.predict(inputs, outputs, None)) is None


def test_other_outputs_are_the_estimators_own(boosted: AcceleratedModel) -> None:
    inputs = [tensor(FEATURES[:3])]
    [expected] = boosted.original.predict(inputs, ("decision_function",), None)
    [given] = boosted.predict(inputs, ("decision_function",), None)
    np.testing.assert_array_equal(expected.data, given.data)


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
@pytest.mark.parametrize("value", [np.inf, 1e300])
def test_what_the_estimator_refuses_is_refused_in_its_words(forest: AcceleratedModel, value: float) -> None:
    rows = FEATURES[:2].copy()
    rows[1, 2] = value
    with pytest.raises(ValueError, match="infinity or a value too large") as expected:
        forest.original.predict([tensor(rows)], ("predict",), None)
    with pytest.raises(ValueError, match="infinity or a value too large") as given:
        forest.predict([tensor(rows)], ("predict",), None)
    assert str(expected.value) == str(given.value)


def test_missing_values_are_the_estimators_to_judge(boosted: AcceleratedModel) -> None:
    rows = FEATURES[:4].copy()
    rows[1, 2] = np.nan
    inputs = [tensor(rows)]
    assert (
        difference(boosted.original.predict(inputs, ("predict",), None), boosted.predict(inputs, ("predict",), None))
        is None
    )


def test_near_ties_are_decided_by_the_estimator() -> None:
    estimator = HistGradientBoostingClassifier(max_iter=1, max_depth=1).fit(FEATURES, CLASSES)
    counting = Counting(estimator)
    model = SklearnModel(counting, "sklearn_skops", Libraries({}, {}))
    answer = convert(estimator, "double")
    assert isinstance(answer, Converted)
    other = AcceleratedModel(model, session_of(answer.model, 1), answer.versions, exact=False)
    counting.rows = 0
    other.predict([tensor(FEATURES)], ("predict",), None)
    assert 0 == counting.rows
    other._run = lambda *_: [np.array([[0.5, 0.5], [0.1, 0.9], [0.500005, 0.499995]])]
    other.predict([tensor(FEATURES[:3])], ("predict",), None)
    assert 2 == counting.rows


def test_a_conversion_that_differs_is_refused() -> None:
    another = RandomForestClassifier(50, random_state=1).fit(FEATURES, CLASSES)
    other, said = tried(
        RandomForestClassifier(50, random_state=0), lambda _, precision, __: convert(another, precision)
    )
    assert isinstance(other, SklearnModel)
    assert "" == said.by
    assert "it answers otherwise" in said.note


def test_rounded_thresholds_are_found_out() -> None:
    """Single precision moves thresholds by less than any row of data would show."""
    other, said = tried(
        HistGradientBoostingClassifier(max_iter=20), lambda estimator, _, __: convert(estimator, "float")
    )
    assert isinstance(other, SklearnModel)
    assert "it answers otherwise" in said.note


def test_what_is_not_faster_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerate, "_LEAST_GAIN", 0.0)  # nothing is that fast
    other, said = tried(DecisionTreeClassifier())
    assert isinstance(other, SklearnModel)
    assert "it is not faster" in said.note


def test_a_classifier_without_probabilities_is_not_converted() -> None:
    other, said = tried(RidgeClassifier(), lambda *_: pytest.fail("converted"))
    assert isinstance(other, SklearnModel)
    assert "it gives no probabilities" in said.note


def test_a_conversion_that_takes_too_long_is_given_up() -> None:
    answer = converted(None, "double", 1, command=(sys.executable, "-c", "import time; time.sleep(60)"))
    assert Unconvertible("it was not converted within 1 s") == answer


def test_a_converter_that_dies_is_no_failure_of_the_model() -> None:
    answer = converted(None, "double", 5, command=(sys.executable, "-c", "raise SystemExit('no memory')"))
    assert Unconvertible("the process that converts ended with 1: no memory") == answer


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_the_conversion_ends_with_the_server_however_that_ends(how: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(
        "import os, sys, time\n\n\nclass Slow:\n"
        "    def __reduce__(self):\n        return slow, (os.environ['TOLD'],)\n\n\n"
        "def slow(told):\n    with open(told, 'w') as file:\n        file.write(str(os.getpid()))\n    time.sleep(60)\n"
    )
    told = tmp_path / "pid"
    program = (
        "import slow\nfrom pillion.acceleration.conversion import converted\nconverted(slow.Slow(), 'double', 60)\n"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    server = subprocess.Popen([sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": path, "TOLD": str(told)})
    try:
        until_now(lambda: told.exists() and told.read_text() != "")
        child = int(told.read_text())
        assert child != server.pid
        assert alive(child)
    finally:
        server.send_signal(how)
        server.wait()
    until_now(lambda: not alive(child))
