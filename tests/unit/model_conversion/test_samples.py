from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pillion.backends.api import ModelLoadError
from pillion.model_conversion.samples import generated, read

if TYPE_CHECKING:
    from pathlib import Path

TWO = SimpleNamespace(n_features_in_=2)
NAMED = SimpleNamespace(n_features_in_=2, feature_names_in_=np.array(["length", "width"], dtype=object))


def written(folder: Path, text: str) -> Path:
    path = folder / "rows.csv"
    path.write_text(text)
    return path


@pytest.mark.parametrize("text", ["1,2\n3,4\n", "a,b\n1,2\n3,4\n", "\ufeffa,b\n1,2\n\n3,4"])
def test_a_csv_is_read_with_and_without_names(tmp_path: Path, text: str) -> None:
    assert [[1.0, 2.0], [3.0, 4.0]] == np.asarray(read(written(tmp_path, text), TWO).rows).tolist()


def test_columns_are_put_into_the_order_of_the_model_and_surplus_ones_are_named(tmp_path: Path) -> None:
    samples = read(written(tmp_path, "width,species,length\n2,9,1\n4,9,3\n"), NAMED)

    assert [[1.0, 2.0], [3.0, 4.0]] == np.asarray(samples.rows).tolist()
    assert ("columns not used: species",) == samples.notes


@pytest.mark.parametrize(
    ("said", "text", "estimator"),
    [
        ("has no column 'length'", "width\n2\n", NAMED),
        ("rows of 2 features", "1,2,3\n", TWO),
        ("could not convert", "1,x\n", TWO),
        ("it is empty", "", TWO),
        ("holds no row", "a,b\n", TWO),
    ],
)
def test_rows_that_do_not_fit_are_refused_with_the_reason(
    tmp_path: Path, said: str, text: str, estimator: object
) -> None:
    with pytest.raises(ModelLoadError, match=said):
        read(written(tmp_path, text), estimator)


def test_arrays_are_read_and_pickled_ones_are_not(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.ones((3, 2)))
    assert 3 == len(read(tmp_path / "rows.npy", TWO))
    objects: Any = np.array([{"a": 1}], dtype=object)
    np.save(tmp_path / "evil.npy", objects, allow_pickle=True)
    with pytest.raises(ModelLoadError, match="cannot be read"):
        read(tmp_path / "evil.npy", TWO)


def test_made_up_rows_are_the_same_each_time_and_of_several_scales() -> None:
    first, second = generated(TWO), generated(TWO)

    assert np.array_equal(first.rows, second.rows)
    assert first.generated
    assert np.abs(first.rows).max() > 50


def test_what_cannot_be_made_up_asks_for_samples() -> None:
    with pytest.raises(ModelLoadError, match="--samples"):
        generated(SimpleNamespace())
