from __future__ import annotations

import json

import pytest

from pillion.dataplane.call import ModelMetadata
from pillion.errors import ErrorCode, PillionError
from pillion.protocol.invocations import decode_invocation
from pillion.tensors import Datatype, TensorSpec

MATRIX = ModelMetadata("p", (TensorSpec("x", Datatype.FP64, (-1, 2)),), ())
NAMED = ModelMetadata(
    "p",
    (TensorSpec("x", Datatype.FP64, (-1, 2)),),
    (),
    columns=tuple(TensorSpec(name, Datatype.FP64, (-1, 1)) for name in ("length", 'the "width"')),
)
TABLE = ModelMetadata(
    "p", (TensorSpec("age", Datatype.INT64, (-1, 1)), TensorSpec("town", Datatype.BYTES, (-1, 1))), ()
)


def decoded(document: object, metadata: ModelMetadata) -> dict[str, object]:
    request = decode_invocation(json.dumps(document).encode(), model="m", metadata=metadata)
    return {tensor.name: (tensor.datatype.value, tensor.data.tolist()) for tensor in request.inputs}


ROWS = {"x": ("FP64", [[1.0, 2.0], [3.0, 4.5]])}
COLUMNS = {"length": ("FP64", [[1.0], [3.0]]), 'the "width"': ("FP64", [[2.0], [4.5]])}
PEOPLE = {"age": ("INT64", [[1], [2]]), "town": ("BYTES", [[b"Ulm"], [b"Bonn"]])}


@pytest.mark.parametrize(
    ("expected", "document", "metadata"),
    [
        (ROWS, {"dataframe_split": {"data": [[1, 2], [3, 4.5]]}}, MATRIX),
        (ROWS, {"dataframe_split": {"columns": ["a", "b"], "index": [0, 1], "data": [[1, 2], [3, 4.5]]}}, MATRIX),
        (COLUMNS, {"dataframe_split": {"columns": ['the "width"', "length"], "data": [[2, 1], [4.5, 3]]}}, NAMED),
        (COLUMNS, {"dataframe_records": [{"length": 1, 'the "width"': 2}, {'the "width"': 4.5, "length": 3}]}, NAMED),
        (ROWS, {"dataframe_records": [{"a": 1, "b": 2}, {"b": 4.5, "a": 3}]}, MATRIX),
        (ROWS, {"instances": [[1, 2], [3, 4.5]]}, NAMED),
        (ROWS, {"inputs": [[1, 2], [3, 4.5]]}, MATRIX),
        (ROWS, {"inputs": [[1, 2], [3, 4.5]], "params": {}}, MATRIX),
        (PEOPLE, {"dataframe_split": {"columns": ["town", "age"], "data": [["Ulm", 1], ["Bonn", 2]]}}, TABLE),
        (PEOPLE, {"dataframe_records": [{"age": 1, "town": "Ulm"}, {"town": "Bonn", "age": 2}]}, TABLE),
        (PEOPLE, {"instances": [{"age": 1, "town": "Ulm"}, {"town": "Bonn", "age": 2}]}, TABLE),
        (PEOPLE, {"inputs": {"age": [1, 2], "town": ["Ulm", "Bonn"]}}, TABLE),
    ],
)
def test_each_form_of_mlflow_becomes_the_inputs_of_the_model(
    expected: object, document: object, metadata: ModelMetadata
) -> None:
    assert expected == decoded(document, metadata)


@pytest.mark.parametrize(
    ("field", "said", "document", "metadata"),
    [
        ("body", "exactly one of dataframe_split", {}, MATRIX),
        ("inputs", "has instances and inputs", {"instances": [[1, 2]], "inputs": [[1, 2]]}, MATRIX),
        ("params", "takes no parameters", {"inputs": [[1, 2]], "params": {"t": 1}}, MATRIX),
        ("dataframe_split", "missing required field", {"dataframe_split": {"columns": ["a"]}}, MATRIX),
        (
            "dataframe_split.data[1]",
            "1 values for 2 columns",
            {"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2], [3]]}},
            MATRIX,
        ),
        (
            "dataframe_split.columns",
            "stands twice",
            {"dataframe_split": {"columns": ["a", "a"], "data": [[1, 2]]}},
            MATRIX,
        ),
        (
            "dataframe_split.data[0].lenght",
            "the model has no input 'lenght'",
            {"dataframe_split": {"columns": ["lenght", 'the "width"'], "data": [[1, 2]]}},
            NAMED,
        ),
        (
            "dataframe_records[1]",
            "has not the keys of the first row: b",
            {"dataframe_records": [{"a": 1, "b": 2}, {"a": 1}]},
            MATRIX,
        ),
        ("dataframe_split.data[0][1]", "dataframe_split.data[0][1]", {"dataframe_split": {"data": [[1, "2"]]}}, MATRIX),
        (
            "dataframe_records[0].age",
            "dataframe_records[0].age",
            {"dataframe_records": [{"age": "x", "town": "Ulm"}]},
            TABLE,
        ),
        ("dataframe_split.data[0][0]", "object", {"dataframe_split": {"data": [[{}]]}}, MATRIX),
    ],
)
def test_what_does_not_fit_is_named_as_the_caller_wrote_it(
    field: str, said: str, document: object, metadata: ModelMetadata
) -> None:
    with pytest.raises(PillionError) as caught:
        decoded(document, metadata)
    assert ErrorCode.INVALID_ARGUMENT is caught.value.code
    assert field == caught.value.field
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("field", "form"),
    [
        ("dataframe_split.data", {"dataframe_split": {"data": []}}),
        ("dataframe_records", {"dataframe_records": []}),
        ("instances", {"instances": []}),
    ],
)
def test_no_rows_are_refused_as_v1_refuses_them(field: str, form: dict[str, object]) -> None:
    with pytest.raises(PillionError) as caught:
        decoded(form, NAMED)
    assert f"{field}: there are no rows" == caught.value.message
