from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from pillion.dataplane.call import InferResponse
from pillion.errors import ErrorCode, PillionError
from pillion.protocol.classification import classify
from pillion.tensors import Datatype, Tensor, dtype_of


def classes(array: np.ndarray[Any, Any], count: int, datatype: Datatype = Datatype.FP32) -> Tensor:
    response = InferResponse("m", "1", [Tensor("y", datatype, array), Tensor("z", datatype, array)])
    classify(response, {"y": count})
    first, second = response.outputs
    assert ("y", "z", True) == (first.name, second.name, second.data is array)
    return first


def test_each_row_is_its_best_classes_in_falling_order() -> None:
    scores = np.array([[0.1, 0.7, 0.2], [0.5, 0.25, 0.25]], np.float32)

    best = classes(scores, 2)

    assert Datatype.BYTES is best.datatype
    assert [[b"0.700000:1", b"0.200000:2"], [b"0.500000:0", b"0.250000:1"]] == best.data.tolist()


def test_whole_numbers_stay_whole_and_more_classes_than_there_are_is_all_of_them() -> None:
    best = classes(np.array([[0, 255, 7]], np.uint8), 9, Datatype.UINT8)

    assert [[b"255:1", b"7:2", b"0:0"]] == best.data.tolist()


def test_further_dimensions_are_counted_through() -> None:
    best = classes(np.arange(8, dtype=np.float32).reshape(2, 2, 2), 1)

    assert [[b"3.000000:3"], [b"7.000000:3"]] == best.data.tolist()


@pytest.mark.parametrize(
    ("array", "datatype"),
    [
        (np.array([1.0, 2.0], np.float32), Datatype.FP32),
        (np.array(1.0, np.float32), Datatype.FP32),
        (np.array([[b"a"]], object), Datatype.BYTES),
        (np.array([[True]]), Datatype.BOOL),
    ],
)
def test_what_is_not_scores_in_rows_is_refused_by_name(array: np.ndarray[Any, Any], datatype: Datatype) -> None:
    with pytest.raises(PillionError, match="'y'") as raised:
        classes(array, 1, datatype)

    assert ErrorCode.INVALID_ARGUMENT is raised.value.code


@given(st.data(), st.integers(1, 9))
def test_scores_of_any_kind_have_a_best_class(data: st.DataObject, count: int) -> None:
    datatype = data.draw(st.sampled_from([Datatype.FP16, Datatype.FP32, Datatype.FP64, Datatype.INT64, Datatype.UINT8]))
    array = data.draw(nps.arrays(dtype_of(datatype), nps.array_shapes(min_dims=2, max_dims=3, min_side=0, max_side=4)))

    best = classes(array, count, datatype).data

    width = int(np.prod(array.shape[1:]))
    assert (array.shape[0], min(count, width)) == best.shape
    for row, told in zip(array.reshape(array.shape[0], width), best.tolist(), strict=True):
        indices = [int(one.decode().rpartition(":")[2]) for one in told]
        assert len(set(indices)) == len(indices)
        if told and not np.isnan(row.astype(np.float64)).any():
            assert row.max() == row[indices[0]]
