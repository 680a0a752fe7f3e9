from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import pytest

from pillion.backends.api import ModelLoadError, backend_named, canonical_name
from pillion.backends.detect import Artifact, FileKind, detect

if TYPE_CHECKING:
    from pathlib import Path

    from tests.models import IrisModels


def test_files_are_recognised_by_what_they_hold(iris: IrisModels) -> None:
    assert Artifact(iris.skops, FileKind.SKOPS, "sklearn") == detect(iris.skops)
    assert Artifact(iris.joblib, FileKind.PICKLE, "sklearn") == detect(iris.joblib)
    assert Artifact(iris.onnx, FileKind.ONNX, "onnx") == detect(iris.onnx)


@pytest.mark.parametrize("name", ["model.skops", "model.onnx", "model", "model.zip"])
def test_a_pickle_is_a_pickle_whatever_it_is_called(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(pickle.dumps({"a": 1}))
    assert detect(tmp_path / name).kind is FileKind.PICKLE


def test_a_skops_file_is_one_whatever_it_is_called(iris: IrisModels, tmp_path: Path) -> None:
    (tmp_path / "model.joblib").write_bytes(iris.skops.read_bytes())
    assert detect(tmp_path).kind is FileKind.SKOPS


@pytest.mark.parametrize("suffix", ["joblib", "pkl", "pickle"])
def test_compressed_and_old_pickles_are_known_by_their_name(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"model.{suffix}").write_bytes(b"\x78\x9c compressed")
    assert detect(tmp_path).kind is FileKind.PICKLE


def test_a_folder_with_one_model_file_among_others_is_enough(iris: IrisModels, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("about")
    (tmp_path / "flowers.onnx").write_bytes(iris.onnx.read_bytes())
    assert detect(tmp_path).path == tmp_path / "flowers.onnx"


def test_a_file_called_model_is_preferred(iris: IrisModels, tmp_path: Path) -> None:
    for name in ("model.onnx", "other.onnx"):
        (tmp_path / name).write_bytes(iris.onnx.read_bytes())
    assert detect(tmp_path).path == tmp_path / "model.onnx"


def test_the_declared_format_picks_among_several(iris: IrisModels, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(iris.onnx.read_bytes())
    (tmp_path / "model.skops").write_bytes(iris.skops.read_bytes())
    assert detect(tmp_path, "sklearn").path == tmp_path / "model.skops"


def test_several_candidates_are_listed(iris: IrisModels, tmp_path: Path) -> None:
    for name in ("model.onnx", "model.skops"):
        (tmp_path / name).write_bytes(iris.onnx.read_bytes())
    with pytest.raises(ModelLoadError, match=r"several models: model\.onnx, model\.skops \(keep one"):
        detect(tmp_path)


def test_the_highest_numbered_folder_counts(iris: IrisModels, tmp_path: Path) -> None:
    for version in ("2", "10"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "model.onnx").write_bytes(iris.onnx.read_bytes())
    assert detect(tmp_path).path == tmp_path / "10" / "model.onnx"


def test_a_mounted_config_map_is_read_through_its_links(iris: IrisModels, tmp_path: Path) -> None:
    data = tmp_path / "..2026_11_23"
    data.mkdir()
    (data / "model.skops").write_bytes(iris.skops.read_bytes())
    (tmp_path / "..data").symlink_to(data.name)
    (tmp_path / "model.skops").symlink_to("..data/model.skops")
    assert detect(tmp_path).path == tmp_path / "model.skops"


def test_a_missing_path_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="does not exist"):
        detect(tmp_path / "nothing")


def test_an_empty_folder_tells_what_to_put_there(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"is empty \(put one of these into it: model\.skops"):
        detect(tmp_path)


def test_a_folder_without_a_model_lists_what_it_holds(tmp_path: Path) -> None:
    for name in ("notes.txt", "data.csv"):
        (tmp_path / name).write_text("x")
    with pytest.raises(ModelLoadError, match=r"no model file, only: data\.csv, notes\.txt"):
        detect(tmp_path)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").touch()
    with pytest.raises(ModelLoadError, match=r"model\.onnx is empty \(upload the model again\)"):
        detect(tmp_path)


def test_a_broken_skops_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.skops").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(ModelLoadError, match="is not a skops file"):
        detect(tmp_path)


def test_a_file_of_no_known_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"whatever")
    with pytest.raises(ModelLoadError, match=r"format of model\.bin is not known"):
        detect(tmp_path)


def test_another_format_than_declared_is_refused(iris: IrisModels) -> None:
    with pytest.raises(ModelLoadError, match="holds a onnx model, but the format is declared as 'sklearn'"):
        detect(iris.onnx, "sklearn")


def test_an_unknown_format_lists_the_known_ones(iris: IrisModels) -> None:
    with pytest.raises(ModelLoadError, match=r"'tensorrt' is not known .use one of: embeddings, huggingface, lightgbm"):
        detect(iris.onnx, "tensorrt")


def test_formats_have_the_names_that_people_write() -> None:
    assert canonical_name("scikit-learn") == "sklearn"
    assert canonical_name("SKLearn") == "sklearn"
    assert canonical_name("onnxruntime") == "onnx"
    assert canonical_name("PyTorch") == "torch"
    assert canonical_name("transformers") == "huggingface"
    assert canonical_name("sentence-transformers") == "embeddings"


def test_a_backend_whose_library_is_missing_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.delitem(sys.modules, "pillion.backends.onnx", raising=False)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ModelLoadError, match=r"needs onnxruntime, which is not installed \(pip install"):
        backend_named("onnx")


def test_the_extra_is_named_where_it_has_another_name_than_the_format(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "pillion.backends.embeddings", raising=False)
    with pytest.raises(
        ModelLoadError, match=r"needs torch, which is not installed \(pip install 'pillion\[huggingface\]'"
    ):
        backend_named("sentence-transformers")
