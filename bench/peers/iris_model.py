"""The model of the comparison as every peer's own code holds it: by ONNX Runtime, or by scikit-learn."""

from __future__ import annotations

import sys
from pathlib import Path


def load(path):
    """A function from rows (FP32, [n, 4]) to classes (INT64, [n])."""
    if Path(path).suffix == ".onnx":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        name, output = session.get_inputs()[0].name, session.get_outputs()[0].name
        return lambda rows: session.run([output], {name: rows})[0]
    import joblib

    return joblib.load(path).predict


def train(path):
    """Fit and save the estimator with the scikit-learn of this environment: pickles of another may not load."""
    import joblib
    import numpy as np
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    features, classes = load_iris(return_X_y=True)
    joblib.dump(LogisticRegression(max_iter=1000).fit(features.astype(np.float32), classes), path)


if __name__ == "__main__":
    train(sys.argv[1])
