"""LitServe, as its guide has it."""

from __future__ import annotations

import sys

import litserve
import numpy as np
from iris_model import load


class Iris(litserve.LitAPI):
    def __init__(self, path):
        super().__init__()
        self.path = path

    def setup(self, device):
        self.classes = load(self.path)

    def decode_request(self, request):
        return np.array(request["instances"], dtype=np.float32)

    def predict(self, rows):
        return self.classes(rows)

    def encode_response(self, classes):
        return {"predictions": classes.tolist()}


if __name__ == "__main__":
    path, port = sys.argv[1:3]
    litserve.LitServer(Iris(path), accelerator="cpu", workers_per_device=1).run(
        host="127.0.0.1", port=int(port), log_level="warning", generate_client_file=False, num_api_servers=1
    )
