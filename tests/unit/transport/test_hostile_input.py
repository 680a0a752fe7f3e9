"""Requests made to break a server: never a 5xx, one sentence, and no memory for what is only claimed."""

from __future__ import annotations

import asyncio
import gzip
import json
import tracemalloc
import zlib
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pillion.errors import PillionError
from pillion.protocol.oip_proto import decode_infer
from pillion.protocol.protos import open_inference_pb2 as pb
from pillion.tensors import Datatype
from pillion.transport.http.dispatcher import Dispatcher
from pillion.transport.http.options import DispatchOptions
from tests.unit.transport.plane import SmallPlane

if TYPE_CHECKING:
    from collections.abc import Mapping

MIB = 1024 * 1024
INFER = "/v2/models/echo/infer"


async def fallback(_scope: Any, _receive: Any, _send: Any) -> None:
    raise AssertionError("nothing here is the fallback's")


def post(path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
    """Status and body, without a socket: the parser of HTTP is not what is tested here."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    async def call() -> None:
        fields = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "headers": fields}
        await Dispatcher(SmallPlane(), fallback, DispatchOptions(max_body_bytes=MIB))(scope, receive, send)

    asyncio.run(call())
    return sent[0]["status"], b"".join(bytes(message["body"]) for message in sent[1:])


def check(status: int, body: bytes) -> None:
    assert status in {200, 400, 413, 415, 501}, (status, body)
    if status != 200:
        told = json.loads(body)
        assert {"error", "code", "id"} == told.keys()
        assert 0 < len(told["error"]) < 2000
        assert told["error"].isprintable(), told["error"]


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
PARAMETERS = st.dictionaries(
    st.sampled_from(
        [
            "binary_data_size",
            "binary_data",
            "binary_data_output",
            "classification",
            "content_type",
            "priority",
            "sequence_id",
            "sequence_start",
            "shared_memory_offset",
            "timeout",
            "unknown",
        ]
    ),
    st.integers(-2, 40) | st.booleans() | st.just("base64") | ANYTHING,
    max_size=3,
)
SHAPE = st.lists(st.integers(-1, 4) | st.sampled_from([2**31, 2**32, 2**62, 2**63 - 1, -(2**63)]), max_size=4)
TENSOR = st.fixed_dictionaries(
    {"name": st.sampled_from(["x", "y"]), "datatype": st.sampled_from([d.value for d in Datatype]), "shape": SHAPE},
    optional={"data": st.lists(st.integers(-3, 300) | st.floats() | st.text(max_size=3), max_size=6) | ANYTHING,
              "parameters": PARAMETERS},
)  # fmt: skip
OUTPUT = st.fixed_dictionaries({"name": st.sampled_from(["x", "y"])}, optional={"parameters": PARAMETERS})
DOCUMENT = st.fixed_dictionaries(
    {"inputs": st.lists(TENSOR, max_size=3)},
    optional={
        "id": st.text(max_size=4),
        "outputs": st.lists(OUTPUT, max_size=2),
        "parameters": PARAMETERS,
        "unknown": ANYTHING,
    },
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(
    document=DOCUMENT,
    tail=st.binary(max_size=40),
    length=st.none() | st.integers(-1, 2000).map(str) | st.sampled_from(["", "x", "9" * 30]),
    honest=st.booleans(),
)
def test_any_inference_document_is_answered_or_refused(
    document: object, tail: bytes, length: str | None, *, honest: bool
) -> None:
    header = json.dumps(document).encode()
    stated = str(len(header)) if honest else length
    headers = {} if stated is None else {"inference-header-content-length": stated}

    check(*post(INFER, header + tail, headers))


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(
    path=st.sampled_from([INFER, "/v1/models/double:predict", "/v1/models/double:explain", "/invocations/double"]),
    body=st.binary(max_size=60) | st.builds(lambda document: json.dumps(document).encode(), ANYTHING),
    coding=st.sampled_from([None, "gzip", "deflate", "br", "identity"]),
    packed=st.sampled_from([bytes, gzip.compress, zlib.compress]),
    cut=st.integers(0, 30),
)
def test_any_bytes_in_any_coding_are_answered_or_refused(
    path: str, body: bytes, coding: str | None, packed: Any, cut: int
) -> None:
    content = packed(body)

    check(*post(path, content[: len(content) - cut], {} if coding is None else {"content-encoding": coding}))


def binary(datatype: str, shape: list[int], size: int, tail: bytes) -> tuple[bytes, dict[str, str]]:
    tensor = {"name": "x", "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": size}}
    header = json.dumps({"inputs": [tensor]}).encode()
    return header + tail, {"inference-header-content-length": str(len(header))}


def plain(datatype: str, shape: list[int], data: object) -> tuple[bytes, dict[str, str]]:
    tensor = {"name": "x", "datatype": datatype, "shape": shape, "data": data}
    return json.dumps({"inputs": [tensor]}).encode(), {}


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (binary("BYTES", [2**40], 8, b"\xff" * 8), "inputs[0].shape"),
        (binary("BYTES", [2**20], 8, b"\0" * 8), "cannot hold 1048576 elements"),
        (binary("BYTES", [1], 8, b"\xff\xff\xff\xff1234"), "claims 4294967295 bytes"),
        (binary("BYTES", [2], 8, b"\4\0\0\x001234"), "ends before"),
        (binary("BYTES", [1], 9, b"\4\0\0\x0012345"), "left over"),
        (binary("FP32", [2**62, 4], 8, b"\0" * 8), "inputs[0].shape"),
        (binary("FP32", [2**32, 2**32], 0, b""), "inputs[0].shape"),
        (binary("FP32", [-1, -1], 4, b"\0" * 4), "inputs[0].shape"),
        (binary("FP32", [2**24], 2**26, b"\0" * 8), "bytes stated, 8 are left"),
        (binary("FP32", [1], -4, b"\0" * 4), "whole number"),
        (binary("BOOL", [4], 4, b"\0\1\2\1"), "0 or 1"),
        (plain("FP16", [1], [1.0]), "has no JSON form"),
        (plain("BF16", [1], [1.0]), "has no JSON form"),
        (plain("FP32", [2**63], [1.0]), "shape"),
        (plain("FP32", [2**31, 2**31], [1.0]), "inputs[0].shape"),
        (plain("INT8", [1], [300]), "inputs[0].data[0]"),
        (plain("UINT64", [1], [2**64]), "inputs[0].data"),
        ((b'{"inputs":[],"parameters":{"a\\n":NaN}}', {}), "parameters[...]: JSON has no NaN"),
        ((b'{"inputs":[],"%b":NaN}' % (b"a" * 500_000), {}), "[...]: JSON has no NaN"),
        ((b"[" * 500_000, {}), "object"),
        ((b'{"inputs":' + b"[" * 500_000, {}), "inputs"),
        ((b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":' + b"[" * 400_000, {}), ""),
    ],
)
def test_what_is_only_claimed_costs_no_memory(request_: tuple[bytes, dict[str, str]], said: str) -> None:
    body, headers = request_
    post(INFER, b"{}", {})  # what is made with the first request
    tracemalloc.start()
    try:
        status, answer = post(INFER, body, headers)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert 400 == status
    check(status, answer)
    assert said in json.loads(answer)["error"]
    assert peak < 2 * MIB + 12 * len(body)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    message = pb.ModelInferRequest(model_name="m")
    for _ in range(draw(st.integers(0, 3))):
        tensor = message.inputs.add(name=draw(st.sampled_from(["x", "y", ""])))
        tensor.datatype = draw(st.sampled_from([*(d.value for d in Datatype), "", "FP8"]))
        tensor.shape.extend(draw(SHAPE))
        kind = draw(st.sampled_from([None, *(field.name for field in tensor.contents.DESCRIPTOR.fields)]))
        if kind == "bytes_contents":
            tensor.contents.bytes_contents.extend(draw(st.lists(st.binary(max_size=3), max_size=4)))
        elif kind is not None:
            getattr(tensor.contents, kind).extend(draw(st.lists(st.integers(0, 1), max_size=4)))
        if draw(st.booleans()):
            tensor.parameters[draw(st.sampled_from(["a", "shared_memory_region"]))].bool_param = True
    message.raw_input_contents.extend(draw(st.lists(st.binary(max_size=20), max_size=3)))
    for name in draw(st.lists(st.sampled_from(["timeout", "sequence_id", "priority", "b"]), max_size=2)):
        message.parameters[name].int64_param = draw(st.integers(-(2**63), 2**63 - 1))
    for name in draw(st.lists(st.sampled_from(["x", "y"]), max_size=2)):
        message.outputs.add(name=name).parameters["classification"].double_param = draw(st.floats())
    return message.SerializeToString()


def refused(message: bytes) -> PillionError | None:
    try:
        decode_infer(message)
    except PillionError as error:
        return error
    return None


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(messages())
def test_any_message_of_the_right_outline_is_decoded_or_refused_in_a_sentence(message: bytes) -> None:
    refusal = refused(message)

    assert refusal is None or (refusal.field and str(refusal).isprintable())
