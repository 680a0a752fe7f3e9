from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pillion.backends.api import LoadOptions, ModelLoadError, backend_named
from pillion.execution.api import Interrupt
from pillion.execution.thread import ThreadExecutor
from pillion.tensors import Datatype, Tensor, TensorSpec
from tests.models import iris_rows
from tests.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from pillion.backends.onnx import OnnxModel
    from tests.models import IrisModels


def load(path: Path, **options: Any) -> OnnxModel:
    loaded: Any = backend_named("onnx").load(path, LoadOptions(**options))
    return loaded  # type: ignore[no-any-return] # the registry returns the protocol; these tests look closer


def graph(folder: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any]) -> Path:
    model = helper.make_model(
        helper.make_graph(nodes, "g", inputs, outputs), opset_imports=[helper.make_opsetid("", 18)], ir_version=9
    )
    path = folder / "model.onnx"
    onnx.save(model, path)
    return path


def test_inputs_and_outputs_are_those_of_the_graph(iris: IrisModels) -> None:
    model = load(iris.onnx)
    assert model.metadata.platform == "onnx_onnxruntime"
    assert model.metadata.inputs == (TensorSpec("X", Datatype.FP32, (-1, 4)),)
    assert model.metadata.outputs == (
        TensorSpec("label", Datatype.INT64, (-1,)),
        TensorSpec("probabilities", Datatype.FP32, (-1, 3)),
    )
    assert model.libraries is not None
    assert ["skl2onnx"] == list(model.libraries.saved)
    assert ["onnxruntime"] == list(model.libraries.loading)


def test_outputs_come_in_the_order_asked_for(iris: IrisModels) -> None:
    results = load(iris.onnx).predict([iris_rows("X", Datatype.FP32)], ("probabilities", "label"), None)
    assert ["probabilities", "label"] == [tensor.name for tensor in results]
    assert [0, 1, 2] == results[1].data.tolist()


def test_probabilities_as_dictionaries_become_a_matrix(iris: IrisModels) -> None:
    model = load(iris.onnx_zipmap)
    assert model.metadata.outputs[1] == TensorSpec("output_probability", Datatype.FP32, (-1, -1))
    rows = iris_rows("X", Datatype.FP32)
    matrix = model.predict([rows], ("output_probability",), None)[0]
    expected = load(iris.onnx).predict([rows], ("probabilities",), None)[0]
    np.testing.assert_array_equal(expected.data, matrix.data)


def test_no_rows_give_no_rows(iris: IrisModels) -> None:
    empty = Tensor("X", Datatype.FP32, np.empty((0, 4), np.float32))
    assert load(iris.onnx).predict([empty], ("label",), None)[0].shape == (0,)


def test_text_goes_in_and_out_as_bytes(tmp_path: Path) -> None:
    text = [helper.make_tensor_value_info(name, TensorProto.STRING, ["n"]) for name in ("x", "y")]
    model = load(graph(tmp_path, [helper.make_node("Identity", ["x"], ["y"])], text[:1], text[1:]))
    given = Tensor("x", Datatype.BYTES, np.array(["grüß".encode(), b""], dtype=object))
    assert ["grüß".encode(), b""] == model.predict([given], ("y",), None)[0].data.tolist()


def test_dimensions_of_one_name_are_known_to_belong_together(tmp_path: Path) -> None:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 2]) for name in ("a", "b", "c")]
    model = load(graph(tmp_path, [helper.make_node("Add", ["a", "b"], ["c"])], values[:2], values[2:]))
    assert [("batch", ""), ("batch", "")] == [rule.symbols for rule in model.rules]


def test_an_unnamed_first_dimension_of_every_input_is_the_batch(tmp_path: Path) -> None:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 2]) for name in ("a", "b", "c")]
    model = load(graph(tmp_path, [helper.make_node("Concat", ["a", "b"], ["c"], axis=1)], values[:2], values[2:]))
    assert [("batch", ""), ("batch", "")] == [rule.symbols for rule in model.rules]


def test_a_file_that_is_no_onnx_model_is_refused_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"not a model")
    with pytest.raises(ModelLoadError, match=r"model\.onnx is not a valid ONNX model \(it may be cut short"):
        load(tmp_path / "model.onnx")


def test_a_truncated_model_is_refused(iris: IrisModels, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(iris.onnx.read_bytes()[:-40])
    with pytest.raises(ModelLoadError, match="is not a valid ONNX model"):
        load(tmp_path / "model.onnx")


def test_a_wrong_number_of_threads_is_refused(iris: IrisModels) -> None:
    with pytest.raises(ModelLoadError, match=r"intraOpThreads is 0 .give a whole number"):
        load(iris.onnx, parameters={"intraOpThreads": 0})


def test_what_onnx_runtime_refuses_before_computing_is_the_callers_fault(iris: IrisModels) -> None:
    wrong = Tensor("X", Datatype.FP32, np.zeros((1, 3), np.float32))
    with pytest.raises(ValueError, match=r"^Got invalid dimensions for input: X .* Got: 3 Expected: 4$"):
        load(iris.onnx).predict([wrong], ("label",), None)


def endless(folder: Path) -> Path:
    """A graph that multiplies a matrix by itself far longer than any test waits."""
    square = helper.make_graph(
        [
            helper.make_node("MatMul", ["m", "m"], ["m_next"]),
            helper.make_node("Identity", ["go"], ["go_next"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("m", TensorProto.FLOAT, [64, 64]),
        ],
        [
            helper.make_tensor_value_info("go_next", TensorProto.BOOL, []),
            helper.make_tensor_value_info("m_next", TensorProto.FLOAT, [64, 64]),
        ],
    )
    nodes = [
        helper.make_node("Constant", [], ["n"], value=helper.make_tensor("n", TensorProto.INT64, [], [10**9])),
        helper.make_node("Constant", [], ["yes"], value=helper.make_tensor("yes", TensorProto.BOOL, [], [True])),
        helper.make_node("Loop", ["n", "yes", "x"], ["y"], body=square),
    ]
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [64, 64]) for name in ("x", "y")]
    return graph(folder, nodes, value[:1], value[1:])


async def test_a_running_session_stops_when_its_caller_leaves(tmp_path: Path) -> None:
    model = load(endless(tmp_path))
    pool = ThreadExecutor("onnx", 1)
    zeros = Tensor("x", Datatype.FP32, np.zeros((64, 64), np.float32))
    call = asyncio.ensure_future(pool.run(model, [zeros], ("y",), None))
    await until(lambda: pool.busy == 1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await until(lambda: pool.busy == 0)
    assert pool.abandoned == 0
    pool.close()


def test_a_call_interrupted_before_it_began_does_not_compute(tmp_path: Path) -> None:
    interrupt = Interrupt()
    interrupt.fire()
    zeros = Tensor("x", Datatype.FP32, np.zeros((64, 64), np.float32))
    with pytest.raises(Exception, match=r"[Tt]erminat"):
        load(endless(tmp_path)).predict([zeros], ("y",), interrupt)
