from __future__ import annotations

import json

import numpy as np
import pytest

from pillion.dataplane.call import InferResponse, ModelMetadata
from pillion.errors import ErrorCode, PillionError
from pillion.protocol.v1 import decode_v1, encode_v1
from pillion.tensors import Datatype, Tensor, TensorSpec

MATRIX = ModelMetadata("p", (TensorSpec("x", Datatype.FP32, (-1, 4)),), ())
TABLE = ModelMetadata(
    "p", (TensorSpec("age", Datatype.INT64, (-1, 1)), TensorSpec("town", Datatype.BYTES, (-1, 1))), ()
)

GAPS = ModelMetadata(
    "p",
    (
        TensorSpec("height", Datatype.FP64, (-1, 1), nullable=True),
        TensorSpec("town", Datatype.BYTES, (-1, 1), nullable=True),
    ),
    (),
)
NAMED = ModelMetadata(
    "p",
    (TensorSpec("input", Datatype.FP64, (-1, 2)),),
    (),
    columns=(TensorSpec("a", Datatype.FP64, (-1, 1)), TensorSpec("b", Datatype.FP64, (-1, 1))),
    ignored=("note",),
)


def decoded(document: object, metadata: ModelMetadata) -> dict[str, object]:
    request = decode_v1(json.dumps(document).encode(), model="m", metadata=metadata)
    return {tensor.name: (tensor.datatype.value, tensor.data.tolist()) for tensor in request.inputs}


def refused(document: bytes, metadata: ModelMetadata) -> PillionError:
    with pytest.raises(PillionError) as caught:
        decode_v1(document, model="m", metadata=metadata)
    assert ErrorCode.INVALID_ARGUMENT is caught.value.code
    return caught.value


@pytest.mark.parametrize("key", ["instances", "inputs"])
def test_rows_of_numbers_become_the_only_input(key: str) -> None:
    rows = [[1, 2, 3, 4.5], [5, 6, 7, 8]]
    assert {"x": ("FP32", rows)} == decoded({key: rows}, MATRIX)


def test_rows_as_objects_become_one_column_for_each_input() -> None:
    rows = [{"age": 1, "town": "Ulm"}, {"town": "Bonn", "age": 2}]
    expected = {"age": ("INT64", [[1], [2]]), "town": ("BYTES", [[b"Ulm"], [b"Bonn"]])}
    assert expected == decoded({"instances": rows}, TABLE)


def test_rows_as_lists_become_the_columns_of_a_table_in_its_order() -> None:
    expected = {"age": ("INT64", [[1], [2]]), "town": ("BYTES", [[b"Ulm"], [b"Bonn"]])}
    assert expected == decoded({"instances": [[1, "Ulm"], [2, "Bonn"]]}, TABLE)


def test_null_is_a_missing_value_where_the_model_takes_such() -> None:
    for rows in ([{"height": 1.5, "town": None}, {"town": "Ulm", "height": None}], [[1.5, None], [None, "Ulm"]]):
        request = decode_v1(json.dumps({"instances": rows}).encode(), model="m", metadata=GAPS)
        gaps = {tensor.name: tensor.missing.tolist() for tensor in request.inputs if tensor.missing is not None}
        assert {"height": [[False], [True]], "town": [[True], [False]]} == gaps


def test_a_matrix_with_named_columns_takes_rows_as_lists_and_as_objects() -> None:
    assert {"input": ("FP64", [[1.0, 2.0]])} == decoded({"instances": [[1, 2]]}, NAMED)
    assert {"a": ("FP64", [[1.0]]), "b": ("FP64", [[2.0]])} == decoded({"instances": [{"b": 2, "a": 1}]}, NAMED)
    assert {"a": ("FP64", [[1.0]]), "b": ("FP64", [[2.0]])} == decoded({"inputs": {"a": [1], "b": [2]}}, NAMED)


def test_columns_that_the_model_does_not_use_may_hold_anything() -> None:
    assert {"a": ("FP64", [[1.0]]), "b": ("FP64", [[2.0]])} == decoded(
        {"instances": [{"b": 2, "note": ["x"], "a": 1}]}, NAMED
    )
    assert {"a": ("FP64", [[1.0]])} == decoded({"inputs": {"a": [1], "note": "x"}}, NAMED)


def test_a_renamed_column_is_told_with_its_row_and_the_nearest_name() -> None:
    error = refused(b'{"instances":[{"age":1,"town":"a"},{"age":1,"twon":"a"}]}', TABLE)
    assert "instances[1].twon: the model has no input 'twon'; did you mean 'town'?" == error.message


def test_a_row_of_another_width_is_told_with_both_widths_and_the_order_where_columns_have_names() -> None:
    assert "instances[1]: 3 values, the model takes 4" == refused(b'{"instances":[[1,2,3,4],[1,2,3]]}', MATRIX).message
    assert "in this order: a, b" == refused(b'{"instances":[[1]]}', NAMED).remedy


def test_a_value_of_another_kind_is_told_in_the_words_of_json() -> None:
    said = {
        b'{"instances":[[1,2,3,"heavy"]]}': "instances[0][3]: expected a number, got text",
        b'{"instances":[[1,2,3,null]]}': "instances[0][3]: expected a number, got null",
        b'{"instances":5}': "instances: expected a list, got a whole number",
        b"[]": "expected an object, got a list",
    }
    assert said == {body: refused(body, MATRIX).message for body in said}


def test_missing_columns_are_told_with_their_row() -> None:
    error = refused(b'{"instances":[{"age":1,"town":"a"},{}]}', TABLE)
    assert "instances[1]: inputs 'age', 'town' are missing" == error.message
    assert "send null for a missing value" == refused(b'{"instances":[{"height":1}]}', GAPS).remedy


def test_objects_of_columns_stand_one_below_the_other_as_kserve_s_lightgbm_server_takes_them() -> None:
    blocks = [{"age": [1, 2], "town": ["Ulm", "Bonn"]}, {"age": 3, "town": ["Köln"]}]
    expected = {
        "age": ("INT64", [[1], [2], [3]]),
        "town": ("BYTES", [[b"Ulm"], [b"Bonn"], ["Köln".encode()]]),
    }
    assert expected == decoded({"inputs": blocks}, TABLE)
    assert refused(b'{"inputs": [{"height": [1]}]}', TABLE).message.startswith("inputs[0].height: ")


def test_columns_become_inputs_by_name() -> None:
    columns = {"age": [1, 2], "town": ["Ulm", "Bonn"]}
    expected = {"age": ("INT64", [[1], [2]]), "town": ("BYTES", [[b"Ulm"], [b"Bonn"]])}
    assert expected == decoded({"inputs": columns}, TABLE)


@pytest.mark.parametrize(
    ("document", "metadata", "field"),
    [
        (b"{}", MATRIX, "instances"),
        (b'{"instances":[[1]],"inputs":[[1]]}', MATRIX, "inputs"),
        (b'{"instances":5}', MATRIX, "instances"),
        (b'{"instances":[[1,2,3,4],[1,2,3,"4"]]}', MATRIX, "instances[1][3]"),
        (b'{"instances":[[1,2,3,4],[1,2,3]]}', MATRIX, "instances[1]"),
        (b'{"instances":[[1,2,3,4],5]}', MATRIX, "instances[1]"),
        (b'{"instances":[]}', MATRIX, "instances"),
        (b'{"instances":[]}', TABLE, "instances"),
        (b'{"instances":[{"age":1,"town":"a"},{"age":[1,2],"town":"a"}]}', TABLE, "instances[1].age"),
        (b'{"instances":[[1,2,3,4],{"x":1}]}', MATRIX, "instances[1]"),
        (b'{"instances":[{"y":1}]}', MATRIX, "instances[0].y"),
        (b'{"instances":[[1,2]]}', TABLE, "instances[0][1]"),
        (b'{"instances":[[1,"a"],[1]]}', TABLE, "instances[1]"),
        (b'{"instances":[[1,["a"]]]}', TABLE, "instances[0][1]"),
        (b'{"instances":[[1,"a"],{"age":1,"town":"a"}]}', TABLE, "instances[1]"),
        (b'{"instances":[[1,null]]}', TABLE, "instances[0][1]"),
        (b'{"instances":[{"age":1,"town":"a"},{"age":null,"town":"a"}]}', TABLE, "instances[1].age"),
        (b'{"instances":[{"age":1,"town":"a"},{"age":1,"twon":"a"}]}', TABLE, "instances[1].twon"),
        (b'{"instances":[{"age":1.5,"town":"a"}]}', TABLE, "instances[0].age"),
        (b'{"instances":[{"age":1,"town":"a"},{"age":1}]}', TABLE, "instances[1]"),
        (b'{"inputs":{"height":[1]}}', TABLE, "inputs.height"),
    ],
)
def test_what_does_not_fit_the_model_is_refused_with_its_place(
    document: bytes, metadata: ModelMetadata, field: str
) -> None:
    assert field == refused(document, metadata).field


def test_one_output_is_answered_as_rows() -> None:
    response = InferResponse("m", "1", [Tensor("y", Datatype.FP32, np.array([[1, 2], [3, 4.5]], np.float32))])
    assert {"predictions": [[1.0, 2.0], [3.0, 4.5]]} == json.loads(encode_v1(response))


def test_several_outputs_are_answered_as_one_object_a_row() -> None:
    outputs = [
        Tensor("label", Datatype.BYTES, np.array([b"a", b"b"], dtype=object)),
        Tensor("p", Datatype.FP32, np.array([[0.5, 0.5], [1, 0]], np.float32)),
    ]
    expected = [{"label": "a", "p": [0.5, 0.5]}, {"label": "b", "p": [1.0, 0.0]}]
    assert {"predictions": expected} == json.loads(encode_v1(InferResponse("m", "1", outputs)))


def test_nan_in_an_answer_is_an_error_that_names_the_output() -> None:
    with pytest.raises(PillionError, match="'y'"):
        encode_v1(InferResponse("m", "1", [Tensor("y", Datatype.FP32, np.array([np.nan], np.float32))]))
