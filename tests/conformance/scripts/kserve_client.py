"""KServe's own client over REST (V1 and V2) and gRPC. Prints one JSON object: a result for each case."""

# The libraries live in another environment, out of the type checker's sight.
# mypy: ignore-errors

import asyncio
import json
import sys

import httpx
import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig

HTTP, GRPC = f"http://{sys.argv[1]}", sys.argv[2]
results = {}
ROWS = np.array([[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]], dtype=np.float32)


async def case(name, awaitable):
    """Await a case and keep its result, or what it raised."""
    try:
        results[name] = await awaitable
    except httpx.HTTPStatusError as error:
        results[name] = {"raised": error.response.text, "status": error.response.status_code}
    except Exception as error:
        results[name] = {"raised": f"{type(error).__name__}: {error}"}


def request(model, array=ROWS, name="X", datatype="FP32", binary=False):
    given = InferInput(name=name, shape=list(array.shape), datatype=datatype)
    given.set_data_from_numpy(array, binary_data=binary)
    return InferRequest(model_name=model, infer_inputs=[given], request_id="7")


async def labels(response):
    answer = await response
    output = next(output for output in answer.outputs if output.name == "label")
    return [answer.id, answer.model_name, output.as_numpy().tolist()]


async def text(response):
    return (await response).outputs[0].data


async def main():
    """Every case, one after the other."""
    strings = np.array(["plain", "\u00fcml\u00e4ut"], dtype=np.object_)
    async with InferenceRESTClient(RESTConfig(protocol="v2", retries=0)) as v2:
        await case("v2_live", v2.is_server_live(HTTP))
        await case("v2_ready", v2.is_server_ready(HTTP))
        await case("v2_model_ready", v2.is_model_ready(HTTP, "iris"))
        await case("v2_unknown_ready", v2.is_model_ready(HTTP, "nothing"))
        await case("v2_json", labels(v2.infer(HTTP, request("iris-onnx"), model_name="iris-onnx")))
        await case("v2_binary", labels(v2.infer(HTTP, request("iris-onnx", binary=True), model_name="iris-onnx")))
        await case("v2_strings", text(v2.infer(HTTP, request("text", strings, "x", "BYTES"), model_name="text")))
        await case("v2_unknown", v2.infer(HTTP, request("nothing"), model_name="nothing"))
    async with InferenceRESTClient(RESTConfig(protocol="v1", retries=0)) as v1:
        await case("v1_live", v1.is_server_live(HTTP))
        await case("v1_model_ready", v1.is_model_ready(HTTP, "iris"))
        await case("v1_predict", v1.infer(HTTP, {"instances": ROWS.tolist()}, model_name="iris"))
        await case("v1_columns", v1.infer(HTTP, {"inputs": ROWS.tolist()}, model_name="iris"))
        await case("v1_bad", v1.infer(HTTP, {"rows": ROWS.tolist()}, model_name="iris"))
    async with InferenceGRPCClient(GRPC, retries=0) as grpc:
        await case("grpc_live", grpc.is_server_live())
        await case("grpc_ready", grpc.is_server_ready())
        await case("grpc_model_ready", grpc.is_model_ready("iris"))
        await case("grpc_typed", labels(grpc.infer(request("iris-onnx"))))
        await case("grpc_raw", labels(grpc.infer(request("iris-onnx", binary=True))))
        await case("grpc_unknown", grpc.infer(request("nothing")))


asyncio.run(main())
print(json.dumps(results))
