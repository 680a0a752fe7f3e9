"""Real models, trained once per session on data sets that ship with scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np
import skops.io
from skl2onnx import to_onnx
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from pillion.tensors import Datatype, Tensor

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["IrisModels", "iris_rows", "train_iris"]


@dataclass(frozen=True, slots=True)
class IrisModels:
    """One logistic regression on iris, in every format. Paths of files."""

    estimator: LogisticRegression
    skops: Path
    joblib: Path
    onnx: Path
    """Input ``X`` FP32 [-1, 4]; outputs ``label`` INT64 [-1] and ``probabilities`` FP32 [-1, 3]."""
    onnx_zipmap: Path
    """The same with the probabilities as a list of dictionaries, skl2onnx's default."""


def train_iris(folder: Path) -> IrisModels:
    """Train and write all formats below ``folder``."""
    features, classes = load_iris(return_X_y=True)
    estimator = LogisticRegression(max_iter=500).fit(features, classes)
    paths = IrisModels(
        estimator,
        folder / "iris.skops",
        folder / "iris.joblib",
        folder / "iris.onnx",
        folder / "iris-zipmap.onnx",
    )
    skops.io.dump(estimator, paths.skops)
    joblib.dump(estimator, paths.joblib)
    sample = features[:1].astype(np.float32)
    for path, zipmap in ((paths.onnx, False), (paths.onnx_zipmap, True)):
        converted: Any = to_onnx(estimator, sample, options={id(estimator): {"zipmap": zipmap}})
        path.write_bytes(converted.SerializeToString())
    return paths


def iris_rows(name: str = "input", datatype: Datatype = Datatype.FP64, rows: int = 3) -> Tensor:
    """``rows`` flowers spread over the three classes, as one tensor."""
    features = load_iris().data[:: 150 // rows][:rows]
    dtype = np.float32 if datatype is Datatype.FP32 else np.float64
    return Tensor(name, datatype, np.ascontiguousarray(features, dtype=dtype))
