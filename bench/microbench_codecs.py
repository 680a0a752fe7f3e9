"""What decoding and encoding cost, by codec and size: ``python bench/microbench_codecs.py [--json]``.

Microseconds, best of many short batches: a batch is shorter than a time slice, so its best is what the code costs when
nobody else runs. The first table is why requests are decoded by msgspec into typed structures (one pass that also
checks types and ranges) and not by orjson with a look at the values afterwards, as strictness needs.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import orjson

from pillion.dataplane.call import InferResponse
from pillion.protocol.answer import JSON_ANSWER, AnswerForm
from pillion.protocol.oip_json import OipJsonDecoder
from pillion.protocol.oip_json_answer import encode_answer
from pillion.protocol.oip_proto import decode_infer, encode_infer
from pillion.protocol.protos import open_inference_pb2 as pb
from pillion.protocol.wire import infer_decoder
from pillion.tensors import Datatype, Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

SMALL = np.array([[5.1, 3.5, 1.4, 0.2]], np.float32)
LARGE = np.random.default_rng(0).random(55_000)
"""About a megabyte of JSON."""
HUGE = np.random.default_rng(0).random(4 * 1024 * 1024, dtype=np.float32)
"""16 MiB."""


UNTYPED = msgspec.json.Decoder()


def best(work: Callable[[], object], seconds: float = 0.6) -> float:
    """Microseconds of one call, from batches of about a millisecond."""
    started = time.perf_counter()
    work()
    once = max(time.perf_counter() - started, 1e-7)
    count = max(1, round(1e-3 / once))
    shortest = once
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline:
        started = time.perf_counter()
        for _ in range(count):
            work()
        shortest = min(shortest, (time.perf_counter() - started) / count)
    return round(shortest * 1e6, 2)


def json_request(array: np.ndarray[Any, np.dtype[Any]]) -> bytes:
    tensor = {"name": "x", "datatype": "FP32", "shape": array.shape, "data": array.ravel()}
    return orjson.dumps({"inputs": [tensor]}, option=orjson.OPT_SERIALIZE_NUMPY)


def orjson_unchecked(body: bytes) -> object:
    document = orjson.loads(body)["inputs"][0]
    return np.array(document["data"], np.float32).reshape(document["shape"])


def orjson_checked(body: bytes) -> object:
    document = orjson.loads(body)["inputs"][0]
    data = document["data"]
    if not set(map(type, data)) <= {int, float}:
        raise TypeError
    array = np.array(data, np.float32).reshape(document["shape"])
    if np.isinf(array).any():
        raise OverflowError
    return array


def msgspec_any(body: bytes) -> object:
    document = UNTYPED.decode(body)["inputs"][0]
    return np.array(document["data"], np.float32).reshape(document["shape"])


def msgspec_typed(body: bytes) -> object:
    return infer_decoder(16, 16 * 1024 * 1024)[0].decode(body)


def measure_json(size: str, array: np.ndarray[Any, np.dtype[Any]]) -> dict[str, float]:
    decoder = OipJsonDecoder()
    body = json_request(array)
    response = InferResponse("m", "1", [Tensor("y", Datatype.FP32, array.astype(np.float32))])
    return {
        f"decode JSON {size}: orjson, unchecked": best(lambda: orjson_unchecked(body)),
        f"decode JSON {size}: orjson, checked": best(lambda: orjson_checked(body)),
        f"decode JSON {size}: msgspec untyped, unchecked": best(lambda: msgspec_any(body)),
        f"decode JSON {size}: msgspec typed, document only": best(lambda: msgspec_typed(body)),
        f"decode JSON {size}: ours, to tensors": best(lambda: decoder.decode(body, "m")),
        f"encode JSON {size}: ours": best(lambda: encode_answer(response, JSON_ANSWER)),
    }


def measure_raw(size: str, array: np.ndarray[Any, np.dtype[Any]]) -> dict[str, float]:
    decoder = OipJsonDecoder()
    tensor = {"name": "x", "datatype": "FP32", "shape": array.shape, "parameters": {"binary_data_size": array.nbytes}}
    header = json.dumps({"inputs": [tensor]}).encode()
    header += b" " * (-len(header) % 64)  # an aligned tail, as the transport places it
    body = np.frombuffer(bytearray(header + array.tobytes()), np.uint8).data
    response = InferResponse("m", "1", [Tensor("y", Datatype.FP32, array)])
    form = AnswerForm(binary_default=True)
    message = pb.ModelInferRequest(model_name="m", raw_input_contents=[array.tobytes()])
    message.inputs.add(name="x", datatype="FP32", shape=array.shape)
    wire = message.SerializeToString()
    return {
        f"decode binary {size}": best(lambda: decoder.decode(body, "m", None, len(header))),
        f"encode binary {size}": best(lambda: encode_answer(response, form)),
        f"decode proto {size}": best(lambda: decode_infer(wire)),
        f"decode proto {size}: protobuf alone, as bytes": best(lambda: protobuf_alone(wire)),
        f"encode proto {size}": best(lambda: encode_infer(response, raw=True)),
        f"one copy of the bytes, {size}": best(array.tobytes),
    }


def protobuf_alone(wire: bytes) -> bytes:
    return pb.ModelInferRequest.FromString(wire).raw_input_contents[0]


def measure() -> dict[str, float]:
    results: dict[str, float] = {}
    for size, array in (("4 floats", SMALL), ("1 MB", LARGE)):
        results |= measure_json(size, array)
    for size, array in (("4 floats", SMALL), ("16 MiB", HUGE)):
        results |= measure_raw(size, array)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    results = measure()
    if arguments.json:
        print(json.dumps(results, indent=1))
        return
    for name, microseconds in results.items():
        print(f"{microseconds:12,.2f} us  {name}")


if __name__ == "__main__":
    main()
