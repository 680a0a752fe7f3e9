"""Folders that MLflow itself wrote, and the bodies that it sends to `/invocations`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from sklearn.datasets import load_iris

from pillion.backends.api import ModelLoadError
from tests.conformance.conftest import run_script
from tests.conformance.server import RunningServer, serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAMES = ["sepal length", "sepal width", "petal length", "petal width"]
ROWS: list[list[float]] = load_iris().data[::50].tolist()
BACKWARDS = [row[::-1] for row in ROWS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture(scope="module")
def expected(folder: Path) -> list[int]:
    told: list[int] = run_script("mlflow", "mlflow_models.py", str(folder))["expected"]
    return told


@pytest.fixture(scope="module")
def mlflow(folder: Path, expected: list[int]) -> Iterator[RunningServer]:
    names = ("skops", "named", "onnx", "pickled")
    models: list[dict[str, Any]] = [{"name": name, "path": str(folder / name), "format": "mlflow"} for name in names]
    models[-1]["allowPickle"] = True
    with serve(folder, models) as running:
        yield running


def answer(server: RunningServer, model: str, body: object) -> httpx.Response:
    return httpx.post(f"http://{server.http}/invocations/{model}", json=body, timeout=60)


FORMS = {
    "split": {"dataframe_split": {"columns": NAMES, "data": ROWS}},
    "split, other order": {"dataframe_split": {"columns": NAMES[::-1], "data": BACKWARDS}},
    "records": {"dataframe_records": [dict(zip(NAMES[::-1], row, strict=True)) for row in BACKWARDS]},
    "instances": {"instances": ROWS},
    "inputs": {"inputs": ROWS},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("model", ["skops", "named", "pickled"])
def test_models_with_a_signature_or_names_of_their_own_answer_every_form(
    mlflow: RunningServer, expected: list[int], model: str, form: str
) -> None:
    done = answer(mlflow, model, FORMS[form])

    assert (200, {"predictions": expected}) == (done.status_code, done.json())


def test_an_onnx_flavour_answers_by_its_own_outputs(mlflow: RunningServer, expected: list[int]) -> None:
    done = answer(mlflow, "onnx", {"inputs": ROWS})

    assert expected == [row["label"] for row in done.json()["predictions"]]


def test_the_same_models_answer_the_open_inference_protocol(mlflow: RunningServer, expected: list[int]) -> None:
    flat = [value for row in ROWS for value in row]
    body = {"inputs": [{"name": "input", "datatype": "FP64", "shape": [3, 4], "data": flat}]}
    done = httpx.post(f"http://{mlflow.http}/v2/models/skops/infer", json=body)

    assert expected == done.json()["outputs"][0]["data"]


@pytest.mark.parametrize(
    ("status", "said", "path", "body"),
    [
        (400, "'petal width'", "/skops", {"dataframe_split": {"columns": NAMES[:3], "data": [[1, 2, 3]]}}),
        (400, "exactly one of", "/skops", {}),
        (404, "POST /invocations/{model}", "", FORMS["inputs"]),
        (404, "unknown model", "/none", FORMS["inputs"]),
    ],
)
def test_mistakes_are_answered_with_the_field_and_the_way_out(
    mlflow: RunningServer, status: int, said: str, path: str, body: object
) -> None:
    done = httpx.post(f"http://{mlflow.http}/invocations{path}", json=body)

    assert (status, True) == (done.status_code, said in done.json()["error"]), done.text


def test_csv_and_get_are_refused_with_what_is_taken(mlflow: RunningServer) -> None:
    url = f"http://{mlflow.http}/invocations/skops"

    assert 415 == httpx.post(url, content="a,b\n1,2\n", headers={"content-type": "text/csv"}).status_code
    assert 405 == httpx.get(url).status_code


def test_the_only_model_needs_no_name_and_is_counted_under_its_protocol(
    folder: Path, expected: list[int], tmp_path: Path
) -> None:
    models: list[dict[str, Any]] = [{"name": "skops", "path": str(folder / "skops")}]
    with serve(tmp_path, models) as running:
        done = httpx.post(f"http://{running.http}/invocations", json=FORMS["records"])
        assert {"predictions": expected} == done.json()
        assert 'protocol="mlflow"' in httpx.get(f"http://127.0.0.1:{running.admin_port}/metrics").text


@pytest.mark.parametrize(
    ("said", "model"),
    [("only the flavour python_function", "own"), ("pillion convert-model model.pkl -o model.skops", "pickled")],
)
def test_what_would_run_code_is_refused(folder: Path, expected: list[int], said: str, model: str) -> None:
    from pillion.repository import loader
    from pillion.repository.served import RepositorySettings
    from pillion.runtimefile import DesiredModel

    assert expected  # the models have been written
    with pytest.raises(ModelLoadError, match=said):
        loader.load(DesiredModel(name="m", path=str(folder / model)), RepositorySettings(), 1)


def test_the_document_of_the_api_has_the_route(mlflow: RunningServer) -> None:
    document = httpx.get(f"http://{mlflow.http}/openapi.json", timeout=60).json()

    assert {"/invocations", "/invocations/{model}"} <= set(document["paths"])
    assert "InvocationRequest" in json.dumps(document["components"]["schemas"])
