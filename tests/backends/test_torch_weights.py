"""A class and its weights: the class is the user's code, the weights are data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import safetensors.torch
import torch

from pillion.backends.api import LoadFailure, ModelLoadError
from pillion.policy import ConsentPolicy
from pillion.repository.loader import load as load_desired
from pillion.repository.served import RepositorySettings
from pillion.runtimefile import Code, DesiredModel
from tests.backends.nets import NET_SOURCE, Net, rows, tensor

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from pillion.repository.served import Served

MODULE = (
    NET_SOURCE
    + """

class Wider(Net):
    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(5, 3)
        self.more = torch.nn.Linear(1, 1)


class Sized(torch.nn.Module):
    def __init__(self, size):
        super().__init__()


class Broken(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.table = {}["missing"]


class Tied(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Embedding(5, 4)
        self.head = torch.nn.Linear(4, 5, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, ids):
        return self.head(self.embed(ids))
"""
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(MODULE)
    safetensors.torch.save_file(Net().state_dict(), tmp_path / "net.safetensors")
    return tmp_path


def serve(folder: Path, cls: str, weights: str = "net.safetensors", *, pickle: bool = False) -> tuple[Served, str]:
    code = Code(module=str(folder / "net.py"), class_name=cls, folder=str(folder))
    path = str(folder / weights) if weights else ""
    return load_desired(DesiredModel(name="net", path=path, code=code, allow_pickle=pickle), RepositorySettings(), 1)


def answer(served: Served) -> NDArray[np.float32]:
    (result,) = served.model.predict([tensor("x", rows())], ("output",), None)
    return result.data


def expected() -> NDArray[np.float32]:
    found: NDArray[np.float32] = Net()(torch.from_numpy(rows())).detach().numpy()
    return found


def test_a_class_with_its_safetensors_answers_as_it_did_where_it_was_trained(folder: Path) -> None:
    served, kind = serve(folder, "Net")
    assert ("torch", "pytorch_module") == (kind, served.model.metadata.platform)
    np.testing.assert_allclose(expected(), answer(served), rtol=1e-6)


def test_files_of_the_class_are_watched(folder: Path) -> None:
    served, _ = serve(folder, "Net")
    assert str(folder / "net.py") in getattr(served.model, "files", ())


def test_a_folder_with_one_file_of_weights_is_enough(folder: Path) -> None:
    below = folder / "artifact"
    below.mkdir()
    (folder / "net.safetensors").rename(below / "model.safetensors")
    np.testing.assert_allclose(expected(), answer(serve(folder, "Net", "artifact")[0]), rtol=1e-6)


def test_a_state_dict_is_a_pickle_and_asks_for_consent(folder: Path) -> None:
    torch.save(Net().state_dict(), folder / "net.pt")
    with pytest.raises(ModelLoadError, match=r"net\.pt is a pickle of torch\.save") as refused:
        serve(folder, "Net", "net.pt")
    assert LoadFailure.UNSAFE_FORMAT == refused.value.cause
    np.testing.assert_allclose(expected(), answer(serve(folder, "Net", "net.pt", pickle=True)[0]), rtol=1e-6)


def test_a_policy_that_denies_wins_over_consent(folder: Path) -> None:
    torch.save(Net().state_dict(), folder / "net.pt")
    code = Code(module=str(folder / "net.py"), class_name="Net", folder=str(folder))
    desired = DesiredModel(name="net", path=str(folder / "net.pt"), code=code, allow_pickle=True)
    with pytest.raises(ModelLoadError, match="the pickle policy 'deny' forbids it"):
        load_desired(desired, RepositorySettings(pickle_policy=ConsentPolicy.DENY), 1)


def test_a_checkpoint_of_training_has_the_weights_inside(folder: Path) -> None:
    torch.save({"epoch": 3, "model_state_dict": Net().state_dict()}, folder / "checkpoint.pth")
    served, _ = serve(folder, "Net", "checkpoint.pth", pickle=True)
    np.testing.assert_allclose(expected(), answer(served), rtol=1e-6)


def test_even_with_consent_a_state_dict_cannot_run_code(folder: Path) -> None:
    torch.save(Net(), folder / "net.pt")
    with pytest.raises(ModelLoadError, match="holds more than weights, or is damaged"):
        serve(folder, "Net", "net.pt", pickle=True)


def test_weights_of_another_class_are_refused_by_name_and_shape(folder: Path) -> None:
    with pytest.raises(ModelLoadError) as refused:
        serve(folder, "Wider")
    assert (
        "the weights in net.safetensors are not those of Wider: it lacks more.bias, more.weight; "
        "fc.weight is [3, 4] there and [3, 5] in the class" == refused.value.message
    )


def test_weights_that_the_class_does_not_have_are_named(folder: Path) -> None:
    safetensors.torch.save_file({**Net().state_dict(), "old.bias": torch.zeros(1)}, folder / "net.safetensors")
    with pytest.raises(ModelLoadError, match=r"the class has no old\.bias"):
        serve(folder, "Net")


def test_tied_weights_that_safetensors_keeps_once_are_complete(folder: Path) -> None:
    weight = torch.arange(20, dtype=torch.float32).reshape(5, 4)
    safetensors.torch.save_file({"embed.weight": weight}, folder / "net.safetensors")
    served, _ = serve(folder, "Tied")
    (result,) = served.model.predict([tensor("ids", [1], np.int64)], ("output",), None)
    np.testing.assert_allclose((weight[1] @ weight.T).numpy()[None], result.data)


def test_a_damaged_file_is_refused(folder: Path) -> None:
    (folder / "net.safetensors").write_bytes(b"\x10" + b"\x00" * 30)
    with pytest.raises(ModelLoadError, match=r"net\.safetensors is no safetensors file"):
        serve(folder, "Net")


def test_a_class_that_needs_arguments_names_them(folder: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"Sized cannot be made without arguments: size .*class Served\(Sized\)"):
        serve(folder, "Sized", "")


def test_a_class_that_fails_is_told_with_file_and_line(folder: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"net\.py:\d+: KeyError: 'missing'"):
        serve(folder, "Broken", "")


def test_weights_alone_say_how_to_serve_them(folder: Path) -> None:
    desired = DesiredModel(name="net", path=str(folder / "net.safetensors"))
    with pytest.raises(ModelLoadError, match=r"pillion serve net\.py:Net --artifact net\.safetensors"):
        load_desired(desired, RepositorySettings(), 1)
