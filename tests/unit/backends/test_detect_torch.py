"""Files of PyTorch and folders of Hugging Face are told apart without either library."""

from __future__ import annotations

import json
import pickle
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from pillion.backends.api import LoadFailure, ModelLoadError
from pillion.backends.detect import UNSAFE, Artifact, FileKind, detect
from pillion.backends.hub_folder import Module, modules_of
from pillion.backends.unsafe import unsafe_refusal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
]


def archive(file: Path, names: Sequence[str]) -> Path:
    with zipfile.ZipFile(file, "w") as written:
        for name in names:
            written.writestr(name, b"")
    return file


def safetensors(file: Path, padding: int = 0) -> Path:
    """An empty file of weights; its first byte is the length of a document of 2 + ``padding`` bytes."""
    document = b"{}" + b" " * padding
    file.write_bytes(len(document).to_bytes(8, "little") + document)
    return file


def folder(place: Path, *files: str, config: Any = None, modules: Any = None) -> Path:
    for name in files:
        (place / name).write_bytes(b"x")
    if config is not None:
        (place / "config.json").write_text(json.dumps(config))
    if modules is not None:
        (place / "modules.json").write_text(json.dumps(modules))
    return place


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (("net/data.pkl", "net/data/0", "net/version"), FileKind.TORCH_PICKLE),
        (("net/data.pkl", "net/constants.pkl", "net/code/net.py"), FileKind.TORCHSCRIPT),
        (("net/archive_format", "net/models/model.json"), FileKind.TORCH_EXPORT),
        (("serialized_exported_program.json", "version"), FileKind.TORCH_EXPORT),
    ],
)
def test_archives_are_known_by_what_is_in_them(names: tuple[str, ...], kind: FileKind, tmp_path: Path) -> None:
    for name in ("net.pt", "net.onnx"):
        file = archive(tmp_path / name, names)
        assert Artifact(file, kind, "torch") == detect(file)
    assert kind in UNSAFE


def test_a_pickle_that_is_called_pt_is_pytorchs(tmp_path: Path) -> None:
    (tmp_path / "net.pth").write_bytes(pickle.dumps({}))
    assert Artifact(tmp_path / "net.pth", FileKind.TORCH_PICKLE, "torch") == detect(tmp_path / "net.pth")


@pytest.mark.parametrize("padding", [0, 0x7E, 0x0280 - 2])
def test_safetensors_are_never_taken_for_a_pickle(padding: int, tmp_path: Path) -> None:
    # A document of 0x80 bytes begins as a pickle of protocol 0 would, and one of 0x0280 as one of protocol 2.
    file = safetensors(tmp_path / "model.safetensors", padding)
    assert Artifact(file, FileKind.SAFETENSORS, "torch") == detect(file)
    assert FileKind.SAFETENSORS not in UNSAFE


def test_a_folder_of_transformers_is_one_model(tmp_path: Path) -> None:
    place = folder(tmp_path, "tokenizer.json", "model.safetensors", config={"model_type": "bert"})
    assert Artifact(place, FileKind.HUB, "huggingface") == detect(place)
    assert "embeddings" == detect(place, "sentence-transformers").backend


def test_a_folder_of_sentence_transformers_is_an_embedder(tmp_path: Path) -> None:
    place = folder(tmp_path, "model.safetensors", config={"model_type": "bert"}, modules=MODULES)
    assert Artifact(place, FileKind.EMBEDDER, "embeddings") == detect(place)
    assert "embeddings" == detect(place, "huggingface").backend


@pytest.mark.parametrize(("modules", "kind"), [(None, FileKind.HUB_PICKLE), (MODULES, FileKind.EMBEDDER_PICKLE)])
def test_weights_that_are_only_there_as_a_pickle_make_the_folder_unsafe(
    modules: Any, kind: FileKind, tmp_path: Path
) -> None:
    place = folder(tmp_path, "pytorch_model.bin", config={"model_type": "bert"}, modules=modules)
    assert kind is detect(place).kind
    assert kind in UNSAFE


@pytest.mark.parametrize("wanted", ["onnx", "torch"])
def test_a_folder_of_transformers_is_no_model_of_another_format(wanted: str, tmp_path: Path) -> None:
    place = folder(tmp_path, "model.safetensors", config={"model_type": "bert"})
    with pytest.raises(ModelLoadError, match=f"declared as '{wanted}' .declare 'huggingface'"):
        detect(place, wanted)


def test_a_folder_without_weights_is_told_so(tmp_path: Path) -> None:
    place = folder(tmp_path, "tokenizer.json", config={"model_type": "bert"})
    with pytest.raises(ModelLoadError, match=r"config\.json and no weights: neither model\.safetensors nor"):
        detect(place)


def test_a_folder_without_its_config_is_told_what_is_missing(tmp_path: Path) -> None:
    safetensors(tmp_path / "model.safetensors")
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelLoadError, match=r"no config\.json, which says what model they belong to"):
        detect(tmp_path)


def test_a_folder_declared_as_hugging_faces_that_is_none_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"holds no config\.json of huggingface .name the folder"):
        detect(tmp_path, "huggingface")


@pytest.mark.parametrize(
    ("modules", "said"),
    [
        ([], "lists no modules"),
        ([{"type": 5}], "entry 0 has no type and path"),
        ([{"type": "sentence_transformers.models.Dense", "path": "../other"}], "leads out of the folder"),
        ([{"type": "sentence_transformers.models.Dense", "path": "/etc"}], "leads out of the folder"),
    ],
)
def test_modules_that_describe_nothing_are_refused(modules: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=said):
        detect(folder(tmp_path, config={"model_type": "bert"}, modules=modules))


def test_a_module_of_another_package_keeps_its_package_in_its_name(tmp_path: Path) -> None:
    folder(tmp_path, modules=[*MODULES, {"path": "2", "type": "custom.models.Pooling"}])
    expected = (
        Module("Transformer", tmp_path),
        Module("Pooling", tmp_path / "1_Pooling"),
        Module("custom.models.Pooling", tmp_path / "2"),
    )
    assert expected == modules_of(tmp_path)


@pytest.mark.parametrize(
    ("kind", "remedy"),
    [
        (FileKind.TORCH_EXPORT, "torch.onnx.export"),
        (FileKind.TORCHSCRIPT, "torch.onnx.export"),
        (FileKind.TORCH_PICKLE, "safetensors.torch.save_file"),
        (FileKind.HUB_PICKLE, "model.save_pretrained"),
        (FileKind.PICKLE, "pillion convert-model net.pt -o net.skops --allow-pickle"),
    ],
)
def test_each_refusal_has_the_way_out_of_its_kind(kind: FileKind, remedy: str, tmp_path: Path) -> None:
    refusal = unsafe_refusal(tmp_path / "net.pt", kind)
    assert LoadFailure.UNSAFE_FORMAT is refusal.cause
    assert remedy in str(refusal.remedy)
    assert str(refusal.remedy).endswith("or accept the risk: --allow-pickle or allowPickle: true")
    denied = unsafe_refusal(tmp_path / "net.pt", kind, denied=True)
    assert "the pickle policy 'deny' forbids it" in denied.message
    assert "--allow-pickle or allowPickle" not in str(denied.remedy)
