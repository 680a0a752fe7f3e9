from __future__ import annotations

import asyncio
import gzip
import json
import tracemalloc
import zlib
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest

from pillion.transport.http.compression import wanted_coding
from pillion.transport.http.dispatcher import Dispatcher
from pillion.transport.http.options import DispatchOptions
from tests.unit.transport.plane import SmallPlane

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

ROW = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}).encode()
INFER = "/v2/models/double/infer"
MIB = 1024 * 1024


async def fallback(_scope: Any, _receive: Any, _send: Any) -> None:
    raise AssertionError("nothing here is the fallback's")


def client_of(**options: Any) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(Dispatcher(SmallPlane(), fallback, DispatchOptions(**options)))
    return httpx.AsyncClient(transport=transport, base_url="http://server", headers={"accept-encoding": ""})


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with client_of() as client:
        yield client


@pytest.mark.parametrize(
    ("coding", "compress"),
    [
        ("gzip", gzip.compress),
        ("GZip", gzip.compress),
        ("x-gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("identity", bytes),
    ],
)
@pytest.mark.parametrize(
    ("path", "body", "key"),
    [
        (INFER, ROW, "outputs"),
        ("/v1/models/double:predict", b'{"instances": [[1, 2, 3, 4]]}', "predictions"),
        ("/invocations/double", b'{"instances": [[1, 2, 3, 4]]}', "predictions"),
    ],
)
async def test_a_compressed_body_is_answered(
    client: httpx.AsyncClient, coding: str, compress: Callable[[bytes], bytes], path: str, body: bytes, key: str
) -> None:
    answer = await client.post(path, content=compress(body), headers={"content-encoding": coding})

    assert (200, True) == (answer.status_code, key in answer.json())


async def test_the_length_of_the_json_is_that_before_compression(client: httpx.AsyncClient) -> None:
    array = np.array([[1, 2, 3, 4]], np.float32)
    head = json.dumps(
        {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "parameters": {"binary_data_size": 16}}]}
    ).encode()
    headers = {"content-encoding": "gzip", "inference-header-content-length": str(len(head))}

    answer = await client.post(INFER, content=gzip.compress(head + array.tobytes()), headers=headers)

    assert [2.0, 4.0, 6.0, 8.0] == answer.json()["outputs"][0]["data"]


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "compress"])
async def test_another_coding_is_415_with_those_that_are_taken(client: httpx.AsyncClient, coding: str) -> None:
    answer = await client.post(INFER, content=ROW, headers={"content-encoding": coding})

    assert (415, "close") == (answer.status_code, answer.headers["connection"])
    assert "gzip or deflate" in answer.json()["error"]


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (ROW, "is not in that coding"),
        (b"\x1f\x8b", "ends before its end"),
        (gzip.compress(ROW)[:-9], "ends before its end"),
        (gzip.compress(ROW)[:-1] + b"\xff", "is not in that coding"),
        (gzip.compress(ROW) * 2, "bytes after its end"),
    ],
    ids=["plain", "two bytes", "cut", "wrong at the end", "twice"],
)
async def test_a_body_that_is_not_what_it_says_is_400(client: httpx.AsyncClient, body: bytes, problem: str) -> None:
    answer = await client.post(INFER, content=body, headers={"content-encoding": "gzip"})

    assert 400 == answer.status_code
    assert problem in answer.json()["error"]


async def test_bombs_are_413_and_hold_no_more_than_the_limit_each() -> None:
    bomb = gzip.compress(b"0" * (64 * MIB))
    async with client_of(max_body_bytes=MIB) as client:
        tracemalloc.start()
        try:
            answers = await asyncio.gather(
                *(client.post(INFER, content=bomb, headers={"content-encoding": "gzip"}) for _ in range(20))
            )
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert {413} == {answer.status_code for answer in answers}
    assert "limits.max_body_bytes" in answers[0].json()["error"]
    assert peak < 16 * MIB


async def test_a_body_of_just_the_limit_is_taken_and_one_byte_more_is_not() -> None:
    async with client_of(max_body_bytes=len(ROW)) as client:
        bodies = [ROW, ROW + b" "]
        statuses = [
            (await client.post(INFER, content=zlib.compress(body), headers={"content-encoding": "deflate"})).status_code
            for body in bodies
        ]

    assert [200, 413] == statuses


@pytest.mark.parametrize(
    ("header", "coding"),
    [
        (b"gzip", b"gzip"),
        (b" Deflate ", b"deflate"),
        (b"gzip;q=1.0, identity; q=0.5", b"gzip"),
        (b"gzip, deflate", None),
        (b"gzip, deflate, br, zstd", None),
        (b"gzip;q=0", None),
        (b"gzip; q = 0.000", None),
        (b"identity", None),
        (b"br", None),
        (b"*", None),
        (b"", None),
    ],
)
def test_who_names_one_coding_wants_it_and_a_list_is_an_offer(header: bytes, coding: bytes | None) -> None:
    assert coding == wanted_coding(header)


def large(array: np.ndarray[Any, Any], *, binary: bool) -> dict[str, Any]:
    tensor = {"name": "x", "datatype": "FP32", "shape": list(array.shape), "data": array.tolist()}
    return {"inputs": [tensor], "parameters": {"binary_data_output": binary}}


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@pytest.mark.parametrize("count", [4_000, 400_000])
@pytest.mark.parametrize("form", ["json", "binary"])
async def test_a_large_answer_is_compressed_for_who_asks(
    client: httpx.AsyncClient, coding: str, count: int, form: str
) -> None:
    body = large(np.full(count, 3, np.float32), binary=form == "binary")

    plain = await client.post(INFER, json=body)
    answer = await client.post(INFER, json=body, headers={"accept-encoding": coding})

    assert "content-encoding" not in plain.headers
    assert (coding, "accept-encoding") == (answer.headers["content-encoding"], answer.headers["vary"])
    assert int(answer.headers["content-length"]) < len(plain.content) / 10
    assert plain.headers.get("inference-header-content-length") == answer.headers.get("inference-header-content-length")
    assert plain.content == answer.content  # httpx has expanded it


@pytest.mark.parametrize(
    "array", [np.ones(4, np.float32), np.random.default_rng(0).random(4_000, np.float32)], ids=["small", "noise"]
)
async def test_what_is_small_or_does_not_shrink_is_sent_as_it_is(
    client: httpx.AsyncClient, array: np.ndarray[Any, Any]
) -> None:
    answer = await client.post(INFER, json=large(array, binary=True), headers={"accept-encoding": "gzip"})

    assert (200, False) == (answer.status_code, "content-encoding" in answer.headers)


async def test_compression_can_be_switched_off() -> None:
    body = large(np.full(4_000, 3, np.float32), binary=False)
    async with client_of(compress_min_bytes=0) as client:
        answer = await client.post(INFER, json=body, headers={"accept-encoding": "gzip"})

    assert (200, False) == (answer.status_code, "content-encoding" in answer.headers)
