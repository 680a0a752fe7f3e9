from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import pytest

from pillion.backends.api import LoadFailure, ModelLoadError
from pillion.policy import ConsentPolicy, permits
from pillion.repository import loader
from pillion.repository.repository import ModelRepository
from pillion.repository.served import RepositorySettings
from pillion.runtimefile import DesiredModel

if TYPE_CHECKING:
    from pathlib import Path

    from tests.models import IrisModels

POLICIES = ["deny", "perObject", "allow"]


@pytest.mark.parametrize("process", POLICIES)
@pytest.mark.parametrize("platform", POLICIES)
def test_one_deny_forbids_and_one_consent_allows(process: str, platform: str) -> None:
    said = {process, platform}
    policies = {ConsentPolicy(policy) for policy in said}
    assert ("deny" not in said) == permits(policies, opted_in=True)
    assert ("deny" not in said and "allow" in said) == permits(policies, opted_in=False)


class Marks:
    """Unpickling it creates a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return (open, (self.path, "w"))


@pytest.mark.parametrize(
    ("process", "model"),
    [
        ("deny", {"allow_pickle": True}),
        ("perObject", {"allow_pickle": True, "pickle_policy": "deny"}),
        ("allow", {"allow_pickle": True, "pickle_policy": "deny"}),
        ("deny", {"allow_pickle": True, "pickle_policy": "allow"}),
        ("perObject", {}),
    ],
)
@pytest.mark.parametrize("name", ["model.pkl", "model.skops", "model.onnx"])
def test_a_pickle_under_another_name_is_never_opened_against_the_policy(
    tmp_path: Path, name: str, process: str, model: dict[str, Any]
) -> None:
    mark = tmp_path / "ran"
    (tmp_path / name).write_bytes(pickle.dumps(Marks(str(mark))))
    settings = RepositorySettings(pickle_policy=ConsentPolicy(process))

    with pytest.raises(ModelLoadError) as refusal:
        loader.load(DesiredModel(name="iris", path=str(tmp_path / name), **model), settings, 1)
    assert refusal.value.cause is LoadFailure.UNSAFE_FORMAT
    assert not mark.exists()


async def test_a_process_that_denies_says_so_and_gives_the_command_that_converts(iris: IrisModels) -> None:
    repository = ModelRepository(RepositorySettings(pickle_policy=ConsentPolicy.DENY))
    await repository.apply([DesiredModel(name="iris", path=str(iris.joblib), allow_pickle=True)])
    status = repository.status("iris")

    assert "UnsafeFormat" == status.cause
    assert "the pickle policy 'deny' forbids it" in status.reason
    assert "pillion convert-model iris.joblib -o iris.skops --allow-pickle" in status.reason
    assert "allowPickle" not in status.reason
    await repository.close()


async def test_a_process_that_allows_needs_no_word_of_the_model(iris: IrisModels) -> None:
    repository = ModelRepository(RepositorySettings(pickle_policy=ConsentPolicy.ALLOW))
    await repository.apply([DesiredModel(name="iris", path=str(iris.joblib))])

    assert ("", "READY") == (repository.status("iris").reason, repository.status("iris").state)
    await repository.close()
