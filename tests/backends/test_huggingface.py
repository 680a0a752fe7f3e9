"""Pipelines of transformers from a folder: real architectures and the real library, with made-up weights and words."""

from __future__ import annotations

import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import safetensors.torch
import torch
import transformers

from pillion.backends.api import LoadFailure, ModelLoadError
from pillion.backends.hub_folder import read_json
from pillion.execution.api import Interrupt
from pillion.tensors import Datatype, TensorSpec
from tests.backends.hub import bert, gpt, load, texts
from tests.backends.nets import predict, tensor

if TYPE_CHECKING:
    from pathlib import Path

LABELS: dict[str, Any] = {
    "id2label": {0: "glad", 1: "sad", 2: "neither"},
    "label2id": {"glad": 0, "sad": 1, "neither": 2},
}
PAIR = ("good day", "a bad bad day in france")


def pipeline(task: str, folder: Path) -> Any:
    """The library's own, of the same folder."""
    return transformers.pipeline(task, model=str(folder))


def test_a_classifier_gives_the_label_and_score_that_its_library_gives(tmp_path: Path) -> None:
    folder = bert(tmp_path, "BertForSequenceClassification", **LABELS)
    model = load(folder)
    results = predict(model, texts(*PAIR))
    expected = pipeline("text-classification", folder)(list(PAIR))
    assert [one["label"].encode() for one in expected] == results["label"].tolist()
    np.testing.assert_allclose([one["score"] for one in expected], results["score"], rtol=1e-5)


def test_probabilities_of_all_labels_are_given_where_they_are_asked_for(tmp_path: Path) -> None:
    model = load(bert(tmp_path, "BertForSequenceClassification", **LABELS))
    assert ("label", "score") == model.default_outputs
    assert TensorSpec("probabilities", Datatype.FP32, (-1, 3)) == model.metadata.outputs[2]
    assert {"probabilities": tuple(LABELS["id2label"].values())} == model.metadata.labels
    results = predict(model, texts(*PAIR), outputs=("probabilities", "label", "score"))
    np.testing.assert_allclose([1.0, 1.0], results["probabilities"].sum(axis=1), rtol=1e-6)
    np.testing.assert_array_equal(results["score"], results["probabilities"].max(axis=1))
    names = [list(LABELS["id2label"].values())[index].encode() for index in results["probabilities"].argmax(axis=1)]
    assert names == results["label"].tolist()


def test_entities_are_those_of_the_library_as_json(tmp_path: Path) -> None:
    folder = bert(tmp_path, "BertForTokenClassification", id2label={0: "O", 1: "B-LOC", 2: "I-LOC"})
    results = predict(load(folder), texts("paris is good", "berlin"))
    expected = pipeline("token-classification", folder)(["paris is good", "berlin"], aggregation_strategy="simple")
    found = [json.loads(one) for one in results["entities"]]
    assert [[one["word"] for one in row] for row in expected] == [[one["word"] for one in row] for row in found]
    assert any(found), "a random model that finds no entity at all would make this test say nothing"
    for entity in [one for row in found for one in row]:
        assert {"entity_group", "score", "word", "start", "end"} == entity.keys()


def test_a_mask_is_filled_as_by_the_library(tmp_path: Path) -> None:
    folder = bert(tmp_path, "BertForMaskedLM")
    results = predict(load(folder), texts("paris is the [MASK] of france", "a [MASK] day"))
    (first, second) = pipeline("fill-mask", folder)(["paris is the [MASK] of france", "a [MASK] day"], top_k=5)
    expected = [[one["token_str"].encode() for one in row] for row in (first, second)]
    assert expected == results["token"].tolist()
    np.testing.assert_allclose([[one["score"] for one in row] for row in (first, second)], results["score"], rtol=1e-4)
    assert first[0]["sequence"].encode() == results["sequence"][0][0]


@pytest.mark.parametrize("given", ["no mask", "[MASK] and [MASK]"])
def test_a_text_without_one_mask_is_refused_by_its_place(given: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"input 'text': text 1 has [02] masks, and one is wanted: write \[MASK\]"):
        predict(load(bert(tmp_path, "BertForMaskedLM")), texts("a [MASK]", given))


def test_a_text_is_continued_as_by_the_library(tmp_path: Path) -> None:
    folder = gpt(tmp_path)
    model = load(folder)
    assert [False, True] == [spec.optional for spec in model.metadata.inputs]
    answers = predict(model, texts("paris is", "good"), tensor("max_new_tokens", [3], np.int64))["generated_text"]
    theirs = pipeline("text-generation", folder)
    how = {"max_new_tokens": 3, "return_full_text": False, "do_sample": False}
    expected = [theirs(one, **how)[0]["generated_text"].strip() for one in ("paris is", "good")]
    assert [one.encode() for one in expected] == answers.tolist()
    assert 3 == len(answers[0].split())


def test_each_text_may_have_its_own_number_of_tokens(tmp_path: Path) -> None:
    answers = predict(load(gpt(tmp_path)), texts("paris", "good"), tensor("max_new_tokens", [1, 4], np.int64))
    assert [1, 4] == [len(one.split()) for one in answers["generated_text"]]


def test_without_a_number_the_answer_ends_where_the_model_does(tmp_path: Path) -> None:
    (answer,) = predict(load(gpt(tmp_path)), texts("paris is"), None)["generated_text"]
    assert 30 == len(answer.split())


@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        ([0], "input 'max_new_tokens' takes 1 to 4096"),
        ([5000], "input 'max_new_tokens' takes 1 to 4096"),
        ([1, 2, 3], "input 'max_new_tokens' has 3 values for 1 texts"),
        ([31], "text 0 has 2 tokens, and with 31 of the answer that is more than the 32 that the model takes"),
    ],
)
def test_a_number_of_tokens_that_cannot_be_is_refused(tokens: list[int], said: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=said):
        predict(load(gpt(tmp_path)), texts("paris is"), tensor("max_new_tokens", tokens, np.int64))


def test_a_generation_whose_caller_has_left_ends_with_its_next_token(tmp_path: Path) -> None:
    model = load(gpt(tmp_path))
    interrupt = Interrupt()
    interrupt.fire()
    (answer,) = model.predict(
        [texts("paris is"), tensor("max_new_tokens", [20], np.int64)], ("generated_text",), interrupt
    )
    assert 1 == len(answer.data[0].split())


@pytest.mark.parametrize("head", ["BertForSequenceClassification", "BertForTokenClassification", "BertForMaskedLM"])
def test_a_text_longer_than_the_model_is_refused_and_not_cut(head: str, tmp_path: Path) -> None:
    long = " ".join(["good"] * 15) + " [MASK]"
    with pytest.raises(ValueError, match=r"^input 'text': text 1 has 18 tokens, and the model takes at most 16$"):
        predict(load(bert(tmp_path, head)), texts("a [MASK]", long))


@pytest.mark.parametrize("head", ["BertForSequenceClassification", "BertForTokenClassification", "BertForMaskedLM"])
def test_no_texts_give_no_rows(head: str, tmp_path: Path) -> None:
    model = load(bert(tmp_path, head))
    assert {0} == {len(data) for data in predict(model, texts()).values()}


def test_text_that_is_no_utf8_is_refused_by_its_place(tmp_path: Path) -> None:
    model = load(bert(tmp_path, "BertForSequenceClassification"))
    with pytest.raises(ValueError, match="input 'text': element 0 is not valid UTF-8"):
        predict(model, tensor("text", [b"\xff"], np.object_))


def test_several_threads_get_what_one_gets(tmp_path: Path) -> None:
    model = load(bert(tmp_path, "BertForSequenceClassification", **LABELS))
    given = [texts(*(["good day"] * count)) for count in range(1, 9)] * 4
    expected = [predict(model, one)["score"] for one in given]
    with ThreadPoolExecutor(4) as pool:
        for wanted, found in zip(expected, pool.map(lambda one: predict(model, one)["score"], given), strict=True):
            np.testing.assert_allclose(wanted, found, rtol=1e-5)


def test_models_that_are_loaded_at_the_same_time_are_whole(tmp_path: Path) -> None:
    folders = [gpt(tmp_path / "gpt"), bert(tmp_path / "bert", "BertForMaskedLM")] * 4
    with ThreadPoolExecutor(4) as pool:
        assert 8 == len(list(pool.map(load, folders)))


def test_versions_of_the_library_are_told(tmp_path: Path) -> None:
    libraries = load(bert(tmp_path, "BertForMaskedLM")).libraries
    assert libraries is not None
    assert transformers.__version__ == libraries.saved["transformers"] == libraries.loading["transformers"]


def test_a_pickle_of_weights_asks_for_consent(tmp_path: Path) -> None:
    folder = bert(tmp_path, "BertForSequenceClassification", **LABELS)
    expected = predict(load(folder), texts(*PAIR))["score"]
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    torch.save(weights, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelLoadError, match=r"a pickle of torch\.save.*model\.save_pretrained\(FOLDER\)") as refused:
        load(folder)
    assert LoadFailure.UNSAFE_FORMAT == refused.value.cause
    np.testing.assert_allclose(expected, predict(load(folder, allow_pickle=True), texts(*PAIR))["score"], rtol=1e-6)


class Exploit:
    """Unpickled, it would say so."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("code of the artifact was run",))


def test_an_index_that_names_a_pickle_is_refused_before_the_library_opens_it(tmp_path: Path) -> None:
    folder = bert(tmp_path, "BertForMaskedLM")
    (folder / "model.safetensors").unlink()
    (folder / "shard.bin").write_bytes(pickle.dumps(Exploit()))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"bert.x": "shard.bin"}}))
    with pytest.raises(ModelLoadError, match=r"names shard\.bin, which is no safetensors file of the folder"):
        load(folder)


def test_code_that_came_with_a_model_is_never_run(tmp_path: Path) -> None:
    folder = bert(tmp_path, "BertForMaskedLM")
    (folder / "modeling_own.py").write_text("raise SystemExit('code of the artifact was run')\n")
    own = {"AutoConfig": "modeling_own.Config", "AutoModelForMaskedLM": "modeling_own.Model"}
    config = read_json(folder / "config.json") | {"model_type": "own", "auto_map": own}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelLoadError, match=r"is code of its own \(auto_map in config\.json\), which is never run"):
        load(folder)


def test_a_head_without_weights_is_refused_rather_than_made_up(tmp_path: Path) -> None:
    folder = bert(tmp_path, "BertModel")
    config = read_json(folder / "config.json") | {"architectures": ["BertForSequenceClassification"]}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        ModelLoadError, match=r"lack classifier\.bias, classifier\.weight, which would be random numbers"
    ):
        load(folder)


def test_an_architecture_without_a_task_says_which_there_are(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"names BertModel, and the tasks that are served are text-classification"):
        load(bert(tmp_path, "BertModel"))


def test_a_folder_without_a_tokenizer_is_told_so(tmp_path: Path) -> None:
    folder = bert(tmp_path, "BertForMaskedLM")
    for file in folder.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(ModelLoadError, match=r"has no tokenizer: no file with its vocabulary is there"):
        load(folder)


def test_weights_that_are_cut_short_are_told_so(tmp_path: Path) -> None:
    folder = bert(tmp_path, "BertForMaskedLM")
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ModelLoadError, match=r"could not be read by transformers"):
        load(folder)


def test_a_parameter_that_means_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"parameters topK are not known .there are: device, intraOpThreads"):
        load(bert(tmp_path, "BertForMaskedLM"), parameters={"topK": 3})
