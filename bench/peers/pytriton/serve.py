"""PyTriton: Triton's own server with a Python function behind it."""

from __future__ import annotations

import sys

import numpy as np
from iris_model import load
from pytriton.decorators import batch
from pytriton.model_config import ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig


def main(model, http, grpc, metrics):
    classes = load(model)

    @batch
    def infer(X):  # noqa: N803 - the name of the tensor
        return {"label": np.asarray(classes(X), dtype=np.int64).reshape(-1, 1)}

    config = TritonConfig(
        http_address="127.0.0.1", http_port=http, grpc_address="127.0.0.1", grpc_port=grpc, metrics_port=metrics
    )
    with Triton(config=config) as triton:
        triton.bind(
            model_name="iris",
            infer_func=infer,
            inputs=[Tensor(name="X", dtype=np.float32, shape=(4,))],
            outputs=[Tensor(name="label", dtype=np.int64, shape=(1,))],
            config=ModelConfig(max_batch_size=64),
        )
        triton.serve()


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:5]))
