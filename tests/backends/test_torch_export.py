"""Programs of torch.export: what they take and give is what they say themselves."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from pillion.backends.api import LoadFailure, LoadOptions, ModelLoadError, backend_named
from pillion.tensors import Datatype, Tensor, TensorSpec
from tests.backends.nets import Net, Pair, load, predict, rows, tensor

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

BATCH = torch.export.Dim("batch", min=1, max=64)


def exported(
    folder: Path,
    module: torch.nn.Module,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any] | None = None,
    **options: Any,
) -> Path:
    path = folder / "model.pt2"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's own, about its own future
        torch.export.save(torch.export.export(module.eval(), args, dict(kwargs or {}), **options), path)
    return path


@pytest.fixture
def net(tmp_path: Path) -> Path:
    return exported(tmp_path, Net(), (torch.zeros(2, 4),), dynamic_shapes={"x": {0: BATCH}})


def test_inputs_outputs_and_version_are_those_of_the_program(net: Path) -> None:
    model = load(net)
    assert (TensorSpec("x", Datatype.FP32, (-1, 4)),) == model.metadata.inputs
    assert (TensorSpec("output", Datatype.FP32, (-1, 3)),) == model.metadata.outputs
    assert ("pytorch_export", True) == (model.metadata.platform, model.any_input_name)
    assert model.libraries is not None
    assert (torch.__version__, torch.__version__.partition("+")[0]) == (
        model.libraries.loading["torch"],
        model.libraries.saved["torch"],
    )


def test_it_answers_as_the_module_does_for_any_number_of_rows(net: Path) -> None:
    model, module = load(net), Net()
    for count in (1, 2, 33):
        expected = module(torch.from_numpy(rows(count))).detach().numpy()
        np.testing.assert_allclose(expected, predict(model, tensor("x", rows(count)))["output"], rtol=1e-6)


def test_more_rows_than_it_was_exported_for_are_refused_by_name(net: Path) -> None:
    with pytest.raises(ValueError, match=r"^input 'x': dimension 0 is 65, and the program takes from 1 to 64$"):
        predict(load(net), tensor("x", rows(65)))


def test_several_threads_may_share_it(net: Path) -> None:
    model, expected = load(net), Net()(torch.from_numpy(rows(8))).detach().numpy()
    with ThreadPoolExecutor(4) as pool:
        for answer in pool.map(lambda _: predict(model, tensor("x", rows(8)))["output"], range(64)):
            np.testing.assert_allclose(expected, answer, rtol=1e-6)


def test_dictionaries_and_named_arguments_keep_their_names(tmp_path: Path) -> None:
    path = exported(tmp_path, Pair(), (torch.zeros(2),), {"right": torch.ones(2)})
    model = load(path)
    assert ["left", "right"] == [spec.name for spec in model.metadata.inputs]
    results = predict(model, tensor("left", [3, 4]), tensor("right", [5, 6]))
    assert {"sum": [8.0, 10.0], "product": [15.0, 24.0]} == {name: data.tolist() for name, data in results.items()}


def test_places_of_a_tuple_are_numbered_and_computed_only_as_asked(tmp_path: Path) -> None:
    class Two(torch.nn.Module):  # type: ignore[misc] # PyTorch is not installed where types are checked
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x + 1, x > 0

    model = load(exported(tmp_path, Two(), (torch.zeros(2),)))
    assert ["output_0", "output_1"] == [spec.name for spec in model.metadata.outputs]
    assert [Datatype.FP32, Datatype.BOOL] == [spec.datatype for spec in model.metadata.outputs]
    asked = predict(model, tensor("x", [-1, 1]), outputs=("output_1",))
    assert {"output_1": [False, True]} == {name: data.tolist() for name, data in asked.items()}


def test_bfloat16_goes_in_and_out_as_its_bits(tmp_path: Path) -> None:
    class Double(torch.nn.Module):  # type: ignore[misc] # as above
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * 2

    model = load(exported(tmp_path, Double(), (torch.zeros(3, dtype=torch.bfloat16),)))
    assert Datatype.BF16 == model.metadata.inputs[0].datatype
    bits = (np.array([1.5, -2.0, 0.0], np.float32).view(np.uint32) >> 16).astype(np.uint16)
    (result,) = model.predict([Tensor("x", Datatype.BF16, bits)], ("output",), None)
    assert Datatype.BF16 == result.datatype
    assert [3.0, -4.0, 0.0] == (result.data.astype(np.uint32) << 16).view(np.float32).tolist()


def test_a_constraint_between_dimensions_is_the_callers_fault(tmp_path: Path) -> None:
    class Even(torch.nn.Module):  # type: ignore[misc] # as above
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.reshape(x.shape[0] // 2, 2).sum(1)

    half = torch.export.Dim("half", min=2, max=50)
    model = load(exported(tmp_path, Even(), (torch.zeros(4),), dynamic_shapes={"x": {0: 2 * half}}))
    assert [3.0, 7.0] == predict(model, tensor("x", [1, 2, 3, 4]))["output"].tolist()
    with pytest.raises(ValueError, match=r"exported for other shapes: it needs x\.size\(\)\[0\]"):
        predict(model, tensor("x", [1, 2, 3, 4, 5]))


def test_an_index_that_is_not_there_is_the_callers_fault(tmp_path: Path) -> None:
    model = load(exported(tmp_path, torch.nn.Embedding(10, 2), (torch.zeros(1, dtype=torch.int64),)))
    with pytest.raises(ValueError, match="an input indexes what is not there"):
        predict(model, tensor("input", [10], np.int64))


def test_a_damaged_program_is_refused_with_a_remedy(net: Path) -> None:
    net.write_bytes(net.read_bytes()[:200] + net.read_bytes()[400:])
    with pytest.raises(ModelLoadError, match=r"model\.pt2 could not be read by PyTorch .* upload it again"):
        load(net)


def test_without_consent_it_is_not_opened_and_the_remedy_is_told(net: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"a program of torch\.export, which PyTorch reads with pickle") as refused:
        backend_named("torch").load(net, LoadOptions())
    assert LoadFailure.UNSAFE_FORMAT == refused.value.cause
    assert "torch.onnx.export" in str(refused.value.remedy)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"device": "toaster"}, "device 'toaster' cannot be used here"),
        ({"device": "cuda:99"}, "device 'cuda:99' cannot be used here"),
        ({"intraOpThreads": "many"}, "intraOpThreads is 'many'"),
    ],
)
def test_a_device_or_number_of_threads_that_is_not_there_is_refused(
    net: Path, parameters: dict[str, Any], said: str
) -> None:
    with pytest.raises(ModelLoadError, match=said):
        load(net, parameters=parameters)


def test_it_computes_on_the_device_that_was_named(net: Path) -> None:
    assert (1, 3) == predict(load(net, parameters={"device": "cpu"}), tensor("x", rows(1)))["output"].shape


def test_the_request_is_not_written_to_by_a_program_that_computes_in_place(tmp_path: Path) -> None:
    class InPlace(torch.nn.Module):  # type: ignore[misc] # as above
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.add_(1)

    given = tensor("x", [1, 2])
    assert [2.0, 3.0] == predict(load(exported(tmp_path, InPlace(), (torch.zeros(2),))), given)["output"].tolist()
    assert [1.0, 2.0] == given.data.tolist()


def test_the_request_is_not_written_to_by_a_decomposed_program_either(tmp_path: Path) -> None:
    class InPlace(torch.nn.Module):  # type: ignore[misc] # as above
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x.add_(1)
            return x * 2

    path = tmp_path / "model.pt2"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's own, about its own future
        torch.export.save(torch.export.export(InPlace(), (torch.zeros(2),)).run_decompositions(), path)
    given = tensor("x", [1, 2])
    assert [4.0, 6.0] == predict(load(path), given)["output"].tolist()
    assert [1.0, 2.0] == given.data.tolist()


def test_a_program_that_changes_nothing_computes_in_the_memory_of_the_request(tmp_path: Path) -> None:
    class Same(torch.nn.Module):  # type: ignore[misc] # as above
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.view(1, 2)

    given = tensor("x", [1, 2])
    (found,) = predict(load(exported(tmp_path, Same(), (torch.zeros(2),))), given).values()
    assert [[1.0, 2.0]] == found.tolist()
    assert np.shares_memory(found, given.data)


def test_nested_inputs_and_outputs_keep_their_places(tmp_path: Path) -> None:
    class Nested(torch.nn.Module):  # type: ignore[misc] # as above
        def forward(self, pair: list[torch.Tensor], *, scale: float, more: dict[str, torch.Tensor]) -> dict[str, Any]:
            return {"difference": pair[0] - pair[1], "rest": (more["z"] * scale, pair[0])}

    example = ([torch.zeros(2), torch.zeros(2)],)
    keywords = {"scale": 3.0, "more": {"z": torch.zeros(2)}}
    program = torch.export.export(Nested(), example, keywords)
    torch.export.save(program, tmp_path / "nested.pt2")
    model = load(tmp_path / "nested.pt2")
    names = [rule.spec.name for rule in model.rules]
    given = dict(zip(names, ([5, 7], [1, 2], [10, 20]), strict=True))
    found = predict(model, *(tensor(name, values) for name, values in given.items()))
    assert [[4.0, 5.0], [30.0, 60.0], [5.0, 7.0]] == [value.tolist() for value in found.values()]
