"""tritonclient over gRPC. Prints one JSON object: a result for each case."""

# The libraries live in another environment, out of the type checker's sight.
# mypy: ignore-errors

import json
import queue
import sys

import numpy as np
import tritonclient.grpc as triton

client = triton.InferenceServerClient(sys.argv[1])
results = {}
ROWS = np.array([[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]], dtype=np.float32)


def case(function):
    """Run a case and keep its result, or what it raised."""
    try:
        results[function.__name__] = function()
    except triton.InferenceServerException as error:
        results[function.__name__] = {"raised": error.message(), "status": error.status()}
    except Exception as error:
        results[function.__name__] = {"raised": f"{type(error).__name__}: {error}"}


def tensor(name, array, datatype):
    given = triton.InferInput(name, list(array.shape), datatype)
    given.set_data_from_numpy(array)
    return given


@case
def health():
    return [
        client.is_server_live(),
        client.is_server_ready(),
        client.is_model_ready("iris"),
        client.is_model_ready("iris", "2"),
    ]


@case
def unknown_ready():
    client.is_model_ready("nothing")


@case
def server_metadata():
    return client.get_server_metadata(as_json=True)


@case
def model_metadata():
    return client.get_model_metadata("iris-onnx", as_json=True)


@case
def index():
    return client.get_model_repository_index(as_json=True)["models"]


@case
def infer():
    answer = client.infer("iris-onnx", [tensor("X", ROWS, "FP32")], request_id="7", client_timeout=30)
    return [answer.get_response().id, answer.as_numpy("label").tolist(), answer.as_numpy("probabilities").shape]


@case
def infer_selected():
    outputs = [triton.InferRequestedOutput("label")]
    answer = client.infer("iris-onnx", [tensor("X", ROWS, "FP32")], outputs=outputs)
    return [output.name for output in answer.get_response().outputs]


@case
def infer_version():
    spec = client.get_model_metadata("iris", "2").inputs[0]
    kind = {"FP32": np.float32, "FP64": np.float64}[spec.datatype]
    given = tensor(spec.name, ROWS.astype(kind), spec.datatype)
    return client.infer("iris", [given], model_version="2").get_response().model_version


@case
def strings():
    array = np.array([b"plain", "\u00fcml\u00e4ut".encode(), b""], dtype=np.object_)
    return [item.decode() for item in client.infer("text", [tensor("x", array, "BYTES")]).as_numpy("y")]


@case
def half():
    array = np.array([1.5, -2.0, 65504.0], dtype=np.float16)
    return client.infer("half", [tensor("x", array, "FP16")]).as_numpy("y").tolist()


@case
def sixteen_megabytes():
    array = np.random.default_rng(0).random(4 * 1024 * 1024, dtype=np.float32)
    return client.infer("plain", [tensor("x", array, "FP32")]).as_numpy("y").tobytes() == array.tobytes()


@case
def stream():
    answers = queue.Queue()
    with triton.InferenceServerClient(sys.argv[1]) as streaming:
        streaming.start_stream(lambda result, error: answers.put((result, error)))
        streaming.async_stream_infer("iris-onnx", [tensor("X", ROWS, "FP32")], request_id="a")
        streaming.async_stream_infer("nothing", [tensor("X", ROWS, "FP32")], request_id="b")
        streaming.async_stream_infer("plain", [tensor("x", ROWS[0], "FP32")], request_id="c")
        collected = [answers.get(timeout=30) for _ in range(3)]
        streaming.stop_stream()
    return [
        [result.get_response().id, None] if error is None else [None, error.message()] for result, error in collected
    ]


@case
def unknown_model():
    client.infer("nothing", [tensor("X", ROWS, "FP32")])


@case
def wrong_shape():
    client.infer("iris-onnx", [tensor("X", ROWS[:, :3].copy(), "FP32")])


@case
def wrong_datatype():
    client.infer("iris-onnx", [tensor("X", ROWS.astype(np.int32), "INT32")])


@case
def load_denied():
    client.load_model("iris")


@case
def statistics():
    before = client.get_inference_statistics("iris-onnx").model_stats[0].inference_stats
    client.infer("iris-onnx", [tensor("X", ROWS, "FP32")])
    after = client.get_inference_statistics("iris-onnx", as_json=True)["model_stats"][0]
    counted = after["inference_stats"]
    more = int(counted["compute_infer"]["ns"]) > before.compute_infer.ns
    return [after["name"], int(counted["success"]["count"]) == before.success.count + 1, more]


@case
def configuration():
    config = client.get_model_config("iris-onnx", as_json=True)["config"]
    tensors = [
        [[spec["name"], spec["data_type"], [int(side) for side in spec.get("dims", [])]] for spec in config[kind]]
        for kind in ("input", "output")
    ]
    return [config["name"], config["max_batch_size"] > 0, *tensors]


@case
def shared_memory():
    client.register_system_shared_memory("region", "/region", 64)


@case
def compressed_deflate():
    answer = client.infer("iris-onnx", [tensor("X", ROWS, "FP32")], compression_algorithm="deflate")
    return answer.as_numpy("label").tolist()


@case
def compressed():
    answer = client.infer("iris-onnx", [tensor("X", ROWS, "FP32")], compression_algorithm="gzip")
    return answer.as_numpy("label").tolist()


client.close()
print(json.dumps(results))
