"""The artifacts that the conformance tests serve, made by the libraries their users use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import skops.io
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from tests import penguins

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["save_models"]


def save_models(folder: Path) -> list[dict[str, str]]:
    """Train and save; gives the ``models`` of a ``runtime.yaml``.

    ``iris`` is a scikit-learn classifier in two versions, ``iris-onnx`` the same in ONNX; ``text``, ``half`` and
    ``plain`` give back what they get: BYTES, FP16 and FP32 of any length. ``penguins`` takes named columns of a table.
    """
    features, species = load_iris(return_X_y=True)
    classifier = LogisticRegression(max_iter=1000).fit(features, species)
    skops.io.dump(classifier, folder / "iris.skops")
    converted = to_onnx(classifier, features[:1].astype(np.float32), options={"zipmap": False})
    (folder / "iris.onnx").write_bytes(converted.SerializeToString())
    for name, kind in (("text", TensorProto.STRING), ("half", TensorProto.FLOAT16), ("plain", TensorProto.FLOAT)):
        (folder / f"{name}.onnx").write_bytes(_identity(kind).SerializeToString())
    return [
        {"name": "iris", "version": "1", "path": str(folder / "iris.skops")},
        {"name": "iris", "version": "2", "path": str(folder / "iris.skops")},
        {"name": "penguins", "path": str(penguins.save(penguins.fit(), folder))},
        {"name": "iris-onnx", "path": str(folder / "iris.onnx")},
        *({"name": name, "path": str(folder / f"{name}.onnx")} for name in ("text", "half", "plain")),
    ]


def _identity(kind: int) -> onnx.ModelProto:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "identity",
        [helper.make_tensor_value_info("x", kind, [None])],
        [helper.make_tensor_value_info("y", kind, [None])],
    )
    # ONNX Runtime reads the opset and the IR version that every release since 1.20 knows.
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
