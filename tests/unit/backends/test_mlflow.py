from __future__ import annotations

import json
import shutil
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from pillion.backends.api import ModelLoadError
from pillion.backends.detect import UNSAFE, FileKind, detect

if TYPE_CHECKING:
    from pathlib import Path

    from tests.models import IrisModels

COLUMNS = [{"name": name, "type": "double", "required": True} for name in ("a", "b", "c", "d")]


def packaged(folder: Path, flavours: dict[str, Any], **more: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "MLmodel").write_text(yaml.safe_dump({"flavors": flavours, **more}))
    return folder


@pytest.fixture
def iris_folder(tmp_path: Path, iris: IrisModels) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    shutil.copy(iris.skops, folder / "model.skops")
    shutil.copy(iris.onnx, folder / "model.onnx")
    shutil.copy(iris.joblib, folder / "model.pkl")
    return folder


SKLEARN = {"sklearn": {"pickled_model": "model.skops", "sklearn_version": "1.2.3"}, "python_function": {}}


@pytest.mark.parametrize("wanted", [None, "mlflow", "MLflow", "sklearn"])
def test_the_native_file_of_a_folder_of_mlflow_is_found(iris_folder: Path, wanted: str | None) -> None:
    signature = {"inputs": json.dumps(COLUMNS), "outputs": "[]"}
    found = detect(packaged(iris_folder, SKLEARN, signature=signature), wanted)

    assert ("model.skops", FileKind.SKOPS, "sklearn") == (found.path.name, found.kind, found.backend)
    assert found.packaged is not None
    assert (("a", "b", "c", "d"), {"scikit-learn": "1.2.3"}) == (found.packaged.columns, found.packaged.saved)


def test_a_flavour_that_cannot_run_code_is_preferred(iris_folder: Path) -> None:
    flavours = {"sklearn": {"pickled_model": "model.pkl"}, "onnx": {"data": "model.onnx"}, "python_function": {}}

    assert FileKind.ONNX is detect(packaged(iris_folder, flavours), None).kind


def test_the_folder_of_a_run_holds_its_only_model(iris_folder: Path) -> None:
    packaged(iris_folder, SKLEARN)

    assert iris_folder / "model.skops" == detect(iris_folder.parent, "mlflow").path


def test_a_pickle_inside_is_a_pickle(iris_folder: Path) -> None:
    flavours = {"sklearn": {"pickled_model": "model.pkl"}}

    assert FileKind.PICKLE is detect(packaged(iris_folder, flavours), "mlflow").kind


@pytest.mark.parametrize(
    "signature", [None, {}, {"inputs": "no json"}, {"inputs": '[{"type":"tensor"}]'}, {"inputs": 5}]
)
def test_a_signature_without_columns_declares_none(iris_folder: Path, signature: Any) -> None:
    found = detect(packaged(iris_folder, SKLEARN, signature=signature), None)

    assert found.packaged is not None
    assert () == found.packaged.columns


@pytest.mark.parametrize(
    ("said", "flavours"),
    [
        ("only the flavour python_function, which runs code of its own", {"python_function": {"loader_module": "x"}}),
        ("the flavours keras, which are not served", {"keras": {}, "python_function": {}}),
        ("names data, which is not there", {"pytorch": {"model_data": "data", "pytorch_version": "2.7"}}),
        ("model_binary names no file", {"transformers": {"task": "text-classification"}}),
        ("no folder with a config.json", {"transformers": {"model_binary": "model.pkl"}}),
        ("names no flavors", {}),
        ("names model.bin, which is not there", {"onnx": {"data": "model.bin"}}),
        ("leads out of the folder", {"onnx": {"data": "../../etc/passwd"}}),
        ("leads out of the folder", {"onnx": {"data": "/etc/passwd"}}),
        ("names no file", {"onnx": {"data": None}}),
    ],
)
def test_what_is_not_served_says_why_and_what_to_do(iris_folder: Path, said: str, flavours: dict[str, Any]) -> None:
    with pytest.raises(ModelLoadError, match=said) as refusal:
        detect(packaged(iris_folder, flavours), "mlflow")
    assert refusal.value.remedy


@pytest.mark.parametrize("file", ["model.pth", "model.pt2"])
def test_what_mlflow_saved_of_pytorch_is_for_its_backend(file: str, tmp_path: Path) -> None:
    flavours = {"pytorch": {"model_data": "data", "pytorch_version": "2.7.1", "code": None}, "python_function": {}}
    folder = packaged(tmp_path / "model", flavours)
    (folder / "data").mkdir()
    (folder / "data" / "pickle_module_info.txt").write_text("mlflow.pytorch.pickle_module")
    inside = {"model.pth": ("model/data.pkl", "model/version"), "model.pt2": ("model/models/model.json",)}[file]
    with zipfile.ZipFile(folder / "data" / file, "w") as archive:
        for name in inside:
            archive.writestr(name, "{}")

    found = detect(folder, "mlflow")

    assert ("torch", file) == (found.backend, found.path.name)
    assert found.kind in UNSAFE
    assert found.packaged is not None
    assert {"torch": "2.7.1"} == found.packaged.saved


def test_pytorch_without_its_program_says_how_to_log_it(tmp_path: Path) -> None:
    folder = packaged(tmp_path / "model", {"pytorch": {"model_data": "data"}})
    (folder / "data").mkdir()
    with pytest.raises(ModelLoadError, match="serialization_format='pt2'"):
        detect(folder, None)


@pytest.mark.parametrize("apart", [True, False])
def test_a_pipeline_of_transformers_is_found_with_its_tokenizer(apart: bool, tmp_path: Path) -> None:  # noqa: FBT001 - a case
    flavour = {"model_binary": "model", "transformers_version": "4.50.0", "task": "text-classification", "code": None}
    folder = packaged(tmp_path / "model", {"transformers": flavour, "python_function": {}})
    (folder / "model").mkdir()
    (folder / "model" / "config.json").write_text('{"architectures": ["BertForSequenceClassification"]}')
    (folder / "model" / "model.safetensors").write_bytes(b"")
    tokenizer = folder / "components" / "tokenizer" if apart else folder / "model"
    tokenizer.mkdir(parents=True, exist_ok=True)
    (tokenizer / "tokenizer_config.json").write_text("{}")

    found = detect(folder, None)

    assert (FileKind.HUB, "huggingface", folder / "model") == (found.kind, found.backend, found.path)
    assert found.packaged is not None
    assert (tokenizer if apart else None) == found.packaged.tokenizer


@pytest.mark.parametrize("text", ["]", "- 1", "", "!!python/object/apply:os.system ['true']", "[" * 5000])
def test_a_damaged_mlmodel_is_refused_and_runs_nothing(iris_folder: Path, text: str) -> None:
    (iris_folder / "MLmodel").write_text(text)
    with pytest.raises(ModelLoadError, match="MLmodel"):
        detect(iris_folder, None)


def test_another_format_than_declared_is_refused(iris_folder: Path) -> None:
    with pytest.raises(ModelLoadError, match="declare 'mlflow' or 'sklearn'"):
        detect(packaged(iris_folder, SKLEARN), "onnx")


def test_mlflow_that_is_declared_and_not_there_is_refused(iris_folder: Path) -> None:
    with pytest.raises(ModelLoadError, match="holds no MLmodel"):
        detect(iris_folder, "mlflow")
