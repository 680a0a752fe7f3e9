"""PyTorch behind the real server: by the command line and by runtime.yaml, over REST and gRPC."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
import safetensors.torch
import torch

from pillion.protocol.protos import open_inference_pb2 as pb
from pillion.runtimefile import DesiredModel, RuntimeFile, dump
from tests.backends.calls import infer
from tests.backends.nets import NET_SOURCE, Net, rows
from tests.integration.own_python.program import failing, serving
from tests.integration.server.process import served
from tests.waiting import until_now

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.own_python.program import Program


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A class, its weights, and a program."""
    folder: Path = tmp_path_factory.mktemp("torch")
    (folder / "net.py").write_text(NET_SOURCE)
    safetensors.torch.save_file(Net().state_dict(), folder / "net.safetensors")
    shapes = {"x": {0: torch.export.Dim("batch", min=1, max=64)}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's own, about its own future
        torch.export.save(
            torch.export.export(Net().eval(), (torch.zeros(2, 4),), dynamic_shapes=shapes), folder / "net.pt2"
        )
    return folder


@pytest.fixture(scope="module")
def program(folder: Path) -> Iterator[Program]:
    """The class with its weights, and the program, in one server."""
    targets = ("net.py:Net", "program=net.pt2")
    with serving(folder, *targets, "--artifact", "net.safetensors", "--allow-pickle", "--device", "cpu") as program:
        yield program


def expected(count: int = 2) -> list[list[float]]:
    found: list[list[float]] = Net()(torch.from_numpy(rows(count))).tolist()
    return found


def oip(count: int = 2, **changed: Any) -> dict[str, Any]:
    data = rows(count).ravel().tolist()
    return {"inputs": [{"name": "x", "shape": [count, 4], "datatype": "FP32", "data": data, **changed}]}


@pytest.mark.parametrize("model", ["net", "program"])
def test_rest_answers_as_the_module_does(program: Program, model: str) -> None:
    status, answer = program.curl(f"/v2/models/{model}/infer", oip())
    assert (200, [2, 3]) == (status, answer["outputs"][0]["shape"])
    np.testing.assert_allclose(np.ravel(expected()), answer["outputs"][0]["data"], rtol=1e-5)
    status, answer = program.curl(f"/v1/models/{model}:predict", {"instances": rows().tolist()})
    assert 200 == status
    np.testing.assert_allclose(expected(), answer["predictions"], rtol=1e-5)


@pytest.mark.parametrize("model", ["net", "program"])
def test_grpc_answers_as_the_module_does(program: Program, model: str) -> None:
    tensor = pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=[2, 4])
    request = pb.ModelInferRequest(model_name=model, inputs=[tensor], raw_input_contents=[rows().tobytes()])
    answer = infer(program, request)
    assert ["output"] == [output.name for output in answer.outputs]
    found = np.frombuffer(answer.raw_output_contents[0], np.float32).reshape(2, 3)
    np.testing.assert_allclose(expected(), found, rtol=1e-5)


@pytest.mark.parametrize(
    ("model", "body", "said"),
    [
        ("net", oip(shape=[2, 3], data=[0.0] * 6), "input 'x'"),
        ("program", oip(shape=[2, 3], data=[0.0] * 6), "input 'x'"),
        ("program", oip(datatype="INT64", data=[0] * 8), "input 'x'"),
        ("program", oip(65), "input 'x': dimension 0 is 65, and the program takes from 1 to 64"),
    ],
)
def test_a_wrong_shape_or_datatype_is_the_callers_fault_by_name(
    program: Program, model: str, body: dict[str, Any], said: str
) -> None:
    status, answer = program.curl(f"/v2/models/{model}/infer", body)
    assert 400 == status
    assert said in answer["error"]


def test_metadata_tells_what_the_program_takes(program: Program) -> None:
    status, answer = program.curl("/v2/models/program")
    assert (200, "pytorch_export") == (status, answer["platform"])
    assert [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}] == answer["inputs"]


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("net.pt2", "a program of torch.export"),
        ("net.safetensors", "pillion serve net.py:Net --artifact net.safetensors"),
    ],
)
def test_what_cannot_be_served_as_it_is_says_what_to_do(folder: Path, target: str, said: str) -> None:
    code, printed = failing(folder, target)
    assert (True, True) == (code != 0, said in printed)


def test_status_tells_operators_the_cause_and_the_versions(folder: Path, tmp_path: Path) -> None:
    config = tmp_path / "runtime.yaml"
    models = (
        DesiredModel(name="allowed", path=str(folder / "net.pt2"), allow_pickle=True),
        DesiredModel(name="refused", path=str(folder / "net.pt2")),
    )
    config.write_text(dump(RuntimeFile(models=models)))
    with served(tmp_path, config, ready=False) as server:

        def states() -> dict[str, Any]:
            return {model["name"]: model for model in server.admin("/status").json()["models"]}

        until_now(lambda: states()["allowed"]["state"] == "READY" and states()["refused"].get("cause"), 60)
        assert "UnsafeFormat" == states()["refused"]["cause"]
        assert torch.__version__ == states()["allowed"]["libraries"]["loading"]["torch"]
        answer = httpx.post(server.url("/v2/models/allowed/infer"), json=oip(), timeout=60)
        np.testing.assert_allclose(np.ravel(expected()), answer.json()["outputs"][0]["data"], rtol=1e-5)
