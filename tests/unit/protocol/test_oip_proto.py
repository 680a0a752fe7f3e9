from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pillion.dataplane.call import InferResponse
from pillion.errors import ErrorCode, PillionError
from pillion.protocol.oip_proto import decode_infer, encode_infer
from pillion.protocol.proto_wire import append_bytes_field, cut_bytes_field
from pillion.protocol.protos import open_inference_pb2 as pb
from pillion.tensors import Datatype, Tensor, dtype_of

if TYPE_CHECKING:
    from pillion.protocol.limits import CodecLimits

TYPED = [datatype for datatype in Datatype if datatype not in (Datatype.FP16, Datatype.BF16)]
FIELDS = {"I": "int_contents", "U": "uint_contents"}


def raw_request(*tensors: tuple[str, list[int], bytes], **more: Any) -> bytes:
    inputs = [
        pb.ModelInferRequest.InferInputTensor(name=f"x{index}", datatype=datatype, shape=shape)
        for index, (datatype, shape, _) in enumerate(tensors)
    ]
    contents = [raw for _, _, raw in tensors]
    return pb.ModelInferRequest(model_name="m", inputs=inputs, raw_input_contents=contents, **more).SerializeToString()


def typed_request(datatype: str, shape: list[int], **contents: Any) -> bytes:
    tensor = pb.ModelInferRequest.InferInputTensor(name="x", datatype=datatype, shape=shape)
    tensor.contents.CopyFrom(pb.InferTensorContents(**contents))
    return pb.ModelInferRequest(model_name="m", inputs=[tensor]).SerializeToString()


def refused(message: bytes, limits: CodecLimits | None = None) -> PillionError:
    with pytest.raises(PillionError) as caught:
        decode_infer(message, limits)
    return caught.value


def answer_of(tensor: Tensor, *, raw: bool) -> pb.ModelInferResponse:
    return pb.ModelInferResponse.FromString(encode_infer(InferResponse("m", "1", [tensor], id="7"), raw=raw))


@pytest.mark.parametrize("datatype", [datatype for datatype in Datatype if datatype is not Datatype.BYTES])
def test_raw_contents_become_the_same_elements_and_ask_for_a_raw_answer(datatype: Datatype) -> None:
    array = np.arange(6).astype(dtype_of(datatype)).reshape(2, 3)
    request, raw = decode_infer(raw_request((datatype.value, [2, 3], array.tobytes())))
    assert raw
    assert array.tolist() == request.inputs[0].data.tolist()


@pytest.mark.parametrize("datatype", TYPED)
def test_typed_contents_go_there_and_back(datatype: Datatype) -> None:
    if datatype is Datatype.BYTES:
        array = np.array([b"a", b"\xff"], dtype=object)
    else:
        array = np.array([0, 1]).astype(dtype_of(datatype))
    answer = answer_of(Tensor("x", datatype, array), raw=False)
    output = answer.outputs[0]
    message = pb.ModelInferRequest(model_name="m")
    message.inputs.add(name="x", datatype=output.datatype, shape=output.shape).contents.CopyFrom(output.contents)
    request, raw = decode_infer(message.SerializeToString())
    assert not raw
    assert [] == list(answer.raw_output_contents)
    assert array.tolist() == request.inputs[0].data.tolist()


def test_a_large_raw_tensor_is_a_view_of_the_message_when_it_is_aligned() -> None:
    array = np.arange(100_000, dtype=np.uint8)
    message = raw_request(("UINT8", [100_000], array.tobytes()))
    request, _ = decode_infer(message)
    assert np.shares_memory(np.frombuffer(message, dtype=np.uint8), request.inputs[0].data)


def test_large_raw_tensors_keep_their_order_and_everything_else_is_read() -> None:
    first, second = np.arange(50_000, dtype=np.float32), np.arange(30_000, dtype=np.int64)
    message = raw_request(
        ("FP32", [50_000], first.tobytes()),
        ("INT64", [30_000], second.tobytes()),
        id="7",
        model_version="2",
        outputs=[pb.ModelInferRequest.InferRequestedOutputTensor(name="y")],
        parameters={"k": pb.InferParameter(double_param=0.5)},
    )
    request, _ = decode_infer(message)
    assert ("m", "2", "7", ("y",), {"k": 0.5}) == (
        request.model,
        request.version,
        request.id,
        request.outputs,
        request.parameters,
    )
    assert (first == request.inputs[0].data).all()
    assert (second == request.inputs[1].data).all()


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (raw_request(("FP32", [3], bytes(8))), "raw_input_contents[0]"),
        (raw_request(("FP32", [-2], bytes(8))), "inputs[0].shape"),
        (raw_request(("FP32", [2**40], bytes(8))), "inputs[0].shape"),
        (raw_request(("FP33", [2], bytes(8))), "inputs[0].datatype"),
        (raw_request(("BYTES", [1], b"\xff\xff\xff\xffa")), "raw_input_contents[0]"),
        (typed_request("FP32", [3], fp32_contents=[1, 2]), "inputs[0].contents.fp32_contents"),
        (typed_request("FP32", [2], fp64_contents=[1, 2]), "inputs[0].contents.fp32_contents"),
        (typed_request("INT8", [1], int_contents=[128]), "inputs[0].contents.int_contents"),
        (typed_request("UINT16", [1], uint_contents=[65536]), "inputs[0].contents.uint_contents"),
        (typed_request("FP16", [1], fp32_contents=[1]), "inputs[0].contents"),
    ],
)
def test_a_tensor_that_lies_is_refused_with_its_place(message: bytes, field: str) -> None:
    error = refused(message)
    assert (ErrorCode.INVALID_ARGUMENT, field) == (error.code, error.field)


def test_raw_and_typed_contents_together_are_refused() -> None:
    message = pb.ModelInferRequest(model_name="m", raw_input_contents=[bytes(4)])
    tensor = message.inputs.add(name="x", datatype="FP32", shape=[1])
    tensor.contents.fp32_contents.append(1)
    assert "inputs[0].contents" == refused(message.SerializeToString()).field


def test_another_number_of_raw_contents_than_inputs_is_refused() -> None:
    message = pb.ModelInferRequest.FromString(raw_request(("UINT8", [1], b"a")))
    message.raw_input_contents.append(b"b")
    assert "raw_input_contents" == refused(message.SerializeToString()).field


@pytest.mark.parametrize("message", [b"\x0a\xff", b"\xff" * 70_000, b"\x0a\x02\xff\xfe", b"\x0b" * 70_000])
def test_what_is_not_a_message_is_refused(message: bytes) -> None:
    assert ErrorCode.INVALID_ARGUMENT is refused(message).code


def test_an_extension_that_would_change_the_answer_is_not_ignored() -> None:
    output = pb.ModelInferRequest.InferRequestedOutputTensor(name="y")
    output.parameters["shared_memory_region"].string_param = "r"
    message = pb.ModelInferRequest(model_name="m", outputs=[output])
    assert ErrorCode.UNIMPLEMENTED is refused(message.SerializeToString()).code
    message.ClearField("outputs")
    message.parameters["sequence_id"].int64_param = 7
    assert ErrorCode.UNIMPLEMENTED is refused(message.SerializeToString()).code


def test_outputs_may_be_asked_for_as_their_best_classes() -> None:
    output = pb.ModelInferRequest.InferRequestedOutputTensor(name="y")
    output.parameters["classification"].int64_param = 3
    request, _ = decode_infer(pb.ModelInferRequest(model_name="m", outputs=[output]).SerializeToString())
    assert {"y": 3} == request.classes


def test_two_inputs_of_one_name_are_refused() -> None:
    message = pb.ModelInferRequest.FromString(raw_request(("UINT8", [1], b"a"), ("UINT8", [1], b"a")))
    message.inputs[1].name = "x0"
    assert "inputs[1].name" == refused(message.SerializeToString()).field


def test_an_answer_is_raw_when_an_output_has_no_typed_form() -> None:
    answer = answer_of(Tensor("h", Datatype.FP16, np.array([1.5], np.float16)), raw=False)
    assert [b"\x00\x3e"] == list(answer.raw_output_contents)


def test_an_answer_carries_model_version_id_and_parameters() -> None:
    response = InferResponse("m", "1", [], id="7", parameters={"a": True, "b": 3, "c": 0.5, "d": "x", "e": 2**63})
    answer = pb.ModelInferResponse.FromString(encode_infer(response, raw=False))
    assert ("m", "1", "7") == (answer.model_name, answer.model_version, answer.id)
    values = {
        name: getattr(value, str(value.WhichOneof("parameter_choice"))) for name, value in answer.parameters.items()
    }
    assert {"a": True, "b": 3, "c": 0.5, "d": "x", "e": 2**63} == values


@pytest.mark.parametrize("length", [0, 1, 127, 128, 16_383, 16_384, 2_097_152])
def test_a_field_that_was_appended_is_cut_out_again(length: int) -> None:
    head = pb.ModelInferRequest(model_name="m", id="7").SerializeToString()
    value = bytes(length)
    message = append_bytes_field(head, 7, [memoryview(value), memoryview(b"x")])
    assert [value, b"x"] == list(pb.ModelInferRequest.FromString(message).raw_input_contents)
    cut = cut_bytes_field(message, 7)
    assert cut is not None
    assert (head, [value, b"x"]) == (cut[0], [bytes(part) for part in cut[1]])


def test_the_protocol_does_not_enter_the_shared_descriptor_pool() -> None:
    from google.protobuf import descriptor_pool

    with pytest.raises(KeyError):
        descriptor_pool.Default().FindMessageTypeByName("inference.ModelInferRequest")


def test_a_message_of_very_many_fields_is_left_to_protobufs_own_parser() -> None:
    many = b"\x2a\x00" * 10_000 + b"\x3a\x00" * 10_000
    assert cut_bytes_field(many, 7) is None
    assert "at most 1024 are allowed" in str(refused(many * 10))
