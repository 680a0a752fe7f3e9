"""Saves a model with the scikit-learn of this interpreter, or predicts with it through Pillion's backend."""
# mypy: ignore-errors
# The libraries live in another environment, out of the type checker's sight.

import json
import sys
from pathlib import Path

import joblib
import sklearn
import skops.io
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pillion.backends.api import LoadOptions, backend_named
from pillion.tensors import Datatype, Tensor

folder = Path(sys.argv[1])
features, classes = load_iris(return_X_y=True)
# Older versions wrote the remainder's columns as a class that newer ones no longer have.
steps = ColumnTransformer([("scaled", StandardScaler(), [0, 1])], remainder="passthrough")
pipeline = make_pipeline(steps, LogisticRegression(max_iter=500)).fit(features, classes)
simple = LogisticRegression(max_iter=500).fit(features, classes)
joblib.dump(pipeline, folder / "pipeline.joblib")
skops.io.dump(pipeline, folder / "pipeline.skops")
skops.io.dump(simple, folder / "simple.skops")

model = backend_named("sklearn").load(folder / "pipeline.joblib", LoadOptions(allow_pickle=True))
rows = [Tensor("input", Datatype.FP64, features)]
answer = model.predict(rows, ("predict",), None)[0].data.tolist()
print(
    json.dumps(
        {
            "version": sklearn.__version__,
            "saved": dict(model.libraries.saved),
            "loading": dict(model.libraries.loading),
            "agrees": answer == pipeline.predict(features).tolist(),
        }
    )
)
