"""Ray Serve, as its guide has it: one replica, one proxy."""

from __future__ import annotations

import signal
import sys
import threading

import numpy as np
import ray
from iris_model import load
from ray import serve


@serve.deployment(num_replicas=1)
class Iris:
    def __init__(self, path):
        self.classes = load(path)

    async def __call__(self, request):
        rows = np.array((await request.json())["instances"], dtype=np.float32)
        return {"predictions": self.classes(rows).tolist()}


if __name__ == "__main__":
    model, port = sys.argv[1:3]
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    ray.init(num_cpus=2, include_dashboard=False, configure_logging=False, runtime_env={"env_vars": {}})
    serve.start(http_options={"host": "127.0.0.1", "port": int(port)})
    serve.run(Iris.bind(model), route_prefix="/predict")
    ended.wait()
    serve.shutdown()
    ray.shutdown()
