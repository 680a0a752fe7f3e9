"""BentoML, as its guide has it."""

from __future__ import annotations

import os

import bentoml
import numpy as np
from iris_model import load


@bentoml.service(workers=1)
class Iris:
    def __init__(self):
        self.classes = load(os.environ["MODEL"])

    @bentoml.api
    def predict(self, instances: list) -> dict:
        return {"predictions": self.classes(np.array(instances, dtype=np.float32)).tolist()}
