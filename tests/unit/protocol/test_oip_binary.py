from __future__ import annotations

import json

import numpy as np
import pytest

from pillion.dataplane.call import InferResponse
from pillion.errors import ErrorCode, PillionError
from pillion.protocol.answer import JSON_ANSWER, AnswerForm
from pillion.protocol.limits import CodecLimits
from pillion.protocol.oip_json import OipJsonDecoder
from pillion.protocol.oip_json_answer import encode_answer
from pillion.tensors import Datatype, Tensor, dtype_of

DECODER = OipJsonDecoder()
NUMERIC = [datatype for datatype in Datatype if datatype is not Datatype.BYTES]


def message(*inputs: tuple[str, list[int], bytes], sizes: list[object] | None = None) -> tuple[bytes, int]:
    """Body and header length; ``sizes`` states other sizes than the true ones."""
    header = json.dumps(
        {
            "inputs": [
                {
                    "name": f"x{index}",
                    "datatype": datatype,
                    "shape": shape,
                    "parameters": {"binary_data_size": len(raw) if sizes is None else sizes[index]},
                }
                for index, (datatype, shape, raw) in enumerate(inputs)
            ]
        }
    ).encode()
    return header + b"".join(raw for _, _, raw in inputs), len(header)


def decode(body: bytes | memoryview, length: int, limits: CodecLimits | None = None) -> list[Tensor]:
    decoder = OipJsonDecoder(limits) if limits else DECODER
    return decoder.decode(body, "m", header_length=length)[0].inputs


def refused(body: bytes, length: int, limits: CodecLimits | None = None) -> PillionError:
    with pytest.raises(PillionError) as caught:
        decode(body, length, limits)
    return caught.value


@pytest.mark.parametrize("datatype", NUMERIC)
def test_raw_bytes_become_the_same_elements(datatype: Datatype) -> None:
    array = np.arange(6).astype(dtype_of(datatype)).reshape(2, 3)
    (tensor,) = decode(*message((datatype.value, [2, 3], array.tobytes())))
    assert array.tolist() == tensor.data.tolist()
    assert array.dtype == tensor.data.dtype


def test_an_aligned_tensor_is_a_view_of_the_body() -> None:
    array = np.arange(1024, dtype=np.float64)
    raw, length = message(("FP64", [1024], array.tobytes()))
    place = np.empty(len(raw) + 64, dtype=np.uint8)
    start = -(place.ctypes.data + length) % 64
    place[start : start + len(raw)] = np.frombuffer(raw, dtype=np.uint8)
    (tensor,) = decode(place.data[start : start + len(raw)], length)
    assert np.shares_memory(place, tensor.data)


@pytest.mark.parametrize("offset", range(8))
def test_every_tensor_is_aligned_wherever_it_stood(offset: int) -> None:
    array = np.arange(10, dtype=np.float64)
    first, second = decode(*message(("UINT8", [offset], bytes(offset)), ("FP64", [10], array.tobytes())))
    assert second.data.flags.aligned
    assert array.tolist() == second.data.tolist()
    assert offset == first.data.size


def test_bytes_elements_are_read_by_their_lengths() -> None:
    raw = b"\x01\x00\x00\x00a\x00\x00\x00\x00\x03\x00\x00\x00b\xffc"
    (tensor,) = decode(*message(("BYTES", [3], raw)))
    assert [b"a", b"", b"b\xffc"] == tensor.data.tolist()


@pytest.mark.parametrize(
    ("datatype", "shape", "raw", "size"),
    [
        ("FP32", [2], bytes(8), 9),
        ("FP32", [2], bytes(8), 2**60),
        ("FP32", [2], bytes(8), -1),
        ("FP32", [2], bytes(8), 4),
        ("FP32", [2], bytes(8), 8.0),
        ("FP32", [2], bytes(8), True),
        ("FP32", [2], bytes(8), "8"),
        ("FP32", [3], bytes(8), 8),
        ("FP32", [2**40], bytes(8), 8),
        ("FP32", [-2], bytes(8), 8),
        ("BOOL", [2], b"\x01\x02", 2),
        ("BYTES", [1], b"\x05\x00\x00\x00ab", 6),
        ("BYTES", [1], b"\xff\xff\xff\xffab", 6),
        ("BYTES", [1], b"\x01\x00", 2),
        ("BYTES", [2], b"\x04\x00\x00\x00\x01\x00\x00\x00", 8),
        ("BYTES", [1], b"\x01\x00\x00\x00ab", 6),
        ("BYTES", [1000000], b"\x01\x00\x00\x00a", 5),
        ("BYTES", [0], b"\x00", 1),
    ],
)
def test_sizes_that_lie_are_refused(datatype: str, shape: list[int], raw: bytes, size: object) -> None:
    body, length = message((datatype, shape, raw), sizes=[size])
    assert ErrorCode.INVALID_ARGUMENT is refused(body, length).code


def test_bytes_that_no_input_accounts_for_are_refused() -> None:
    body, length = message(("UINT8", [2], b"ab"))
    assert "Inference-Header-Content-Length" == refused(body + b"c", length).field


def test_a_header_longer_than_the_body_is_refused() -> None:
    assert "Inference-Header-Content-Length" == refused(b"{}", 3).field


def test_an_input_with_both_forms_is_refused() -> None:
    header = b'{"inputs":[{"name":"x","datatype":"UINT8","shape":[1],"data":[1],"parameters":{"binary_data_size":1}}]}'
    assert "data as well" in refused(header + b"a", len(header)).message


def test_a_stated_size_without_the_header_is_refused() -> None:
    body, _ = message(("UINT8", [2], b""), sizes=[2])
    with pytest.raises(PillionError, match="no Inference-Header-Content-Length"):
        DECODER.decode(body, "m")


def test_a_long_bytes_element_is_refused_with_the_setting() -> None:
    body, length = message(("BYTES", [1], b"\x03\x00\x00\x00abc"))
    assert "limits.max_string_bytes" in str(refused(body, length, CodecLimits(max_string_bytes=2)))


def test_raw_outputs_follow_the_document_in_order() -> None:
    outputs = [
        Tensor("a", Datatype.FP16, np.array([[1.5, 2.5]], dtype=np.float16)),
        Tensor("b", Datatype.INT64, np.array([7])),
        Tensor("c", Datatype.BYTES, np.array([b"x", "ü"], dtype=object)),
    ]
    document, parts = encode_answer(
        InferResponse("m", "1", outputs, id="9"), AnswerForm(binary_default=True, binary={"b": False})
    )
    entries = json.loads(document)["outputs"]
    assert [4, None, 11] == [entry.get("parameters", {}).get("binary_data_size") for entry in entries]
    assert [None, [7], None] == [entry.get("data") for entry in entries]
    assert [b"\x00\x3e\x00\x41", b"\x01\x00\x00\x00x\x02\x00\x00\x00\xc3\xbc"] == [bytes(part) for part in parts]


def test_a_raw_output_is_not_copied() -> None:
    array = np.arange(4, dtype=np.float32)
    _, (part,) = encode_answer(
        InferResponse("m", "1", [Tensor("a", Datatype.FP32, array)]), AnswerForm(binary_default=True)
    )
    assert np.shares_memory(array, np.frombuffer(part, dtype=np.uint8))


def test_an_answer_in_json_is_flat_with_its_shape() -> None:
    outputs = [
        Tensor("a", Datatype.FP32, np.array([[0.1, 2]], np.float32).T),
        Tensor("b", Datatype.BOOL, np.array([True])),
    ]
    document, parts = encode_answer(InferResponse("m", "1", outputs, id="9"), JSON_ANSWER)
    assert [] == parts
    assert {
        "model_name": "m",
        "model_version": "1",
        "id": "9",
        "outputs": [
            {"name": "a", "datatype": "FP32", "shape": [2, 1], "data": [0.1, 2.0]},
            {"name": "b", "datatype": "BOOL", "shape": [1], "data": [True]},
        ],
    } == json.loads(document)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_answer_that_json_cannot_carry_is_an_error_that_names_output_and_remedy(value: float) -> None:
    response = InferResponse("m", "1", [Tensor("score", Datatype.FP64, np.array([value]))])
    with pytest.raises(PillionError, match=r"'score'.*binary_data") as caught:
        encode_answer(response, JSON_ANSWER)
    assert ErrorCode.INVALID_ARGUMENT is caught.value.code
    (part,) = encode_answer(response, AnswerForm(binary_default=True))[1]
    assert np.array([value]).tobytes() == bytes(part)


def test_the_word_null_in_an_answer_is_not_taken_for_nan() -> None:
    outputs = [
        Tensor("null", Datatype.FP32, np.array([1], np.float32)),
        Tensor("b", Datatype.BYTES, np.array([b"null"], object)),
    ]
    document, _ = encode_answer(InferResponse("null", "1", outputs), JSON_ANSWER)
    assert ["null"] == json.loads(document)["outputs"][1]["data"]


def test_bytes_that_are_not_text_need_base64_or_the_binary_form() -> None:
    response = InferResponse("m", "1", [Tensor("b", Datatype.BYTES, np.array([b"\xff"], dtype=object))])
    with pytest.raises(PillionError, match="UTF-8"):
        encode_answer(response, JSON_ANSWER)
    document, _ = encode_answer(response, AnswerForm(base64=frozenset({"b"})))
    assert ["/w=="] == json.loads(document)["outputs"][0]["data"]


@pytest.mark.parametrize("datatype", [Datatype.FP16, Datatype.BF16])
def test_half_precision_has_no_json_form(datatype: Datatype) -> None:
    response = InferResponse("m", "1", [Tensor("h", datatype, np.zeros(1, dtype_of(datatype)))])
    with pytest.raises(PillionError, match="no JSON form"):
        encode_answer(response, JSON_ANSWER)


@pytest.mark.parametrize(
    "array", [np.arange(6, dtype=np.float32).reshape(2, 3).T, np.arange(8, dtype=np.float32)[::2], np.array(1.5, ">f4")]
)
def test_arrays_that_are_not_plain_memory_are_encoded_by_value(array: np.ndarray) -> None:
    response = InferResponse("m", "1", [Tensor("a", Datatype.FP32, array)])
    document, _ = encode_answer(response, JSON_ANSWER)
    (part,) = encode_answer(response, AnswerForm(binary_default=True))[1]
    expected = array.astype("<f4").ravel()
    assert expected.tolist() == json.loads(document)["outputs"][0]["data"]
    assert expected.tobytes() == bytes(part)
