"""FastAPI and pydantic by hand: what most teams write first."""

from __future__ import annotations

import sys

import numpy as np
import uvicorn
from fastapi import FastAPI
from iris_model import load
from pydantic import BaseModel


class Rows(BaseModel):
    instances: list[list[float]]


class Classes(BaseModel):
    predictions: list[int]


def application(path):
    classes = load(path)
    app = FastAPI()

    @app.post("/predict")
    def predict(rows: Rows) -> Classes:
        return Classes(predictions=classes(np.array(rows.instances, dtype=np.float32)).tolist())

    return app


if __name__ == "__main__":
    model, port = sys.argv[1:3]
    uvicorn.run(application(model), host="127.0.0.1", port=int(port), access_log=False, log_level="warning")
