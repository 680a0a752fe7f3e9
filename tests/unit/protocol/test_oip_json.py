from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from pillion.errors import ErrorCode, PillionError
from pillion.protocol.limits import CodecLimits
from pillion.protocol.oip_json import OipJsonDecoder
from pillion.tensors import Datatype, Tensor

DECODER = OipJsonDecoder()


def body(datatype: str, data: str, shape: str = "[2]", **more: Any) -> bytes:
    extra = "".join(f', "{key}": {json.dumps(value)}' for key, value in more.items())
    return f'{{"inputs":[{{"name":"x","datatype":"{datatype}","shape":{shape},"data":{data}{extra}}}]}}'.encode()


def decoded(document: bytes) -> Tensor:
    request, _ = DECODER.decode(document, "m")
    return request.inputs[0]


def refused(document: bytes, decoder: OipJsonDecoder = DECODER, header_length: int | None = None) -> PillionError:
    with pytest.raises(PillionError) as caught:
        decoder.decode(document, "m", header_length=header_length)
    return caught.value


@pytest.mark.parametrize(
    ("datatype", "data", "values"),
    [
        ("BOOL", "[true,false]", [True, False]),
        ("INT8", "[-128,127]", [-128, 127]),
        ("INT16", "[-32768,32767]", [-32768, 32767]),
        ("INT32", "[-2147483648,2147483647]", [-(2**31), 2**31 - 1]),
        ("INT64", "[-9223372036854775808,9223372036854775807]", [-(2**63), 2**63 - 1]),
        ("UINT8", "[0,255]", [0, 255]),
        ("UINT16", "[0,65535]", [0, 65535]),
        ("UINT32", "[0,4294967295]", [0, 2**32 - 1]),
        ("UINT64", "[0,18446744073709551615]", [0, 2**64 - 1]),
        ("FP32", "[1,2.5]", [1.0, 2.5]),
        ("FP64", "[-1e300,2]", [-1e300, 2.0]),
        ("BYTES", '["a","\\u00fc"]', [b"a", "ü".encode()]),
    ],
)
def test_each_datatype_decodes_to_its_whole_range(datatype: str, data: str, values: list[object]) -> None:
    tensor = decoded(body(datatype, data))
    assert values == tensor.data.tolist()
    assert Datatype(datatype) is tensor.datatype


@pytest.mark.parametrize(
    ("datatype", "data", "filled"),
    [
        ("FP64", "[1,null]", [1.0, np.nan]),
        ("INT64", "[null,2]", [0, 2]),
        ("BOOL", "[true,null]", [True, False]),
        ("BYTES", '["a",null]', [b"a", b""]),
    ],
)
def test_null_marks_an_element_as_missing(datatype: str, data: str, filled: list[object]) -> None:
    (tensor,) = DECODER.decode(body(datatype, data), "m")[0].inputs
    assert tensor.missing is not None
    assert ["null" in item for item in data.split(",")] == tensor.missing.ravel().tolist()
    np.testing.assert_array_equal(np.array(filled, tensor.data.dtype), tensor.data)


def test_nulls_in_nested_data_keep_their_places() -> None:
    tensor = decoded(body("FP64", "[[1,null],[3,4]]", "[2,2]"))
    assert tensor.missing is not None
    assert [[False, True], [False, False]] == tensor.missing.tolist()


def test_a_wrong_value_beside_a_null_is_the_one_that_is_told_with_the_name_of_its_input() -> None:
    error = refused(body("FP32", '[null,"one"]'))
    assert "inputs[0].data[1]: input 'x': expected a number, got text" == error.message


@pytest.mark.parametrize(
    ("datatype", "data", "field"),
    [
        ("INT8", "[1,128]", "inputs[0].data[1]"),
        ("INT8", "[-129,1]", "inputs[0].data[0]"),
        ("UINT8", "[1,-1]", "inputs[0].data[1]"),
        ("UINT32", "[1,4294967296]", "inputs[0].data[1]"),
        ("UINT64", "[1,18446744073709551616]", "inputs[0].data"),
        ("INT64", "[1,9223372036854775808]", "inputs[0].data[1]"),
        ("INT32", "[1,1.0]", "inputs[0].data[1]"),
        ("INT32", "[1,true]", "inputs[0].data[1]"),
        ("FP32", '[1,"2"]', "inputs[0].data[1]"),
        ("FP32", "[1,true]", "inputs[0].data[1]"),
        ("FP32", "[1,1e39]", "inputs[0].data[1]"),
        ("FP64", "[1,1e999]", "inputs[0].data[1]"),
        ("BOOL", "[true,1]", "inputs[0].data[1]"),
        ("BYTES", '["a",1]', "inputs[0].data[1]"),
        ("FP32", "[[1],[2,3]]", "inputs[0].data"),
        ("FP32", "[1,[2]]", "inputs[0].data"),
        ("FP32", "5", "inputs[0].data"),
        ("FP32", "[1,2,3]", "inputs[0].data"),
        ("FP32", "[[1,2]]", "inputs[0].data"),
        ("BYTES", '[["a"],["b","c"]]', "inputs[0].data"),
        ("FP16", "[1,2]", "inputs[0].datatype"),
        ("BF16", "[1,2]", "inputs[0].datatype"),
        ("FP8", "[1,2]", "inputs[0].datatype"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place(datatype: str, data: str, field: str) -> None:
    error = refused(body(datatype, data))
    assert (ErrorCode.INVALID_ARGUMENT, field) == (error.code, error.field)
    assert field in error.message


@pytest.mark.parametrize("token", ["NaN", "Infinity", "-Infinity"])
def test_a_token_that_json_lacks_is_refused_with_its_place_and_the_binary_form_as_remedy(token: str) -> None:
    error = refused(body("FP32", f"[1,{token}]"))
    assert "inputs[0].data[1]" == error.field
    assert "binary" in str(error)


@pytest.mark.parametrize("data", ["[1,2,3,4]", "[[1,2],[3,4]]"])
def test_data_may_be_flat_or_nested_like_its_shape(data: str) -> None:
    assert [[1.0, 2.0], [3.0, 4.0]] == decoded(body("FP32", data, "[2,2]")).data.tolist()


def test_the_datatype_may_stand_after_the_data() -> None:
    document = b'{"inputs":[{"data":[1,2],"name":"x","shape":[2],"datatype":"INT8"}]}'
    assert np.dtype(np.int8) == decoded(document).data.dtype


@pytest.mark.parametrize(
    ("shape", "problem"),
    [
        ("[-1]", "negative"),
        ("[4611686018427387904,4]", "elements"),
        ("[99999999999999999999]", "elements"),
        ("[0,4611686018427387904]", "elements"),
        (str([1] * 40), "dimensions"),
        ("[3]", "3"),
        ("[2.0]", "whole number"),
        ("2", "list"),
    ],
)
def test_a_shape_that_cannot_be_is_refused(shape: str, problem: str) -> None:
    error = refused(body("FP32", "[1,2]", shape))
    assert ErrorCode.INVALID_ARGUMENT is error.code
    assert problem in error.message


def test_an_empty_tensor_and_a_scalar_are_tensors() -> None:
    assert (0, 4) == decoded(body("FP32", "[]", "[0,4]")).shape
    assert () == decoded(body("FP32", "[7]", "[]")).shape


def test_more_elements_than_allowed_are_refused_with_the_setting() -> None:
    error = refused(body("FP32", "[1,2]"), OipJsonDecoder(CodecLimits(max_elements=1)))
    assert "limits.max_elements" in str(error)


def test_more_inputs_than_allowed_are_refused_with_the_setting() -> None:
    one = '{"name":"x%d","datatype":"FP32","shape":[1],"data":[1]}'
    document = ('{"inputs":[' + ",".join(one % i for i in range(3)) + "]}").encode()
    assert "limits.max_tensors" in str(refused(document, OipJsonDecoder(CodecLimits(max_tensors=2))))


def test_a_string_beyond_the_limit_is_refused() -> None:
    error = refused(body("BYTES", '["a","abcdef"]'), OipJsonDecoder(CodecLimits(max_string_bytes=5)))
    assert "inputs[0].data[1]" == error.field


@pytest.mark.parametrize(
    "document",
    [
        b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":' + b"[" * 100_000,
        b'{"other":' + b"[" * 100_000,
        b'{"other":' + b'{"a":' * 100_000,
        b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":' + b"[" * 17 + b"1" + b"]" * 17 + b"}]}",
    ],
)
def test_deep_json_is_refused(document: bytes) -> None:
    assert ErrorCode.INVALID_ARGUMENT is refused(document).code


@pytest.mark.parametrize(
    "document", [b"", b"{", b"[]", b"null", b"{}", b'{"inputs":null}', b'{"inputs":[1]}', b"\xff\xfe"]
)
def test_what_is_not_a_request_document_is_refused(document: bytes) -> None:
    assert ErrorCode.INVALID_ARGUMENT is refused(document).code


def test_two_inputs_of_one_name_are_refused() -> None:
    one = '{"name":"x","datatype":"FP32","shape":[1],"data":[1]}'
    assert "inputs[1].name" == refused(f'{{"inputs":[{one},{one}]}}'.encode()).field


def test_two_outputs_of_one_name_are_refused() -> None:
    document = b'{"inputs":[],"outputs":[{"name":"y"},{"name":"y"}]}'
    assert "outputs[1].name" == refused(document).field


def test_base64_content_becomes_its_bytes() -> None:
    document = body("BYTES", '["/wA=","YQ=="]', parameters={"content_type": "base64"})
    assert [b"\xff\x00", b"a"] == decoded(document).data.tolist()


def test_content_that_is_not_base64_is_refused_with_its_place() -> None:
    document = body("BYTES", '["YQ==","a*"]', parameters={"content_type": "base64"})
    assert "inputs[0].data[1]" == refused(document).field


def test_missing_data_is_refused_with_both_ways_to_send_it() -> None:
    error = refused(b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1]}]}')
    assert "inputs[0].data" == error.field
    assert "binary_data_size" in str(error)


def test_parameters_outputs_and_id_reach_the_request() -> None:
    document = (
        b'{"id":"7","parameters":{"top":3,"binary_data_output":true},"inputs":[],'
        b'"outputs":[{"name":"y","parameters":{"binary_data":false}},{"name":"z"}]}'
    )
    request, form = DECODER.decode(document, "m", "2")
    assert ("7", "m", "2", ("y", "z")) == (request.id, request.model, request.version, request.outputs)
    assert {"top": 3} == request.parameters
    assert [False, True] == [form.is_binary("y"), form.is_binary("z")]


@pytest.mark.parametrize(
    "document",
    [
        b'{"inputs":[],"parameters":{"sequence_id":7,"sequence_start":true,"sequence_end":false}}',
        b'{"inputs":[],"parameters":{"sequence_id":"seven"}}',
        b'{"inputs":[],"parameters":{"shared_memory_offset":0}}',
        b'{"inputs":[],"outputs":[{"name":"y","parameters":{"shared_memory_region":"r"}}]}',
        b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"parameters":{"shared_memory_region":"r"}}]}',
    ],
)
def test_an_extension_that_would_change_the_answer_is_not_ignored(document: bytes) -> None:
    assert ErrorCode.UNIMPLEMENTED is refused(document).code


def test_what_triton_clients_say_of_no_sequence_is_taken() -> None:
    document = b'{"inputs":[],"parameters":{"sequence_id":0,"sequence_start":false,"sequence_end":false,"priority":2}}'
    assert 2 == DECODER.decode(document, "m")[0].parameters["priority"]


@pytest.mark.parametrize("name", ["timeout", "priority"])
@pytest.mark.parametrize("value", [b"-1", b"1.5", b"true", b'"1"', b"1e300", b"10000000000000000"])
def test_a_timeout_or_priority_that_is_no_whole_number_is_refused(name: str, value: bytes) -> None:
    error = refused(b'{"inputs":[],"parameters":{"%b":%b}}' % (name.encode(), value))
    assert (ErrorCode.INVALID_ARGUMENT, f"parameters.{name}") == (error.code, error.field)


def test_outputs_may_be_asked_for_as_their_best_classes() -> None:
    outputs = b'[{"name":"y","parameters":{"classification":3}},{"name":"z","parameters":{"classification":0}}]'
    request, _ = DECODER.decode(b'{"inputs":[],"outputs":%b}' % outputs, "m")
    assert {"y": 3} == request.classes


@pytest.mark.parametrize("value", [b"-1", b"1.5", b"true", b'"1"'])
def test_a_number_of_classes_that_is_none_is_refused(value: bytes) -> None:
    error = refused(b'{"inputs":[],"outputs":[{"name":"y","parameters":{"classification":%b}}]}' % value)
    assert "outputs[0].parameters.classification" == error.field


def test_a_flag_that_is_not_a_flag_is_refused() -> None:
    error = refused(b'{"inputs":[],"parameters":{"binary_data_output":"yes"}}')
    assert "parameters.binary_data_output" == error.field
