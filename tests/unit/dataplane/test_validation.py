from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pillion.backends.api import InputRule
from pillion.dataplane.call import Libraries, ModelMetadata
from pillion.dataplane.validation import Binder
from pillion.errors import ErrorCode, PillionError
from pillion.tensors import Datatype, Tensor, TensorSpec, dtype_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pillion.execution.api import Interrupt


@dataclass
class Declared:
    """A model that is only asked what it declares."""

    rules: tuple[InputRule, ...]
    any_input_name: bool = False
    default_outputs: tuple[str, ...] = ("y",)
    libraries: Libraries | None = None

    @property
    def metadata(self) -> ModelMetadata:
        outputs = (TensorSpec("y", Datatype.FP32, (-1,)), TensorSpec("z", Datatype.FP32, (-1,)))
        return ModelMetadata("test", tuple(rule.spec for rule in self.rules), outputs)

    def predict(
        self, inputs: Sequence[Tensor | None], outputs: tuple[str, ...], interrupt: Interrupt | None
    ) -> list[Tensor]:
        raise NotImplementedError

    def close(self) -> None: ...


def rule(name: str, shape: tuple[int, ...] = (-1, 4), *, optional: bool = False, symbol: str = "") -> InputRule:
    spec = TensorSpec(name, Datatype.FP32, shape, optional)
    return InputRule(spec, frozenset({Datatype.FP32}), tuple(symbol if size < 0 else "" for size in shape))


def tensor(name: str, shape: tuple[int, ...] = (2, 4), datatype: Datatype = Datatype.FP32) -> Tensor:
    return Tensor(name, datatype, np.zeros(shape, dtype_of(datatype)))


ONE = Binder(Declared((rule("x"),)))
TWO = Binder(Declared((rule("a", symbol="batch"), rule("b", (-1,), symbol="batch"), rule("c", optional=True))))


def refused(binder: Binder, given: list[Tensor]) -> PillionError:
    with pytest.raises(PillionError) as refusal:
        binder.inputs(given)
    assert refusal.value.code is ErrorCode.INVALID_ARGUMENT
    return refusal.value


def test_a_good_request_is_bound_in_the_models_order() -> None:
    a, b = tensor("a"), tensor("b", (2,))
    assert [a, b, None] == TWO.inputs([b, a])


def test_an_unknown_input_tells_what_is_expected() -> None:
    error = refused(ONE, [tensor("w")])
    assert error.field == "inputs[0].name"
    assert error.message == "inputs[0].name: the model has no input 'w'; expected: 'x' (FP32 [-1, 4])"


def test_a_missing_input_is_named() -> None:
    error = refused(TWO, [tensor("a")])
    assert error.field == "inputs"
    assert "input 'b' is missing" in error.message


def test_no_inputs_at_all_are_refused() -> None:
    assert "input 'x' is missing" in refused(ONE, []).message


def test_an_input_given_twice_is_refused() -> None:
    error = refused(ONE, [tensor("x"), tensor("x")])
    assert (error.field, "given twice" in error.message) == ("inputs[1].name", True)


def test_a_wrong_datatype_is_refused() -> None:
    error = refused(ONE, [tensor("x", datatype=Datatype.FP64)])
    assert error.message == "inputs[0].datatype: input 'x' is FP64, expected FP32"


@pytest.mark.parametrize("shape", [(2, 3), (4,), (2, 4, 1), ()])
def test_a_wrong_shape_or_rank_is_refused(shape: tuple[int, ...]) -> None:
    error = refused(ONE, [tensor("x", shape)])
    assert error.field == "inputs[0].shape"
    assert error.message.endswith(f"has shape {list(shape)}, expected [-1, 4] (-1: any size)")


def test_batch_sizes_that_disagree_are_refused_naming_both() -> None:
    error = refused(TWO, [tensor("a", (2, 4)), tensor("b", (3,))])
    assert error.field == "inputs[1].shape"
    assert "dimension 'batch' is 3 in input 'b' and 2 in input 'a'" in error.message


def test_an_array_that_is_not_of_its_datatype_is_refused() -> None:
    bad = Tensor("x", Datatype.FP32, np.zeros((1, 4), np.float64))
    assert refused(ONE, [bad]).field == "inputs[0].data"


def test_a_model_that_takes_any_name_takes_one_tensor_of_any_name() -> None:
    binder = Binder(Declared((rule("input"),), any_input_name=True))
    given = [tensor("input-0")]
    assert given == binder.inputs(given)
    assert "no input 'other'" in refused(binder, [tensor("input"), tensor("other")]).message


def test_other_shapes_that_the_model_takes_are_let_through() -> None:
    spec = TensorSpec("x", Datatype.FP32, (-1,))
    binder = Binder(Declared((InputRule(spec, frozenset({Datatype.FP32}), shapes=((-1, 1),)),)))
    given = [tensor("x", (5, 1))]
    assert given == binder.inputs(given)
    assert refused(binder, [tensor("x", (5, 2))]).field == "inputs[0].shape"


def test_an_input_of_unknown_rank_is_left_to_the_library() -> None:
    spec = TensorSpec("x", Datatype.FP32, ())
    binder = Binder(Declared((InputRule(spec, frozenset({Datatype.FP32}), free_rank=True),)))
    given = [tensor("x", (1, 2, 3))]
    assert given == binder.inputs(given)


def test_outputs_default_to_the_models_choice() -> None:
    assert ONE.outputs(()) == ("y",)
    assert ONE.outputs(("z", "y")) == ("z", "y")


@pytest.mark.parametrize(
    ("wanted", "field", "text"),
    [
        (("q",), "outputs[0].name", "the model has no output 'q'; it has: y, z"),
        (("y", "y"), "outputs[1].name", "output 'y' is asked for twice"),
    ],
)
def test_unknown_and_repeated_outputs_are_refused(wanted: tuple[str, ...], field: str, text: str) -> None:
    with pytest.raises(PillionError) as refusal:
        ONE.outputs(wanted)
    assert refusal.value.field == field
    assert text in refusal.value.message
