"""Folders of MLflow's with models of PyTorch and transformers, laid out as its flavours lay them out.

MLflow itself is not in this environment: its layout is written here as its sources describe it.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import yaml

from pillion.backends.api import ModelLoadError
from pillion.repository.loader import load
from pillion.repository.served import RepositorySettings
from pillion.runtimefile import DesiredModel
from tests.backends.hub import bert, texts
from tests.backends.hub import load as load_folder
from tests.backends.nets import Net, predict, rows, tensor

if TYPE_CHECKING:
    from pathlib import Path


def packaged(folder: Path, flavours: dict[str, Any]) -> Path:
    folder.mkdir()
    (folder / "MLmodel").write_text(yaml.safe_dump({"flavors": flavours | {"python_function": {}}}))
    return folder


def served(folder: Path, *, allow: bool = False) -> Any:
    return load(DesiredModel(name="m", path=str(folder), format="mlflow", allow_pickle=allow), RepositorySettings(), 1)[
        0
    ]


def test_a_pipeline_answers_with_the_tokenizer_that_lies_apart(tmp_path: Path) -> None:
    whole = bert(tmp_path / "whole", "BertForSequenceClassification")
    folder = packaged(tmp_path / "model", {"transformers": {"model_binary": "model", "task": "text-classification"}})
    shutil.copytree(whole, folder / "model")
    (folder / "components" / "tokenizer").mkdir(parents=True)
    for file in (folder / "model").glob("*token*"):
        file.rename(folder / "components" / "tokenizer" / file.name)

    given = texts("paris is good", "bad day")
    expected, found = predict(load_folder(whole, "huggingface"), given), predict(served(folder).model, given)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(value, found[name])


def test_an_exported_program_answers_by_consent(tmp_path: Path) -> None:
    flavour = {"model_data": "data", "pytorch_version": str(torch.__version__)}
    folder = packaged(tmp_path / "model", {"pytorch": flavour})
    (folder / "data").mkdir()
    shape = ({0: torch.export.Dim("rows")},)
    torch.export.save(torch.export.export(Net(), (torch.zeros(2, 4),), dynamic_shapes=shape), folder / "data/model.pt2")

    with pytest.raises(ModelLoadError, match="allowPickle"):
        served(folder)
    with torch.inference_mode():
        expected = Net()(torch.from_numpy(rows(3))).numpy()
    (found,) = predict(served(folder, allow=True).model, tensor("x", rows(3))).values()
    np.testing.assert_allclose(expected, found, rtol=1e-6)
