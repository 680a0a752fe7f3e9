"""Files of Parquet that are written row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pyarrow import parquet

from pillion.batchpod.parquet import ParquetFile
from pillion.podword import EndedError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_group_is_written_when_its_rows_have_so_many_bytes(tmp_path: Path) -> None:
    file = ParquetFile(tmp_path / "rows.parquet")
    for number in range(20):
        file.write({"row": number, "prediction": {"text": "x" * (4 << 20), "scores": [1.0, 2.0]}})
    file.close()

    written = parquet.ParquetFile(tmp_path / "rows.parquet").metadata
    assert (20, 3) == (written.num_rows, written.num_row_groups)
    assert 8 == written.row_group(0).num_rows


@pytest.mark.parametrize(
    ("later", "named"),
    [
        ({"label": 1, "why": "x"}, "row 2 has 'why', which the first row has not"),
        ({"label": 1, "boxes": [{"x": 1, "y": 2}]}, "boxes.y is in none of the first rows"),
    ],
)
def test_what_later_predictions_have_besides_is_said_and_not_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: dict[str, Any], named: str
) -> None:
    monkeypatch.setattr("pillion.batchpod.parquet._GROUP_ROWS", 1)
    file = ParquetFile(tmp_path / "rows.parquet")
    file.write({"row": 1, "label": 0, "boxes": [{"x": 1}]})

    with pytest.raises(EndedError, match=named) as raised:
        file.write({"row": 2, **later})

    assert "OutputInvalid" == raised.value.fields["reason"]


def test_what_later_predictions_lack_is_null(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pillion.batchpod.parquet._GROUP_ROWS", 1)
    file = ParquetFile(tmp_path / "rows.parquet")
    file.write({"row": 1, "label": 0, "boxes": [{"x": 1, "y": 2}]})
    file.write({"row": 2, "boxes": [{"x": 1}]})
    file.close()

    found = parquet.read_table(tmp_path / "rows.parquet").to_pylist()
    assert {"row": 2, "label": None, "boxes": [{"x": 1, "y": None}]} == found[1]


def test_whole_numbers_beyond_64_bits_with_a_sign_are_said_to_fit_no_column(tmp_path: Path) -> None:
    file = ParquetFile(tmp_path / "rows.parquet")
    file.write({"row": 1, "hash": 2**63})

    with pytest.raises(EndedError, match="do not fit into columns") as raised:
        file.close()

    assert "OutputInvalid" == raised.value.fields["reason"]
