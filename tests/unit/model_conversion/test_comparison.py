from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from pillion.model_conversion.comparison import compare


@pytest.mark.parametrize(
    ("difference", "mismatches", "method", "before", "after"),
    [
        (0.0, 0, "predict_proba", [[0.25, 0.75]], [[0.25, 0.75]]),
        (0.5, 1, "predict_proba", [[0.25, 0.75], [0.5, 0.5]], [[0.75, 0.25], [0.5, 0.5]]),
        (0.005, 0, "predict", [1000.0], [1000.005]),
        (0.005, 1, "predict", [1.0], [1.005]),
        (0.0, 0, "predict", [1.0, math.nan], [1.0, math.nan]),
        (math.inf, 1, "predict", [1.0, math.nan], [1.0, 0.0]),
        (math.inf, 1, "predict", [math.inf], [1.0]),
        (0.0, 0, "predict", [math.inf], [math.inf]),
        (1.0, 1, "predict", [1, 2, 3], [1, 2, 4]),
        (0.0, 1, "predict", ["a", "b"], ["a", "c"]),
        (0.0, 0, "predict", ["a", "b"], ["a", "b"]),
        (0.0, 0, "predict", [1.0, 2.0], [[1.0], [2.0]]),
        (math.inf, 2, "predict_proba", [[0.5, 0.5], [0.1, 0.9]], [[0.5], [0.1]]),
    ],
)
def test_results_are_compared_row_by_row(
    difference: float, mismatches: int, method: str, before: list[Any], after: list[Any]
) -> None:
    found = compare(method, np.array(before), np.array(after), 1e-4)

    assert difference == pytest.approx(found.difference)
    assert mismatches == found.mismatches


def test_labels_differ_whatever_the_tolerance() -> None:
    assert 1 == compare("predict", np.array([1, 2]), np.array([1, 3]), 10.0).mismatches
