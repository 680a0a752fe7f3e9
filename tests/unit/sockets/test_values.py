"""Values there and back."""

from __future__ import annotations

import dataclasses
import datetime as dt
import random
import threading
import uuid
from typing import Any

import msgspec
import numpy as np
import pytest

from pillion.socket.errors import ProtocolError
from pillion.socket.values import pack, unpack


def crossed(*items: object) -> list[Any]:
    """The items as the other side sees them."""
    return unpack(b"".join(pack(items)))


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        1,
        -(2**63),
        2**64 - 1,
        1.5,
        "text",
        b"",
        b"bytes",
        bytes(5000),
        [1, [2]],
        {"a": {"b": [None]}},
        {1: 2},
    ],
)
def test_plain_values_come_back_as_they_are(value: object) -> None:
    assert [value] == crossed(value)


def test_dataclasses_come_as_dicts_tuples_as_lists_and_moments_as_moments() -> None:
    @dataclasses.dataclass
    class Point:
        x: int

    moment = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
    assert [{"x": 1}, [1, 2], moment] == crossed(Point(1), (1, 2), moment)
    assert [str(uuid.UUID(int=1))] == crossed(uuid.UUID(int=1))


@pytest.mark.parametrize(
    "dtype", ["?", "i1", "u8", "f2", "f4", "f8", "c16", "M8[ns]", "m8[s]", "S3", "U4", ">f4", ">i8"]
)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (2, 0, 4)])
def test_arrays_come_back_in_value_type_and_shape(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape, dtype=int)).astype("i8").astype(dtype).reshape(shape)
    (back,) = crossed(array)
    assert shape == back.shape
    assert array.dtype.newbyteorder("=") == back.dtype.newbyteorder("=")
    np.testing.assert_array_equal(array, back)


def test_arrays_within_values_lie_behind_them_without_a_copy_and_aligned() -> None:
    large = np.random.default_rng(0).random((300, 70))
    parts = pack([{"a": [large, large.T[::2]], "b": np.float32(2)}])
    assert any(isinstance(part, memoryview) and part.nbytes == large.nbytes for part in parts)
    back = unpack(b"".join(parts))[0]
    np.testing.assert_array_equal(large.T[::2], back["a"][1])
    assert 2.0 == back["b"]
    assert back["a"][0].flags.aligned
    assert not back["a"][0].flags.writeable


@pytest.mark.parametrize("value", [object(), np.array([object()]), np.zeros(2, [("a", "i4")]), {"a": 2**70}, lambda: 0])
def test_what_cannot_be_sent_is_told_and_never_pickled(value: object) -> None:
    with pytest.raises(TypeError, match="cannot be sent"):
        pack([value])


def test_a_value_that_contains_itself_is_told() -> None:
    value: list[object] = []
    value.append(value)
    with pytest.raises(TypeError, match="cannot be sent"):
        pack([value])


def _array(dtype: object, shape: object, at: object) -> bytes:
    inner = msgspec.msgpack.encode([dtype, shape, at])
    head = msgspec.msgpack.encode([msgspec.msgpack.Ext(1, inner)])
    return len(head).to_bytes(4, "little") + head + bytes(-(4 + len(head)) % 16) + bytes(16)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x01\x00\x00",
        b"\xff\xff\xff\xff\x90",
        b"\x01\x00\x00\x00\xc1",
        b"\x01\x00\x00\x00\x01",
        _array("O", [2], 0),
        _array("f8", [3], 0),
        _array("f8", [2], 8),
        _array("f8", [-1], 0),
        _array("f8", [2**62, 2**62], 0),
        _array("V8", [1], 0),
        _array("no dtype", [1], 0),
        _array("i4,i4", [1], 0),
        _array("f8", [1], -8),
        _array(1, [1], 0),
        len(msgspec.msgpack.encode([msgspec.msgpack.Ext(9, b"x")])).to_bytes(4, "little")
        + msgspec.msgpack.encode([msgspec.msgpack.Ext(9, b"x")]),
    ],
)
def test_bodies_that_cannot_be_are_refused(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        unpack(body)


def test_garbage_is_refused_or_a_value_and_never_anything_else() -> None:
    chance = random.Random(3)
    good = b"".join(pack([{"a": np.arange(5.0)}, bytes(5000), "text"]))
    for _ in range(3000):
        body = bytearray(good)
        for _ in range(chance.randrange(1, 6)):
            body[chance.randrange(len(good) if chance.random() < 0.1 else 60)] = chance.randrange(256)
        try:
            unpack(bytes(body))
        except ProtocolError:
            continue


def test_threads_do_not_see_each_others_buffers() -> None:
    wrong: list[int] = []

    def work(number: int) -> None:
        array = np.full(2000, number)
        wrong.extend(number for _ in range(300) if not (crossed([array])[0][0] == number).all())

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [] == wrong
