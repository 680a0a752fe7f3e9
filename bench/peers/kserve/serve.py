"""KServe's Python server with a custom model: how a model without one of KServe's own images is served."""

from __future__ import annotations

import sys

import numpy as np
from iris_model import load
from kserve import Model, ModelServer
from kserve.utils.utils import get_predict_response


class Iris(Model):
    def __init__(self, path):
        super().__init__("iris")
        self.path = path
        self.load()

    def load(self):
        self.classes = load(self.path)
        self.ready = True
        return True

    def predict(self, payload, headers=None):
        rows = payload.inputs[0].as_numpy().astype(np.float32)
        return get_predict_response(payload, np.asarray(self.classes(rows), dtype=np.int64), self.name)


if __name__ == "__main__":
    path, http, grpc = sys.argv[1:4]
    ModelServer(http_port=int(http), grpc_port=int(grpc), workers=1, enable_docs_url=False).start([Iris(path)])
