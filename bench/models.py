"""The models of the benchmarks, trained here on data that ships with scikit-learn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import skops.io
from onnx import helper
from skl2onnx import to_onnx
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["EXPECTED", "ROW", "write_models"]

ROW = [5.1, 3.5, 1.4, 0.2]
"""One flower, centimetres."""
EXPECTED = 0
"""Its class: setosa."""


def write_models(folder: Path) -> None:
    """Write ``iris.onnx`` and ``iris.skops``, the same logistic regression, and ``identity.onnx``."""
    features, classes = load_iris(return_X_y=True)
    features = features.astype(np.float32)
    model = LogisticRegression(max_iter=1000).fit(features, classes)
    skops.io.dump(model, folder / "iris.skops")
    onnx_model = to_onnx(model, features[:1], options={"zipmap": False}, target_opset=15)
    (folder / "iris.onnx").write_bytes(onnx_model.SerializeToString())
    (folder / "identity.onnx").write_bytes(_identity().SerializeToString())


def _identity() -> onnx.ModelProto:
    """``y`` is ``x``: FP32 of any length."""
    kind = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "identity",
        [helper.make_tensor_value_info("x", kind, [None])],
        [helper.make_tensor_value_info("y", kind, [None])],
    )
    # The opset and the version that every ONNX Runtime since 1.20 reads.
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
