"""One row that is refused fails alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pillion.batchpod.predictor import RowsRefusedError, predict_rows
from pillion.batchpod.progress import Counts, Progress, mark_name, marked
from pillion.batchpod.remote_model import retry_after
from pillion.batchpod.rows import Columns, Row
from pillion.podword import EndedError


class Doubling:
    """Doubles numbers; refuses a batch that holds anything else, as a server does."""

    columns = Columns({})

    def __init__(self, answers: int = 0) -> None:
        self.calls = 0
        self._answers = answers

    async def predict(self, body: bytes) -> list[Any]:
        self.calls += 1
        values = json.loads(body)["instances"]
        for index, value in enumerate(values):
            if not isinstance(value, int):
                raise RowsRefusedError(f"instances[{index}]: {value} is no number")
        return [2 * value for value in values][: self._answers or None]


def rows(*values: object) -> list[Row]:
    return [Row(number, json.dumps(value).encode()) for number, value in enumerate(values, 1)]


@pytest.mark.asyncio
async def test_a_poisoned_row_fails_alone_and_the_others_are_predicted() -> None:
    values: list[object] = list(range(100))
    values[37] = values[61] = "x"

    found = await predict_rows(Doubling(), rows(*values))

    assert {38: "x is no number", 62: "x is no number"} == {one.row.number: one.problem for one in found if one.problem}
    assert [2 * n for n in range(100) if n not in (37, 61)] == [one.prediction for one in found if not one.problem]


@pytest.mark.asyncio
async def test_rows_that_cannot_be_read_are_not_sent_and_keep_their_place() -> None:
    model = Doubling()

    found = await predict_rows(model, [*rows(1), Row(2, b"", problem="is no JSON"), *rows(3)])

    assert [2, None, 6] == [one.prediction for one in found]
    assert ["", "is no JSON", ""] == [one.problem for one in found]
    assert 1 == model.calls
    assert [] == await predict_rows(model, [])


@pytest.mark.asyncio
async def test_other_than_one_prediction_for_each_row_ends_it() -> None:
    with pytest.raises(EndedError, match="gave 2 predictions for 3 rows"):
        await predict_rows(Doubling(answers=2), rows(1, 2, 3))


def test_marks_tell_the_counts_and_other_names_nothing() -> None:
    names = [f"out/done/{mark_name(n, Counts(10 * n, 9 * n, n))}" for n in (0, 7, 123_456)]

    found = marked([*names, "out/done/00001-2", "out/done/.tmp", "out/done/x-1-2-3"])

    assert {0: Counts(), 7: Counts(70, 63, 7), 123_456: Counts(1_234_560, 1_111_104, 123_456)} == found


def test_progress_is_this_pods_share_and_failures_are_everybodys() -> None:
    progress = Progress()
    progress.planned(4, [0, 2], {0: Counts(10, 9, 1), 1: Counts(10, 5, 5)})
    progress.counts(Counts(3, 2, 1))

    told = progress.document()

    assert {"total": 4, "own": 2, "done": 1} == told["shards"]
    assert {"read": 13, "written": 11, "failed": 2} == told["rows"]
    assert 7 == progress.failed


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("3", 3.0),
        ("0.5", 0.5),
        ("Thu, 01 Jan 1970 00:16:50 GMT", 10.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("86400", 60.0),
        ("soon", 0.0),
        ("", 0.0),
    ],
)
def test_retry_after_in_seconds_and_as_a_date(said: str, seconds: float) -> None:
    assert seconds == retry_after({"retry-after": said}, now=1000.0)
