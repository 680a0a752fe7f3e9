"""The classification extension with the names of classes, on a real server and both protocols."""

from __future__ import annotations

import shutil
import struct
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc
import httpx
import numpy as np
import onnx
import pytest
import skops.io
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from pillion.protocol.protos import open_inference_pb2 as pb
from pillion.runtimefile import DesiredModel, ExecutionSettings, RuntimeFile, dump
from tests.integration.server.process import served
from tests.waiting import until_now

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.server.process import ServerProcess
    from tests.models import IrisModels

KINDS = ("setosa", "versicolor", "virginica")
SETOSA = [5.1, 3.5, 1.4, 0.2]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, iris: IrisModels) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("labels")
    features, classes = load_iris(return_X_y=True)
    skops.io.dump(LogisticRegression(max_iter=500).fit(features, np.array(KINDS)[classes]), folder / "named.skops")
    in_file = onnx.load(iris.onnx)
    onnx.helper.set_model_props(in_file, {"names": "{0: 'a', 1: 'b', 2: 'c'}"})
    onnx.save(in_file, folder / "props.onnx")
    triton = folder / "triton" / "1"
    triton.mkdir(parents=True)
    shutil.copy(iris.onnx, triton / "model.onnx")
    (folder / "triton" / "labels.txt").write_text("\n".join(KINDS) + "\n")
    wrong = folder / "wrong"
    wrong.mkdir()
    shutil.copy(iris.onnx, wrong / "model.onnx")
    (wrong / "labels.txt").write_text("only\ntwo\n")
    models = {
        "named": folder / "named.skops",
        "numbered": iris.skops,
        "props": folder / "props.onnx",
        "file": folder / "triton",
        "wrong": wrong,
    }
    desired = [DesiredModel(name=name, path=str(path)) for name, path in models.items()]
    desired.append(
        DesiredModel(name="away", path=str(folder / "triton"), execution=ExecutionSettings(executor="process"))
    )
    config = folder / "runtime.yaml"
    config.write_text(dump(RuntimeFile(settings={}, models=tuple(desired))))
    with served(folder, config, ready=False) as running:
        for name in ("named", "numbered", "props", "file", "away"):
            until_now(partial(_ready, running, name))
        yield running


def _ready(server: ServerProcess, name: str) -> bool:
    return httpx.get(server.url(f"/v2/models/{name}/ready"), timeout=60).status_code == 200


def request(model: str, output: str) -> dict[str, Any]:
    name = "X" if output == "probabilities" else "input"
    return {
        "inputs": [{"name": name, "shape": [1, 4], "datatype": "FP32" if name == "X" else "FP64", "data": SETOSA}],
        "outputs": [{"name": output, "parameters": {"classification": 2}}],
    }


def best(server: ServerProcess, model: str, output: str) -> list[str]:
    answer = httpx.post(server.url(f"/v2/models/{model}/infer"), json=request(model, output), timeout=30)
    assert 200 == answer.status_code, answer.text
    (told,) = answer.json()["outputs"]
    assert ("BYTES", [1, 2]) == (told["datatype"], told["shape"])
    return [one.partition(":")[2] for one in told["data"]]


@pytest.mark.parametrize(
    ("model", "output", "expected"),
    [
        ("named", "predict_proba", ["0:setosa", "1:versicolor"]),
        ("named", "decision_function", ["0:setosa", "1:versicolor"]),
        ("numbered", "predict_proba", ["0", "1"]),
        ("props", "probabilities", ["0:a", "1:b"]),
        ("file", "probabilities", ["0:setosa", "1:versicolor"]),
        ("away", "probabilities", ["0:setosa", "1:versicolor"]),
    ],
)
def test_classes_are_named_by_the_artifact_or_by_the_file_of_labels(
    server: ServerProcess, model: str, output: str, expected: list[str]
) -> None:
    assert expected == best(server, model, output)


def test_they_are_named_over_grpc_too(server: ServerProcess) -> None:
    message = pb.ModelInferRequest(model_name="named")
    message.inputs.add(name="input", datatype="FP64", shape=[1, 4]).contents.fp64_contents.extend(SETOSA)
    message.outputs.add(name="predict_proba").parameters["classification"].int64_param = 1
    with grpc.insecure_channel(f"127.0.0.1:{server.ports['grpc']}") as channel:
        infer = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=pb.ModelInferRequest.SerializeToString,
            response_deserializer=pb.ModelInferResponse.FromString,
        )
        answer = infer(message, timeout=30)

    (output,) = answer.outputs
    content = output.contents.bytes_contents[0] if output.HasField("contents") else None
    if content is None:
        raw = answer.raw_output_contents[0]
        (length,) = struct.unpack_from("<I", raw)
        content = raw[4 : 4 + length]
    assert content.endswith(b":0:setosa")


def test_a_file_of_labels_that_fits_no_output_is_refused_by_name(server: ServerProcess) -> None:
    answer = httpx.post(server.url("/v2/models/wrong/infer"), json=request("wrong", "probabilities"), timeout=30)

    assert 503 == answer.status_code
    assert "labels.txt has 2 labels, and no output of the model has a column for each" in answer.json()["error"]
