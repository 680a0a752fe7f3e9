"""Requests and answers that are known already are the same as those that are parsed and built anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pillion.dataplane.call import InferResponse
from pillion.errors import PillionError
from pillion.protocol.limits import CodecLimits
from pillion.protocol.oip_proto import decode_infer, encode_infer
from pillion.protocol.proto_templates import InferCodec
from pillion.protocol.protos import open_inference_pb2 as pb
from pillion.tensors import Datatype, Tensor

if TYPE_CHECKING:
    from collections.abc import Callable


def message(rows: np.ndarray[Any, np.dtype[Any]], *, name: str = "x", outputs: tuple[str, ...] = ("y",)) -> bytes:
    request = pb.ModelInferRequest(model_name="m", raw_input_contents=[rows.tobytes()])
    request.inputs.add(name=name, datatype="FP32", shape=rows.shape)
    for output in outputs:
        request.outputs.add(name=output)
    return request.SerializeToString()


def rows(first: float, shape: tuple[int, ...] = (1, 4)) -> np.ndarray[Any, np.dtype[np.float32]]:
    return (np.arange(np.prod(shape), dtype=np.float32) + np.float32(first)).reshape(shape)


def same(codec: InferCodec, sent: bytes) -> None:
    expected, expected_raw = decode_infer(sent)
    got, raw = codec.decode(sent)
    assert (expected.model, expected.version, expected.id, expected.outputs, expected.parameters, expected_raw) == (
        got.model, got.version, got.id, got.outputs, got.parameters, raw,
    )  # fmt: skip
    for mine, theirs in zip(got.inputs, expected.inputs, strict=True):
        assert (theirs.name, theirs.datatype, theirs.shape) == (mine.name, mine.datatype, mine.shape)
        assert theirs.data.dtype == mine.data.dtype
        assert mine.data.flags.aligned
        np.testing.assert_array_equal(theirs.data, mine.data)


def test_requests_of_one_length_with_other_names_shapes_and_outputs_are_told_apart() -> None:
    codec = InferCodec(CodecLimits())
    sent = [
        message(rows(1)), message(rows(2)), message(rows(3, (2, 2))), message(rows(4), name="z"),
        message(rows(5), outputs=("w",)), message(rows(6), outputs=()), message(rows(7)),
    ]  # fmt: skip
    for each in sent * 3:
        same(codec, each)


def test_ids_parameters_and_several_tensors_are_never_remembered() -> None:
    codec = InferCodec(CodecLimits())
    for identity in ("a", "b"):
        request = pb.ModelInferRequest.FromString(message(rows(1)))
        request.id = identity
        same(codec, request.SerializeToString())
        request.parameters["p"].string_param = identity
        same(codec, request.SerializeToString())
        request.inputs.add(name="second", datatype="FP32", shape=[1])
        request.raw_input_contents.append(np.float32(ord(identity)).tobytes())
        same(codec, request.SerializeToString())


def test_a_message_whose_tensor_is_not_its_last_field_is_not_remembered() -> None:
    codec = InferCodec(CodecLimits())
    head = pb.ModelInferRequest(model_name="m", raw_input_contents=[rows(1).tobytes()]).SerializeToString()
    for name in ("x", "y"):
        tail = pb.ModelInferRequest()
        tail.inputs.add(name=name, datatype="FP32", shape=[1, 4])
        same(codec, head + tail.SerializeToString())


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=8), st.integers(0, 200))
def test_what_is_broken_is_refused_as_if_nothing_were_known(tails: list[bytes], cut: int) -> None:
    codec = InferCodec(CodecLimits())
    good = message(rows(1))
    codec.decode(good)
    for tail in tails:
        sent = good[: max(0, len(good) - cut)] + tail
        refusal = refused(decode_infer, sent)
        assert refusal == refused(codec.decode, sent)
        if not refusal:
            same(codec, sent)


def refused(decode: Callable[[bytes], object], sent: bytes) -> str:
    try:
        decode(sent)
    except PillionError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("raw", [True, False])
def test_answers_are_the_same_bytes_each_time(*, raw: bool) -> None:
    codec = InferCodec(CodecLimits())
    for first in (1, 2, 3):
        for shape in ((1, 4), (2, 2), (0, 3)):
            for version, identity in (("1", None), ("2", None), ("1", "id")):
                tensor = Tensor("y", Datatype.FP32, rows(first, shape))
                response = InferResponse("m", version, [tensor], identity)
                assert encode_infer(response, raw=raw) == codec.encode(response, raw=raw)
                text = Tensor("t", Datatype.BYTES, np.array([b"a" * first], dtype=object))
                response = InferResponse("m", version, [text], identity)
                assert encode_infer(response, raw=raw) == codec.encode(response, raw=raw)


def test_memory_for_templates_is_bounded() -> None:
    codec = InferCodec(CodecLimits())
    for size in range(1, 2000):
        codec.decode(message(rows(1, (size,))))
    assert len(codec._requests) <= 256
