"""tritonclient over HTTP. Prints one JSON object: a result for each case."""

# The libraries live in another environment, out of the type checker's sight.
# mypy: ignore-errors

import gzip
import json
import sys
import urllib.request

import numpy as np
import tritonclient.http as triton

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


def tensor(name, array, datatype, binary=True):
    given = triton.InferInput(name, list(array.shape), datatype)
    given.set_data_from_numpy(array, binary_data=binary)
    return given


@case
def health():
    return [
        client.is_server_live(),
        client.is_server_ready(),
        client.is_model_ready("iris"),
        client.is_model_ready("iris", "2"),
        client.is_model_ready("nothing"),
    ]


@case
def server_metadata():
    return client.get_server_metadata()


@case
def model_metadata():
    return client.get_model_metadata("iris-onnx")


@case
def index():
    return client.get_model_repository_index()


@case
def infer_binary():
    answer = client.infer("iris-onnx", [tensor("X", ROWS, "FP32")], request_id="7")
    return [answer.get_response()["id"], answer.as_numpy("label").tolist(), answer.as_numpy("probabilities").shape]


@case
def infer_json():
    outputs = [triton.InferRequestedOutput("probabilities", binary_data=False)]
    answer = client.infer("iris-onnx", [tensor("X", ROWS, "FP32", binary=False)], outputs=outputs)
    return answer.get_response()["outputs"][0]["data"]


@case
def infer_mixed():
    outputs = [
        triton.InferRequestedOutput("label", binary_data=False),
        triton.InferRequestedOutput("probabilities", binary_data=True),
    ]
    answer = client.infer("iris-onnx", [tensor("X", ROWS, "FP32")], outputs=outputs)
    return [answer.as_numpy("label").tolist(), answer.as_numpy("probabilities").argmax(axis=1).tolist()]


@case
def infer_version():
    metadata = client.get_model_metadata("iris", "2")
    spec = metadata["inputs"][0]
    kind = {"FP32": np.float32, "FP64": np.float64}[spec["datatype"]]
    given = tensor(spec["name"], ROWS.astype(kind), spec["datatype"])
    return client.infer("iris", [given], model_version="2").get_response()["model_version"]


@case
def strings_binary():
    array = np.array([b"plain", "\u00fcml\u00e4ut".encode(), b""], dtype=np.object_)
    return [item.decode() for item in client.infer("text", [tensor("x", array, "BYTES")]).as_numpy("y")]


@case
def strings_json():
    array = np.array(["plain", "\u00fcml\u00e4ut", ""], dtype=np.object_)
    outputs = [triton.InferRequestedOutput("y", binary_data=False)]
    answer = client.infer("text", [tensor("x", array, "BYTES", binary=False)], outputs=outputs)
    return answer.get_response()["outputs"][0]["data"]


@case
def half():
    array = np.array([1.5, -2.0, 65504.0], dtype=np.float16)
    return client.infer("half", [tensor("x", array, "FP16")]).as_numpy("y").tolist()


@case
def nan_binary():
    array = np.array([np.nan, np.inf, 1.0], dtype=np.float32)
    return client.infer("plain", [tensor("x", array, "FP32")]).as_numpy("y").tobytes() == array.tobytes()


@case
def nan_json():
    array = np.array([np.nan], dtype=np.float32)
    outputs = [triton.InferRequestedOutput("y", binary_data=False)]
    client.infer("plain", [tensor("x", array, "FP32")], outputs=outputs)


@case
def sixteen_megabytes():
    array = np.random.default_rng(0).random(4 * 1024 * 1024, dtype=np.float32)
    return client.infer("plain", [tensor("x", array, "FP32")]).as_numpy("y").tobytes() == array.tobytes()


@case
def unknown_model():
    client.infer("nothing", [tensor("X", ROWS, "FP32")])


@case
def unknown_version():
    client.infer("iris", [tensor("X", ROWS, "FP32")], model_version="9")


@case
def wrong_shape():
    client.infer("iris-onnx", [tensor("X", ROWS[:, :3].copy(), "FP32")])


@case
def wrong_datatype():
    client.infer("iris-onnx", [tensor("X", ROWS.astype(np.int32), "INT32")])


@case
def wrong_input():
    client.infer("iris-onnx", [tensor("Z", ROWS, "FP32")])


@case
def wrong_output():
    outputs = [triton.InferRequestedOutput("nothing")]
    client.infer("iris-onnx", [tensor("X", ROWS, "FP32")], outputs=outputs)


@case
def load_denied():
    client.load_model("iris")


@case
def compressed():
    return [
        client.infer("iris-onnx", [tensor("X", ROWS, "FP32")], request_compression_algorithm=algorithm)
        .as_numpy("label")
        .tolist()
        for algorithm in ("gzip", "deflate")
    ]


@case
def compressed_answer():
    array = np.full(4000, 3.0, np.float32)
    answer = client.infer("plain", [tensor("x", array, "FP32")], response_compression_algorithm="gzip")
    body, length = triton.InferenceServerClient.generate_request_body([tensor("x", array, "FP32")])
    request = urllib.request.Request(f"http://{sys.argv[1]}/v2/models/plain/infer", body)
    request.add_header("Inference-Header-Content-Length", str(length))
    request.add_header("Accept-Encoding", "gzip")
    request.add_header("Content-Type", "application/octet-stream")
    with urllib.request.urlopen(request) as sent:
        encoding, content = sent.headers["Content-Encoding"], sent.read()
    return [encoding, bytes(gzip.decompress(content)).endswith(answer.as_numpy("y").tobytes())]


@case
def compressed_json_answer():
    array = np.full(4000, 3.0, np.float32)
    outputs = [triton.InferRequestedOutput("y", binary_data=False)]
    answer = client.infer(
        "plain", [tensor("x", array, "FP32")], outputs=outputs, response_compression_algorithm="deflate"
    )
    return answer.as_numpy("y").tolist()


@case
def statistics():
    before = client.get_inference_statistics("iris-onnx")["model_stats"][0]["inference_stats"]
    client.infer("iris-onnx", [tensor("X", ROWS, "FP32")])
    after = client.get_inference_statistics("iris-onnx", "1")["model_stats"][0]
    counted = after["inference_stats"]
    more = counted["compute_infer"]["ns"] > before["compute_infer"]["ns"]
    return [after["name"], counted["success"]["count"] == before["success"]["count"] + 1, more]


@case
def configuration():
    config = client.get_model_config("iris-onnx")
    tensors = [
        [[spec["name"], spec["data_type"], spec["dims"]] for spec in config[kind]] for kind in ("input", "output")
    ]
    return [config["name"], config["max_batch_size"] > 0, *tensors]


@case
def shared_memory():
    client.register_system_shared_memory("region", "/region", 64)


@case
def in_parallel():
    with triton.InferenceServerClient(sys.argv[1], concurrency=8) as parallel:
        waiting = [parallel.async_infer("iris-onnx", [tensor("X", ROWS, "FP32")]) for _ in range(200)]
        return sorted({tuple(one.get_result().as_numpy("label").tolist()) for one in waiting})


client.close()
print(json.dumps(results))
