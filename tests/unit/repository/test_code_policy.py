"""A class that was fetched like a model runs where owner, platform and process let it, and nothing of it before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pillion.backends.api import LoadFailure, ModelLoadError
from pillion.policy import ConsentPolicy
from pillion.repository import loader
from pillion.repository.repository import ModelRepository
from pillion.repository.served import RepositorySettings
from pillion.runtimefile import DesiredModel

if TYPE_CHECKING:
    from pathlib import Path

SERVICE = """
from pathlib import Path
from pillion import Model
import words

Path(__file__).with_name("ran").touch()

class Mood(Model):
    def predict(self, text: list[str]) -> list[int]:
        return [sum(words.SCORE.get(word, 0) for word in each.split()) for each in text]
"""
TAKES_FOLDER = """
from pillion import Model

class Mood(Model):
    def load(self, artifact):
        self.greeting = (artifact / "greeting.txt").read_text()

    def predict(self, text: list[str]) -> list[str]:
        return [self.greeting + each for each in text]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "service.py").write_text(SERVICE)
    (tmp_path / "words.py").write_text('SCORE = {"good": 1, "bad": -1}\n')
    return tmp_path


def declared(folder: Path, **own: Any) -> DesiredModel:
    return DesiredModel(name="mood", path=str(folder), format="python", **own)


@pytest.mark.parametrize(
    ("process", "own", "said"),
    [
        ("perObject", {}, "set trustCode: true"),
        ("deny", {"trust_code": True}, "the code policy 'deny' forbids"),
        ("perObject", {"trust_code": True, "code_policy": "deny"}, "the code policy 'deny' forbids"),
        ("allow", {"trust_code": True, "code_policy": "deny"}, "the code policy 'deny' forbids"),
        ("deny", {"trust_code": True, "code_policy": "allow"}, "the code policy 'deny' forbids"),
    ],
)
def test_code_that_nobody_or_not_everybody_trusts_is_not_run(
    folder: Path, process: str, own: dict[str, Any], said: str
) -> None:
    settings = RepositorySettings(code_policy=ConsentPolicy(process))

    with pytest.raises(ModelLoadError) as refusal:
        loader.load(declared(folder, **own), settings, 1)

    assert LoadFailure.UNTRUSTED_CODE is refusal.value.cause
    assert said in str(refusal.value)
    assert "--image HOST/NAME:TAG" in str(refusal.value)
    assert not (folder / "ran").exists()


@pytest.mark.parametrize(
    ("process", "own"),
    [("perObject", {"trust_code": True}), ("allow", {}), ("perObject", {"code_policy": "allow"})],
)
async def test_trusted_code_is_served_with_its_neighbours(folder: Path, process: str, own: dict[str, Any]) -> None:
    repository = ModelRepository(RepositorySettings(code_policy=ConsentPolicy(process)))

    await repository.apply([declared(folder, **own)])

    status = repository.status("mood")
    assert ("", "READY", "python") == (status.reason, status.state, status.format)
    assert (folder / "ran").exists()
    await repository.close()


async def test_the_only_file_may_have_any_name_and_the_class_is_given_its_folder(tmp_path: Path) -> None:
    (tmp_path / "mood.py").write_text(TAKES_FOLDER)
    (tmp_path / "greeting.txt").write_text("hello ")
    repository = ModelRepository(RepositorySettings())

    await repository.apply([declared(tmp_path, trust_code=True)])

    assert "" == repository.status("mood").reason
    await repository.close()


@pytest.mark.parametrize(
    ("said", "files"),
    [
        ("no Python file and no service.py: model.skops", ["model.skops"]),
        ("several Python files and no service.py: a.py, b.py", ["b.py", "a.py"]),
        ("it is empty", []),
    ],
)
def test_a_folder_without_the_class_says_what_it_has_and_what_to_do(
    tmp_path: Path, said: str, files: list[str]
) -> None:
    for name in files:
        (tmp_path / name).touch()

    with pytest.raises(ModelLoadError) as failure:
        loader.load(declared(tmp_path, trust_code=True), RepositorySettings(), 1)

    assert said in str(failure.value)
    assert "call the file with the pillion.Model service.py" in str(failure.value)
