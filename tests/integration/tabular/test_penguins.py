"""Named columns of mixed types through a real server: V2 as JSON, binary and gRPC, V1 as objects and as lists."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import grpc
import httpx
import numpy as np
import pytest

from pillion.protocol.protos import open_inference_pb2 as pb
from pillion.protocol.raw import to_raw
from pillion.tensors import Datatype
from tests import penguins
from tests.integration.server.process import served, write_config

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.server.process import ServerProcess

ROWS = penguins.table().iloc[[*range(12), *range(12, 344, 12)]]
"""Of all species and islands, with gaps in numbers and in text."""


@pytest.fixture(scope="module")
def estimator() -> Any:
    return penguins.fit()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, estimator: Any) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("penguins")
    strict = penguins.save(penguins.fit("error", remainder="drop"), folder, "strict")
    models = {"penguins": penguins.save(estimator, folder), "strict": strict}
    write_config(folder / "runtime.yaml", models)
    with served(folder, folder / "runtime.yaml") as running:
        yield running


def records(frame: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(frame.to_json(orient="records"))
    return rows


def posted(server: ServerProcess, path: str, document: Any) -> Any:
    response = httpx.post(server.url(path), json=document, timeout=30)
    assert response.status_code == 200, response.text
    return response.json()


def refused(server: ServerProcess, path: str, document: Any) -> str:
    response = httpx.post(server.url(path), json=document, timeout=30)
    assert response.status_code == 400, response.text
    sentence: str = response.json()["error"]
    return sentence


def test_the_sample_has_gaps_in_numbers_and_in_text() -> None:
    assert ROWS["sex"].isna().any()
    assert ROWS["bill_length_mm"].isna().any()


def test_metadata_shows_an_input_for_each_column_with_its_datatype(server: ServerProcess) -> None:
    document = httpx.get(server.url("/v2/models/penguins")).json()
    text, number = ["BYTES", [-1, 1]], ["FP64", [-1, 1]]
    expected = {"island": text, **dict.fromkeys(penguins.NUMBERS, number), "sex": text, "year": number}
    assert expected == {spec["name"]: [spec["datatype"], spec["shape"]] for spec in document["inputs"]}
    assert list(ROWS.columns) == [spec["name"] for spec in document["inputs"]]
    nullable = [spec["name"] for spec in document["inputs"] if spec.get("parameters", {}).get("nullable")]
    assert ["island", *penguins.NUMBERS, "sex"] == nullable


def test_v2_json_gives_the_labels_of_the_estimator_whatever_the_order_of_columns(
    server: ServerProcess, estimator: Any
) -> None:
    inputs = penguins.v2_inputs(ROWS)[::-1]
    answer = posted(server, "/v2/models/penguins/infer", {"inputs": inputs})
    assert ["predict"] == [output["name"] for output in answer["outputs"]]
    assert estimator.predict(ROWS).tolist() == answer["outputs"][0]["data"]


def test_every_method_is_an_output_to_ask_for_and_equals_the_estimators(server: ServerProcess, estimator: Any) -> None:
    document = {
        "parameters": {"content_type": "pd"},
        "inputs": penguins.v2_inputs(ROWS),
        "outputs": [{"name": "predict_proba"}, {"name": "decision_function"}],
    }
    probabilities, decisions = posted(server, "/v2/models/penguins/infer", document)["outputs"]
    np.testing.assert_array_equal(estimator.predict_proba(ROWS).ravel(), probabilities["data"])
    np.testing.assert_array_equal(estimator.decision_function(ROWS).ravel(), decisions["data"])
    assert [len(ROWS), 3] == probabilities["shape"]


def test_v1_rows_as_objects_and_as_lists_give_the_labels_of_the_estimator(
    server: ServerProcess, estimator: Any
) -> None:
    expected = {"predictions": estimator.predict(ROWS).tolist()}
    assert expected == posted(server, "/v1/models/penguins:predict", {"instances": records(ROWS)})
    lists = json.loads(ROWS.to_json(orient="values"))
    assert expected == posted(server, "/v1/models/penguins:predict", {"instances": lists})
    columns = json.loads(ROWS.reset_index(drop=True).to_json(orient="columns"))
    by_column = {name: list(values.values()) for name, values in columns.items()}
    assert expected == posted(server, "/v1/models/penguins:predict", {"inputs": by_column})


def test_grpc_takes_raw_columns_with_nan_and_empty_text_for_what_is_missing(
    server: ServerProcess, estimator: Any
) -> None:
    request = pb.ModelInferRequest(
        model_name="penguins",
    )
    request.outputs.add(name="predict_proba")
    for name in ROWS.columns:
        if name in penguins.TEXTS:
            data = np.array([text.encode() for text in ROWS[name].fillna("")], dtype=object)
            datatype = Datatype.BYTES
        else:
            data = ROWS[name].to_numpy(np.float32 if name == "year" else np.float64)
            datatype = Datatype.FP32 if name == "year" else Datatype.FP64
        request.inputs.add(name=name, datatype=datatype, shape=[len(ROWS)])
        request.raw_input_contents.append(bytes(to_raw(data, datatype)))
    with grpc.insecure_channel(f"127.0.0.1:{server.ports['grpc']}") as channel:
        call = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=pb.ModelInferRequest.SerializeToString,
            response_deserializer=pb.ModelInferResponse.FromString,
        )
        response = call(request, timeout=30)
    probabilities = np.frombuffer(response.raw_output_contents[0]).reshape(-1, 3)
    np.testing.assert_array_equal(estimator.predict_proba(ROWS), probabilities)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda inputs: inputs.pop(1), "input 'bill_length_mm' is missing"),
        (
            lambda inputs: inputs.append({**inputs[1], "name": "weight"}),
            "inputs[7].name: the model has no input 'weight'",
        ),
        (
            lambda inputs: inputs[1].update(name="bill_lenght_mm"),
            "no input 'bill_lenght_mm'; did you mean 'bill_length_mm'?",
        ),
        (
            lambda inputs: inputs[0].update(datatype="FP64", data=[1.0, 2.0]),
            "inputs[0].datatype: input 'island' is FP64, expected BYTES",
        ),
        (
            lambda inputs: inputs[2]["data"].__setitem__(1, "deep"),
            "inputs[2].data[1]: input 'bill_depth_mm': expected a number, got text",
        ),
        (
            lambda inputs: inputs[3].update(shape=[1, 1], data=[181.0]),
            "dimension 'rows' is 1 in input 'flipper_length_mm' and 2 in input 'island'",
        ),
        (lambda inputs: inputs[6]["data"].__setitem__(1, None), "input 'year' is null in row 1"),
    ],
    ids=["missing", "extra", "renamed", "datatype", "element", "length", "null"],
)
def test_bad_columns_are_refused_by_name_and_row(server: ServerProcess, change: Any, said: str) -> None:
    inputs = penguins.v2_inputs(ROWS[:2])
    change(inputs)
    assert said in refused(server, "/v2/models/penguins/infer", {"inputs": inputs})


def test_a_category_that_the_encoder_refuses_is_told_with_column_row_and_the_known_ones(server: ServerProcess) -> None:
    rows = records(ROWS.drop(columns="year"))
    rows[5]["island"] = "Atlantis"
    sentence = refused(server, "/v1/models/strict:predict", {"instances": rows})
    assert "input 'island', row 5: 'Atlantis' is no category that the model knows ('Biscoe', 'Dream'" in sentence


def test_columns_that_the_estimator_drops_may_be_sent_and_left_out(server: ServerProcess) -> None:
    with_year = posted(server, "/v1/models/strict:predict", {"instances": records(ROWS)})
    assert with_year == posted(server, "/v1/models/strict:predict", {"instances": records(ROWS.drop(columns="year"))})
    document = httpx.get(server.url("/v2/models/strict")).json()
    assert "year" not in [spec["name"] for spec in document["inputs"]]
