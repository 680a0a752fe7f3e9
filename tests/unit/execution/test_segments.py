"""Shared memory between two sides, here both in one process."""

from __future__ import annotations

import gc
import os

import numpy as np
import pytest

from pillion.execution.packing import INLINE_BYTES, pack, unpack
from pillion.execution.segments import SegmentMap, SegmentPool
from pillion.tensors import Datatype, Tensor, dtype_of

LARGE = INLINE_BYTES // 4 + 1


def floats(count: int, name: str = "x") -> Tensor:
    return Tensor(name, Datatype.FP32, np.arange(count, dtype=np.float32))


def sides() -> tuple[SegmentPool, SegmentMap, list[int]]:
    released: list[int] = []
    return SegmentPool(), SegmentMap(released.append), released


def cross(tensors: list[Tensor | None], pool: SegmentPool, reader: SegmentMap) -> list[Tensor | None]:
    packed, segment = pack(tensors, pool)
    if segment is None:
        return unpack(packed, None)
    if segment.descriptor is not None:
        reader.attach(segment.number, segment.size, os.dup(segment.descriptor))
        segment.announced()
    return unpack(packed, reader.view(segment.number))


@pytest.mark.parametrize("datatype", [each for each in Datatype if each is not Datatype.BYTES])
@pytest.mark.parametrize("shape", [(3,), (2, 3), (), (0, 4), (200, 300)])
def test_a_tensor_crosses_as_it_is(datatype: Datatype, shape: tuple[int, ...]) -> None:
    pool, reader, _ = sides()
    data = (np.random.default_rng(1).random(shape) * 100).astype(dtype_of(datatype))
    [crossed] = cross([Tensor("x", datatype, data, {"a": 1})], pool, reader)
    assert crossed is not None
    assert ("x", datatype, {"a": 1}, shape) == (crossed.name, crossed.datatype, crossed.parameters, crossed.shape)
    assert data.dtype == crossed.data.dtype
    assert np.array_equal(data, crossed.data)


@pytest.mark.parametrize("count", [0, 3, LARGE])
def test_texts_cross_whatever_their_length(count: int) -> None:
    pool, reader, _ = sides()
    data = np.empty((count, 1), dtype=np.object_)
    data[:, 0] = [b"\0" * (position % 7) + b"\xff" for position in range(count)]
    [crossed] = cross([Tensor("x", Datatype.BYTES, data)], pool, reader)
    assert crossed is not None
    assert data.tolist() == crossed.data.tolist()
    assert (count, 1) == crossed.shape


def test_what_is_missing_is_marked_on_the_other_side_and_absent_inputs_are_absent() -> None:
    pool, reader, _ = sides()
    given = floats(3)
    given.missing = np.array([True, False, True])
    crossed = cross([None, given], pool, reader)
    assert crossed[0] is None
    assert crossed[1] is not None
    assert crossed[1].missing is not None
    assert [True, False, True] == crossed[1].missing.tolist()


def test_arrays_of_another_memory_layout_cross() -> None:
    pool, reader, _ = sides()
    data = np.arange(LARGE * 2, dtype=">f4").reshape(2, LARGE).T
    [crossed] = cross([Tensor("x", Datatype.FP32, data)], pool, reader)
    assert crossed is not None
    assert np.array_equal(data, crossed.data)


def test_an_array_that_is_not_what_it_says_is_refused() -> None:
    with pytest.raises(TypeError):
        pack([Tensor("x", Datatype.INT8, np.array([1.5]))], SegmentPool())


def test_a_large_tensor_is_read_where_it_was_written() -> None:
    pool, reader, _ = sides()
    packed, segment = pack([floats(LARGE)], pool)
    assert segment is not None
    assert segment.descriptor is not None
    reader.attach(segment.number, segment.size, segment.descriptor)
    [crossed] = unpack(packed, reader.view(segment.number))
    assert crossed is not None
    segment.map[0:4] = np.float32(7).tobytes()
    assert 7 == crossed.data[0]
    assert not crossed.data.flags.writeable


def test_memory_is_used_again_when_its_last_array_is_gone_and_not_before() -> None:
    pool, reader, released = sides()
    [crossed] = cross([floats(LARGE)], pool, reader)
    assert crossed is not None
    part = crossed.data[5:7]
    del crossed
    gc.collect()
    assert [] == released
    del part
    gc.collect()
    assert [1] == released
    pool.give_back(1)
    assert 1 == pool.take(LARGE * 4).number
    assert 2 == pool.take(LARGE * 4).number


def test_a_small_tensor_takes_no_segment_that_is_much_too_large_for_it() -> None:
    pool = SegmentPool()
    pool.give_back(pool.take(64 << 20).number)
    assert 2 == pool.take(1 << 20).number


def test_unused_memory_is_bounded() -> None:
    pool = SegmentPool(kept_bytes=3 << 20)
    segments = [pool.take(1 << 20) for _ in range(5)]
    assert 5 << 20 == pool.bytes
    for segment in segments:
        segment.announced()
        pool.give_back(segment.number)
    assert 3 << 20 == pool.bytes
    assert [1, 2] == pool.dropped


def test_memory_that_its_writer_could_cut_short_is_refused() -> None:
    descriptor = os.memfd_create("unsealed", os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, 4096)
    with pytest.raises(ValueError, match="not sealed"):
        SegmentMap(lambda _: None).attach(1, 4096, descriptor)


def test_memory_that_is_smaller_than_it_says_is_refused() -> None:
    segment = SegmentPool().take(1)
    assert segment.descriptor is not None
    with pytest.raises(ValueError, match="smaller"):
        SegmentMap(lambda _: None).attach(1, segment.size + 1, os.dup(segment.descriptor))
