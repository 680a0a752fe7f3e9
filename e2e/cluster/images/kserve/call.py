"""KServe's inference clients, unchanged, against a service: `call.py HOST MODEL`. Prints an answer for each way in."""

# The libraries live in the image, out of the type checker's sight.
# mypy: ignore-errors

import asyncio
import json
import sys

import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig

HOST, MODEL = sys.argv[1:]
HTTP = f"http://{HOST}"
ROWS = np.array([[6.8, 2.8, 4.8, 1.4], [6.0, 3.4, 4.5, 1.6]])


def request():
    """The rows of KServe's own sample."""
    given = InferInput(name="input-0", shape=list(ROWS.shape), datatype="FP64")
    given.set_data_from_numpy(ROWS, binary_data=False)
    return InferRequest(model_name=MODEL, infer_inputs=[given])


async def main() -> None:
    """Ask by REST in both protocols, and by gRPC."""
    answers = {}
    async with InferenceRESTClient(RESTConfig(protocol="v2", retries=0)) as client:
        answers["v2_ready"] = await client.is_model_ready(HTTP, MODEL)
        answers["v2"] = (await client.infer(HTTP, request(), model_name=MODEL)).outputs[0].as_numpy().tolist()
    async with InferenceRESTClient(RESTConfig(protocol="v1", retries=0)) as client:
        answers["v1"] = (await client.infer(HTTP, {"instances": ROWS.tolist()}, model_name=MODEL))["predictions"]
    client = InferenceGRPCClient(f"{HOST}:8081", verbose=False)
    answers["grpc_ready"] = await client.is_model_ready(MODEL)
    answers["grpc"] = (await client.infer(request())).outputs[0].as_numpy().tolist()
    await client.close()
    print(json.dumps(answers))


asyncio.run(main())
