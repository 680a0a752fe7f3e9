"""TorchScript and pickled modules: served where policy and owner allow it, as their class describes them."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from pillion.backends.api import LoadOptions, ModelLoadError, backend_named
from pillion.backends.detect import FileKind, detect
from pillion.backends.torch_module import ModuleModel
from pillion.backends.torch_tensors import OperatorThreads
from pillion.errors import PillionError
from pillion.tensors import Datatype, TensorSpec
from tests.backends.nets import Net, Pair, load, predict, rows, tensor

if TYPE_CHECKING:
    from pathlib import Path

CPU = torch.device("cpu")
THREADS = OperatorThreads(LoadOptions())


@pytest.fixture
def pickled(tmp_path: Path) -> Path:
    torch.save(Net(), tmp_path / "net.pt")
    return tmp_path / "net.pt"


@pytest.fixture
def scripted(tmp_path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated, and there are files of it
        torch.jit.save(torch.jit.trace(Net(), torch.zeros(1, 4)), str(tmp_path / "net.pt"))
    return tmp_path / "net.pt"


def test_files_of_one_suffix_are_told_apart_by_what_they_hold(pickled: Path, tmp_path: Path) -> None:
    assert FileKind.TORCH_PICKLE is detect(pickled).kind
    old = tmp_path / "old.pth"
    torch.save({"w": torch.zeros(1)}, old, _use_new_zipfile_serialization=False)
    assert FileKind.TORCH_PICKLE is detect(old).kind


def test_torchscript_is_known_whatever_it_is_called(scripted: Path, tmp_path: Path) -> None:
    assert FileKind.TORCHSCRIPT is detect(scripted).kind
    other = tmp_path / "model.onnx"
    other.write_bytes(scripted.read_bytes())
    assert FileKind.TORCHSCRIPT is detect(other).kind


@pytest.mark.parametrize(
    ("fixture", "what"), [("pickled", "a pickle of torch.save"), ("scripted", "a TorchScript program")]
)
def test_without_consent_neither_is_opened(fixture: str, what: str, request: pytest.FixtureRequest) -> None:
    with pytest.raises(ModelLoadError, match=f"net.pt is {what}: loading it can run any code, so it was not opened"):
        backend_named("torch").load(request.getfixturevalue(fixture), LoadOptions())


def test_a_pickled_module_answers_by_its_example(pickled: Path) -> None:
    model = load(pickled)
    assert (TensorSpec("x", Datatype.FP32, (-1, 4)),) == model.metadata.inputs
    assert (TensorSpec("output", Datatype.FP32, (-1, 3)),) == model.metadata.outputs
    expected = Net()(torch.from_numpy(rows())).detach().numpy()
    np.testing.assert_allclose(expected, predict(model, tensor("x", rows()))["output"], rtol=1e-6)


def test_torchscript_takes_what_its_forward_names_in_any_shape(scripted: Path) -> None:
    model = load(scripted)
    assert ("pytorch_torchscript", ["x"]) == (model.metadata.platform, [spec.name for spec in model.metadata.inputs])
    assert model.rules[0].free_rank
    expected = Net()(torch.from_numpy(rows())).detach().numpy()
    np.testing.assert_allclose(expected, predict(model, tensor("x", rows()))["output"], rtol=1e-6)
    # Clients and JSON send what they have; the weights are single precision.
    double = predict(model, tensor("x", rows().astype(np.float64)))["output"]
    np.testing.assert_allclose(expected, double, rtol=1e-6)


def test_a_shape_that_forward_refuses_is_the_callers_fault_and_is_named(scripted: Path) -> None:
    with pytest.raises(
        ValueError, match=r"forward refused x FP32 \[2, 3\]: .*mat1 and mat2 shapes cannot be multiplied"
    ):
        predict(load(scripted), tensor("x", np.zeros((2, 3), np.float32)))


def test_an_optional_input_may_be_left_out() -> None:
    model = ModuleModel(Pair(), "pytorch_module", CPU, THREADS)
    assert [False, True] == [spec.optional for spec in model.metadata.inputs]
    left = tensor("left", [2, 3])
    assert [3.0, 4.0] == predict(model, left, None, outputs=("sum",))["sum"].tolist()
    both = predict(model, left, tensor("right", [10, 20]), outputs=("product", "sum"))
    assert {"product": [20.0, 60.0], "sum": [12.0, 23.0]} == {name: data.tolist() for name, data in both.items()}


def test_an_output_that_forward_does_not_give_is_the_models_failure() -> None:
    model = ModuleModel(Pair(), "pytorch_module", CPU, THREADS)
    with pytest.raises(PillionError, match=r"forward gave (sum, product|product, sum), and no tensor 'output'"):
        predict(model, tensor("left", [2]), None)


def test_an_example_by_names_declares_dictionaries_and_what_varies() -> None:
    class Declared(Pair):
        def example_inputs(self) -> dict[str, torch.Tensor]:
            return {"left": torch.zeros(1, 2), "right": torch.zeros(1, 2)}

    model = ModuleModel(Declared(), "pytorch_module", CPU, THREADS)
    assert [("left", (-1, 2)), ("right", (-1, 2))] == [(spec.name, spec.shape) for spec in model.metadata.inputs]
    assert {"sum", "product"} == {spec.name for spec in model.metadata.outputs}
    assert [("batch", ""), ("batch", "")] == [rule.symbols for rule in model.rules]


def test_what_does_not_grow_with_the_rows_is_fixed() -> None:
    class Mean(torch.nn.Module):  # type: ignore[misc] # PyTorch is not installed where types are checked
        example_inputs = (torch.zeros(2, 4),)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean(0)

    model = ModuleModel(Mean(), "pytorch_module", CPU, THREADS)
    assert ((-1, 4), (4,)) == (model.metadata.inputs[0].shape, model.metadata.outputs[0].shape)


def test_the_request_is_not_written_to_by_a_module_that_computes_in_place() -> None:
    class InPlace(torch.nn.Module):  # type: ignore[misc] # as above
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.add_(1)

    given = tensor("x", [1, 2])
    assert [2.0, 3.0] == predict(ModuleModel(InPlace(), "pytorch_module", CPU, THREADS), given)["output"].tolist()
    assert [1.0, 2.0] == given.data.tolist()


def test_dropout_is_off_because_it_serves_and_does_not_train() -> None:
    model = ModuleModel(torch.nn.Dropout(0.9), "pytorch_module", CPU, THREADS)
    assert [1.0] * 50 == predict(model, tensor("input", np.ones(50, np.float32)))["output"].tolist()


def test_weights_in_half_precision_are_given_what_they_can_compute_with() -> None:
    model = ModuleModel(torch.nn.Linear(2, 1, bias=False).to(torch.bfloat16), "pytorch_module", CPU, THREADS)
    (result,) = model.predict([tensor("input", [[1, 2]])], ("output",), None)
    assert Datatype.BF16 == result.datatype


@pytest.mark.parametrize("example", [torch.zeros(1, 4).tolist(), {"y": torch.zeros(1, 4)}, "four"])
def test_an_example_of_another_kind_is_refused_with_what_to_write(example: Any) -> None:
    class Wrong(Net):
        example_inputs = example

    with pytest.raises(ModelLoadError, match=r"Wrong\.example_inputs is neither a tensor"):
        ModuleModel(Wrong(), "pytorch_module", CPU, THREADS)


def test_an_example_that_forward_refuses_is_told_with_its_reason() -> None:
    class Wrong(Net):
        example_inputs = torch.zeros(1, 5)

    with pytest.raises(ModelLoadError, match=r"forward fails on example_inputs: RuntimeError: .*mat1 and mat2"):
        ModuleModel(Wrong(), "pytorch_module", CPU, THREADS)


def test_a_state_dict_alone_says_how_to_serve_it(tmp_path: Path) -> None:
    torch.save(Net().state_dict(), tmp_path / "weights.pt")
    with pytest.raises(ModelLoadError, match=r"pillion serve net\.py:Net --artifact weights\.pt"):
        load(tmp_path / "weights.pt")


def test_a_pickled_module_whose_code_is_not_here_names_it(pickled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tests.backends.nets

    monkeypatch.delattr(tests.backends.nets, "Net")
    with pytest.raises(ModelLoadError, match=r"net\.pt needs a class that is not there"):
        load(pickled)


def test_a_damaged_file_is_said_to_be_damaged(pickled: Path, scripted: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.pt"
    cut.write_bytes(scripted.read_bytes()[:300])
    with pytest.raises(ModelLoadError, match=r"cut\.pt is damaged"):
        load(cut)


def test_a_new_thread_keeps_its_number_where_another_sets_its_own_before_it_computes() -> None:
    one, two = (OperatorThreads(LoadOptions(native_threads=count)) for count in (1, 2))

    def computes() -> int:
        one.use()
        with ThreadPoolExecutor(1) as other:
            other.submit(two.use).result()
        number: int = torch.get_num_threads()
        return number

    with ThreadPoolExecutor(1) as fresh:
        assert 1 == fresh.submit(computes).result()


def test_models_of_one_process_keep_their_own_number_of_threads() -> None:
    class Threads(torch.nn.Module):  # type: ignore[misc] # as above
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.get_num_threads()

    models = [
        ModuleModel(Threads(), "pytorch_module", CPU, OperatorThreads(LoadOptions(native_threads=count)))
        for count in (1, 2)
    ]
    given = tensor("x", [0])
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda number: predict(models[number % 2], given)["output"].tolist(), range(8)))
    assert [[1.0], [2.0]] * 4 == found
