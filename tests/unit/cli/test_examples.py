"""The request that lies beside a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pillion.cli.examples import examples
from pillion.runtimefile import DesiredModel

if TYPE_CHECKING:
    from pathlib import Path


def found(folder: Path, text: str | None, *, model: str = "iris.skops", example: str = "iris.example.json") -> object:
    (folder / model).touch()
    if text is not None:
        (folder / example).write_text(text)
    return examples([DesiredModel(name="iris", path=str(folder / model))])


@pytest.mark.parametrize("text", ['{"instances": [[1, 2]]}', "[[1, 2]]"])
def test_it_is_a_body_or_rows_beside_the_file(text: str, tmp_path: Path) -> None:
    assert ({"iris": {"instances": [[1, 2]]}}, []) == found(tmp_path, text)


def test_of_a_folder_it_is_inside(tmp_path: Path) -> None:
    (tmp_path / "example.json").write_text('{"inputs": [{"name": "x"}]}')
    models = [DesiredModel(name="iris", path=str(tmp_path))]
    assert ({"iris": {"inputs": [{"name": "x"}]}}, []) == examples(models)


def test_a_model_without_one_has_none(tmp_path: Path) -> None:
    assert ({}, []) == found(tmp_path, None)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[[1,", "not JSON"),
        ("{}", "neither a list of rows"),
        ("[]", "neither a list"),
        ("[%s]" % ("1," * 9000), "longer"),
    ],
)
def test_what_is_not_a_request_is_said_and_not_used(text: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "iris.skops").touch()
    (tmp_path / "iris.example.json").write_text(text)
    bodies, refused = examples([DesiredModel(name="iris", path=str(tmp_path / "iris.skops"))])
    assert ({}, 1) == (bodies, len(refused))
    assert refused[0].startswith("iris.example.json is not used as an example: ")
    assert why in refused[0]
