"""The command as its users run it: real pickles, real conversions, a real server behind them."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.cluster import Birch
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from pillion.backends.api import LoadOptions, backend_named
from pillion.tensors import Datatype, Tensor

PILLION = str(Path(sys.executable).with_name("pillion"))
FEATURES, CLASSES = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])


def convert(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PILLION, "convert-model", *arguments],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def saved(estimator: object, folder: Path, name: str = "model.joblib") -> Path:
    joblib.dump(estimator, folder / name)
    return folder / name


MODELS = {
    "classifier": lambda: make_pipeline(StandardScaler(), LogisticRegression()).fit(FEATURES, CLASSES),
    "text labels": lambda: RandomForestClassifier(5, random_state=0).fit(FEATURES, NAMES[CLASSES]),
    "regressor": lambda: GradientBoostingRegressor(n_estimators=5).fit(*load_diabetes(return_X_y=True)),
    "transformer": lambda: StandardScaler().fit(FEATURES),
}


@pytest.mark.parametrize("target", ["model.skops", "model.onnx"])
@pytest.mark.parametrize("name", MODELS)
def test_a_converted_model_is_compared_and_answers_as_before(tmp_path: Path, name: str, target: str) -> None:
    estimator: Any = MODELS[name]()
    saved(estimator, tmp_path)
    rows = estimator.n_features_in_ and np.random.default_rng(1).normal(0, 1, (20, estimator.n_features_in_))
    np.save(tmp_path / "rows.npy", rows)

    done = convert(tmp_path, "model.joblib", "-o", target, "--allow-pickle", "--samples", "rows.npy", "--json")
    assert (0, "") == (done.returncode, done.stderr)
    told = json.loads(done.stdout)
    assert (20, False, target) == (told["rows"], told["generated"], told["output"])
    assert {0} == {one["mismatches"] for one in told["compared"]}
    assert {"model.joblib", "rows.npy", target} == {path.name for path in tmp_path.iterdir()}

    # Pillion's own backend gives the same answers, without any consent.
    model = backend_named(Path(target).suffix[1:]).load(tmp_path / target, LoadOptions())
    single = target.endswith("onnx")
    data = rows.astype(np.float32) if single else rows
    given = Tensor("X", Datatype.FP32 if single else Datatype.FP64, data)
    answer = model.predict([given], model.default_outputs[:1], None)[0].data.ravel().tolist()
    method = "predict" if hasattr(estimator, "predict") else "transform"
    expected = np.asarray(getattr(estimator, method)(data)).ravel().tolist()
    if isinstance(expected[0], str):
        expected = [text.encode() for text in expected]
        assert expected == answer
    else:
        assert expected == pytest.approx(answer, rel=1e-4, abs=1e-4)


def test_nothing_is_opened_without_consent_and_the_refusal_is_the_command(tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(Marks()))
    done = convert(tmp_path, "model.pkl", "-o", "model.skops")

    assert 2 == done.returncode
    assert "pillion convert-model model.pkl -o model.skops --allow-pickle" in done.stderr
    assert ["model.pkl"] == [path.name for path in tmp_path.iterdir()]


class Marks:
    """Unpickling it writes the environment into a file, in the process that does it."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        code = "import os, json; open('ran', 'w').write(json.dumps([os.getppid(), dict(os.environ)]))"
        return (exec, (code,))


def test_the_pickle_runs_in_a_process_of_its_own_that_gets_no_credentials(tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(Marks()))
    done = convert(tmp_path, "model.pkl", "-o", "model.skops", "--allow-pickle", AWS_SECRET_ACCESS_KEY="hunter2")

    assert 1 == done.returncode
    assert "not a scikit-learn estimator" in done.stderr
    assert "hunter2" not in (tmp_path / "ran").read_text()
    assert os.getpid() != json.loads((tmp_path / "ran").read_text())[0]


def test_a_process_that_dies_is_an_error_and_leaves_no_file(tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(b"cos\n_exit\n(I9\ntR.")
    done = convert(tmp_path, "model.pkl", "-o", "model.skops", "--allow-pickle")

    assert (1, True) == (done.returncode, "ended with 9" in done.stderr)
    assert not (tmp_path / "model.skops").exists()


MODULE = '''
from sklearn.base import BaseEstimator, TransformerMixin

class Clip(TransformerMixin, BaseEstimator):
    """A step of one's own."""

    def fit(self, X, y=None):
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X):
        return X.clip(-1, 1)
'''
TRAIN = """
import joblib
from scoring import Clip
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
joblib.dump(make_pipeline(Clip(), LogisticRegression()).fit(*load_iris(return_X_y=True)), "own.joblib")
"""


def test_types_of_ones_own_are_named_with_what_serves_them(tmp_path: Path) -> None:
    (tmp_path / "scoring.py").write_text(MODULE)
    subprocess.run([sys.executable, "-c", TRAIN], cwd=tmp_path, check=True)
    done = convert(tmp_path, "own.joblib", "-o", "own.skops", "--allow-pickle")

    assert (0, "") == (done.returncode, done.stderr)
    assert "pillion serve own.skops --trust scoring.Clip" in done.stdout
    assert "trustedTypes: [scoring.Clip]" in done.stdout


def test_results_that_differ_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    saved(Ridge(alpha=1e-9).fit(*load_diabetes(return_X_y=True)), tmp_path)
    done = convert(tmp_path, "model.joblib", "-o", "model.onnx", "--allow-pickle", "--tolerance", "0")

    assert 1 == done.returncode
    assert "rows differ" in done.stdout
    assert "was not written: its results differ" in done.stderr
    assert "made up" in done.stderr
    assert ["model.joblib"] == [path.name for path in tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("said", "arguments"),
    [
        ("is no format", ["model.joblib", "-o", "model.bin", "--allow-pickle"]),
        ("no such file", ["none.joblib", "-o", "model.skops", "--allow-pickle"]),
        ("is there already", ["model.joblib", "-o", "model.joblib.skops", "--allow-pickle"]),
        ("there is no folder", ["model.joblib", "-o", "no/model.skops", "--allow-pickle"]),
    ],
)
def test_wrong_usage_is_said_before_anything_is_opened(tmp_path: Path, said: str, arguments: list[str]) -> None:
    (tmp_path / "model.joblib").write_bytes(pickle.dumps(Marks()))
    (tmp_path / "model.joblib.skops").touch()
    done = convert(tmp_path, *arguments)

    assert (2, True) == (done.returncode, said in done.stderr)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("said", "estimator", "target"),
    [
        ("give rows of yours: --samples", lambda: TfidfVectorizer().fit(["a word", "another one"]), "model.skops"),
        ("which a skops file may never name", lambda: _with_function(os.path.join), "model.skops"),
        ("skl2onnx cannot convert this model", lambda: Birch().fit(FEATURES), "model.onnx"),
    ],
)
def test_what_cannot_be_converted_says_why_and_what_to_try(
    tmp_path: Path, said: str, estimator: Any, target: str
) -> None:
    saved(estimator(), tmp_path)
    done = convert(tmp_path, "model.joblib", "-o", target, "--allow-pickle")

    assert (1, True) == (done.returncode, said in done.stderr), done.stderr
    assert not (tmp_path / target).exists()


def _with_function(function: Any) -> Any:
    """A step that holds a function, and does not call it."""
    step = FunctionTransformer(inverse_func=function)
    return make_pipeline(step, LogisticRegression(max_iter=500)).fit(FEATURES, CLASSES)


def test_a_skops_file_becomes_onnx_without_consent(tmp_path: Path) -> None:
    saved(MODELS["classifier"](), tmp_path)
    assert 0 == convert(tmp_path, "model.joblib", "-o", "model.skops", "--allow-pickle").returncode
    done = convert(tmp_path, "model.skops", "-o", "model.onnx")

    assert (0, "") == (done.returncode, done.stderr)
    assert "not in the new file: decision_function" in done.stdout


def test_columns_of_a_csv_are_found_by_name(tmp_path: Path) -> None:
    estimator = LogisticRegression(max_iter=500).fit(FEATURES, CLASSES)
    estimator.feature_names_in_ = np.array(["a", "b", "c", "d"], dtype=object)
    saved(estimator, tmp_path)
    lines = [
        "d,c,b,a,species",
        *(f"{row[3]},{row[2]},{row[1]},{row[0]},{int(c)}" for row, c in zip(FEATURES, CLASSES, strict=True)),
    ]
    (tmp_path / "rows.csv").write_text("\n".join(lines))
    done = convert(tmp_path, "model.joblib", "-o", "model.onnx", "--allow-pickle", "--samples", "rows.csv")

    assert (0, "") == (done.returncode, done.stderr)
    assert "compared on   150 rows" in done.stdout
    assert "columns not used: species" in done.stdout
