"""Properties of the codecs: what was encoded decodes to the same, and no bytes raise anything but PillionError."""

from __future__ import annotations

import contextlib
import json

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from pillion.dataplane.call import InferResponse, ModelMetadata
from pillion.errors import PillionError
from pillion.protocol.answer import JSON_ANSWER, AnswerForm
from pillion.protocol.oip_json import OipJsonDecoder
from pillion.protocol.oip_json_answer import encode_answer
from pillion.protocol.oip_proto import decode_infer, encode_infer
from pillion.protocol.protos import open_inference_pb2 as pb
from pillion.protocol.v1 import decode_v1
from pillion.tensors import Datatype, Tensor, TensorSpec, dtype_of

DECODER = OipJsonDecoder()
METADATA = ModelMetadata("p", (TensorSpec("x", Datatype.FP32, (-1, 4)), TensorSpec("y", Datatype.BYTES, (-1,))), ())
SHAPES = nps.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
JSON_DATATYPES: list[Datatype] = [d for d in Datatype if d not in (Datatype.FP16, Datatype.BF16)]


@st.composite
def tensors(draw: st.DrawFn, datatypes: list[Datatype], *, finite: bool = False, text: bool = False) -> Tensor:
    datatype = draw(st.sampled_from(datatypes))
    shape = draw(SHAPES)
    if datatype is Datatype.BYTES:
        count = int(np.prod(shape))
        element = st.text().map(str.encode) if text else st.binary()
        array = np.empty(count, dtype=object)
        array[:] = draw(st.lists(element, min_size=count, max_size=count))
        return Tensor("x", datatype, array.reshape(shape))
    elements = None
    if finite and datatype in (Datatype.FP32, Datatype.FP64):
        elements = st.floats(allow_nan=False, allow_infinity=False, width=32 if datatype is Datatype.FP32 else 64)
    return Tensor("x", datatype, draw(nps.arrays(dtype_of(datatype), shape, elements=elements)))


def same(left: Tensor, right: Tensor) -> bool:
    if left.datatype is Datatype.BYTES:
        return left.shape == right.shape and left.data.tolist() == right.data.tolist()
    return left.shape == right.shape and left.data.tobytes() == right.data.tobytes()


@given(tensors(JSON_DATATYPES, finite=True, text=True))
def test_json_goes_there_and_back(tensor: Tensor) -> None:
    document, parts = encode_answer(InferResponse("m", "1", [tensor]), JSON_ANSWER)
    assert [] == parts
    body = json.dumps({"inputs": json.loads(document)["outputs"]}).encode()
    assert same(tensor, DECODER.decode(body, "m")[0].inputs[0])


@given(st.lists(tensors(list(Datatype)), max_size=4))
def test_binary_goes_there_and_back(given_tensors: list[Tensor]) -> None:
    named = [Tensor(f"x{i}", t.datatype, t.data) for i, t in enumerate(given_tensors)]
    document, parts = encode_answer(InferResponse("m", "1", named), AnswerForm(binary_default=True))
    header = json.dumps({"inputs": json.loads(document)["outputs"]}).encode()
    request, _ = DECODER.decode(header + b"".join(parts), "m", header_length=len(header))
    assert all(same(left, right) for left, right in zip(named, request.inputs, strict=True))


@given(tensor=tensors(list(Datatype)), raw=st.booleans())
def test_proto_goes_there_and_back(tensor: Tensor, *, raw: bool) -> None:
    answer = pb.ModelInferResponse.FromString(encode_infer(InferResponse("m", "1", [tensor]), raw=raw))
    message = pb.ModelInferRequest(raw_input_contents=answer.raw_output_contents)
    source = answer.outputs[0]
    target = message.inputs.add(name=source.name, datatype=source.datatype, shape=source.shape)
    if source.HasField("contents"):
        target.contents.CopyFrom(source.contents)
    assert same(tensor, decode_infer(message.SerializeToString())[0].inputs[0])


@given(st.binary(max_size=300), st.one_of(st.none(), st.integers(0, 400)))
def test_any_bytes_as_a_rest_body_are_decoded_or_refused(body: bytes, length: int | None) -> None:
    with contextlib.suppress(PillionError):
        DECODER.decode(body, "m", header_length=length)


@given(st.binary(max_size=300))
def test_any_bytes_as_a_message_are_decoded_or_refused(message: bytes) -> None:
    with contextlib.suppress(PillionError):
        decode_infer(message)
    with contextlib.suppress(PillionError):
        decode_infer(message + bytes(70_000))


@given(st.binary(max_size=300))
def test_any_bytes_as_a_v1_body_are_decoded_or_refused(body: bytes) -> None:
    with contextlib.suppress(PillionError):
        decode_v1(body, model="m", metadata=METADATA)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=20,
)
INPUT = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["x", "y", ""]) | JSON,
        "datatype": st.sampled_from([d.value for d in Datatype]) | JSON,
        "shape": st.lists(st.integers(-2, 5) | st.integers(), max_size=4) | JSON,
    },
    optional={
        "data": JSON,
        "parameters": st.dictionaries(
            st.sampled_from(["binary_data_size", "content_type", "shared_memory_region", "a"]),
            st.integers(-1, 40) | st.just("base64") | JSON,
            max_size=3,
        )
        | JSON,
    },
)
DOCUMENT = st.fixed_dictionaries(
    {"inputs": st.lists(INPUT, max_size=3) | JSON},
    optional={
        "id": st.text() | JSON,
        "outputs": st.lists(st.fixed_dictionaries({"name": st.text()}, optional={"parameters": JSON}), max_size=3),
        "parameters": JSON,
    },
)


@settings(max_examples=400)
@given(document=DOCUMENT, tail=st.binary(max_size=40), with_header=st.booleans())
def test_any_document_of_the_right_outline_is_decoded_or_refused(
    document: object, tail: bytes, *, with_header: bool
) -> None:
    header = json.dumps(document).encode()
    with contextlib.suppress(PillionError):
        request, _ = DECODER.decode(header + tail, "m", header_length=len(header) if with_header else None)
        for tensor in request.inputs:
            assert tensor.data.dtype == dtype_of(tensor.datatype)


@settings(max_examples=300)
@given(st.fixed_dictionaries({}, optional={"instances": JSON | st.lists(JSON), "inputs": JSON}))
def test_any_v1_document_is_decoded_or_refused(document: object) -> None:
    with contextlib.suppress(PillionError):
        decode_v1(json.dumps(document).encode(), model="m", metadata=METADATA)


@given(st.data())
def test_a_message_cut_short_or_with_a_flipped_byte_is_decoded_or_refused(data: st.DataObject) -> None:
    array = np.arange(20_000, dtype=np.float32)
    whole = bytearray(
        pb.ModelInferRequest(
            model_name="m",
            inputs=[pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=[20_000])],
            raw_input_contents=[array.tobytes()],
        ).SerializeToString()
    )
    index = data.draw(st.integers(0, 40))
    whole[index] = data.draw(st.integers(0, 255))
    cut = data.draw(st.sampled_from([len(whole), len(whole) - 1, 70_000, 30]))
    with contextlib.suppress(PillionError):
        decode_infer(bytes(whole[:cut]))
