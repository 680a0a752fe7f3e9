"""Lets MLflow itself write models of several flavours below a folder."""
# mypy: ignore-errors
# The libraries live in another environment, out of the type checker's sight.

import json
import sys
import warnings
from pathlib import Path

import mlflow
import mlflow.onnx
import mlflow.pyfunc
import mlflow.sklearn
import pandas as pd
from mlflow.models import infer_signature
from skl2onnx import to_onnx
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

warnings.simplefilter("ignore")
folder = Path(sys.argv[1])
features, classes = load_iris(return_X_y=True)
frame = pd.DataFrame(features, columns=["sepal length", "sepal width", "petal length", "petal width"])
named = LogisticRegression(max_iter=500).fit(frame, classes)
plain = LogisticRegression(max_iter=500).fit(features, classes)


class Own(mlflow.pyfunc.PythonModel):
    """Code of its own, and no native flavour."""

    def predict(self, context, model_input, params=None):
        """Answer as many ones as there are rows."""
        return [1] * len(model_input)


save = {"pip_requirements": ["scikit-learn"]}
signature = infer_signature(frame, plain.predict(features))
mlflow.sklearn.save_model(plain, folder / "skops", signature=signature, serialization_format="skops", **save)
mlflow.sklearn.save_model(named, folder / "named", serialization_format="skops", **save)
mlflow.sklearn.save_model(plain, folder / "pickled", signature=signature, serialization_format="cloudpickle", **save)
graph = to_onnx(plain, features[:1].astype("float32"), options={id(plain): {"zipmap": False}})
mlflow.onnx.save_model(graph, folder / "onnx", **save)
mlflow.pyfunc.save_model(folder / "own", python_model=Own(), **save)
print(json.dumps({"mlflow": mlflow.__version__, "expected": plain.predict(features[::50]).tolist()}))
