"""tritonclient's asyncio clients, over HTTP and gRPC. Prints one JSON object: a result for each case."""

# The libraries live in another environment, out of the type checker's sight.
# mypy: ignore-errors

import asyncio
import json
import sys

import numpy as np
import tritonclient.grpc.aio as triton_grpc
import tritonclient.http.aio as triton_http
from tritonclient.utils import InferenceServerException

ROWS = np.array([[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]], dtype=np.float32)
results = {}


async def case(name, awaitable):
    """Await a case and keep its result, or what it raised."""
    try:
        results[name] = await awaitable
    except InferenceServerException as error:
        results[name] = {"raised": error.message(), "status": error.status()}
    except Exception as error:
        results[name] = {"raised": f"{type(error).__name__}: {error}"}


def rows(library):
    given = library.InferInput("X", list(ROWS.shape), "FP32")
    given.set_data_from_numpy(ROWS)
    return given


async def health(client):
    return [await client.is_server_live(), await client.is_server_ready(), await client.is_model_ready("iris")]


async def infer(library, client, **options):
    answer = await client.infer("iris-onnx", [rows(library)], **options)
    return answer.as_numpy("label").tolist()


async def together(library, client):
    return await asyncio.gather(*(infer(library, client) for _ in range(50)))


async def classes(library, client):
    outputs = [library.InferRequestedOutput("probabilities", class_count=2)]
    answer = await client.infer("iris-onnx", [rows(library)], outputs=outputs)
    return [[one.decode().split(":")[1] for one in row] for row in answer.as_numpy("probabilities")]


async def statistics_http(client):
    return (await client.get_inference_statistics("iris-onnx"))["model_stats"][0]["name"]


async def statistics_grpc(client):
    return (await client.get_inference_statistics("iris-onnx")).model_stats[0].name


async def stream(client):
    async def requests():
        for name in ("iris-onnx", "nothing", "iris-onnx"):
            yield {"model_name": name, "inputs": [rows(triton_grpc)], "request_id": name}

    told = []
    async for result, error in client.stream_infer(requests()):
        told.append(error.message() if error else result.as_numpy("label").tolist())
    return told


async def main():
    """Every case, one after the other."""
    async with triton_http.InferenceServerClient(sys.argv[1]) as client:
        await case("http_health", health(client))
        await case("http_infer", infer(triton_http, client))
        for coding in ("gzip", "deflate"):
            options = {"request_compression_algorithm": coding, "response_compression_algorithm": coding}
            await case(f"http_{coding}", infer(triton_http, client, **options))
        await case("http_together", together(triton_http, client))
        await case("http_classes", classes(triton_http, client))
        await case("http_statistics", statistics_http(client))
        await case("http_timeout", infer(triton_http, client, timeout=30_000_000))
        await case("http_sequence", infer(triton_http, client, sequence_id=7, sequence_start=True))
    async with triton_grpc.InferenceServerClient(sys.argv[2]) as client:
        await case("grpc_health", health(client))
        await case("grpc_infer", infer(triton_grpc, client))
        await case("grpc_gzip", infer(triton_grpc, client, compression_algorithm="gzip"))
        await case("grpc_together", together(triton_grpc, client))
        await case("grpc_classes", classes(triton_grpc, client))
        await case("grpc_statistics", statistics_grpc(client))
        await case("grpc_timeout", infer(triton_grpc, client, timeout=30_000_000))
        await case("grpc_sequence", infer(triton_grpc, client, sequence_id=7, sequence_start=True))
        await case("grpc_stream", stream(client))


asyncio.run(main())
print(json.dumps(results))
