"""Predictions for batches of rows, whoever computes them: one row that is refused fails alone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from pillion.podword import FAILED, EndedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pillion.batchpod.rows import Columns, Row

__all__ = ["Predicted", "Predictor", "RowsRefusedError", "predict_rows"]

_FIRST: Final = re.compile(r"\b(?:instances|inputs)\[(?:0|\*)\][.:]?\s*")
_TEXT: Final = 1000


class RowsRefusedError(Exception):
    """The model refuses these rows, or fails with them; of one row the text says why."""


@dataclass(frozen=True, slots=True)
class Predicted:
    """One row and what became of it: a prediction, or a problem."""

    row: Row
    prediction: Any = None
    problem: str = ""


class Predictor(Protocol):
    """What computes predictions."""

    @property
    def columns(self) -> Columns:
        """What the model says of its columns."""
        ...

    async def predict(self, body: bytes) -> list[Any]:
        """The predictions of a body of the V1 protocol, `{"instances": [...]}`.

        Raises:
            RowsRefusedError: because of its rows.
            EndedError: because of anything else; trying on here is no use.
        """
        ...


async def predict_rows(predictor: Predictor, rows: Sequence[Row]) -> list[Predicted]:
    """What became of each row, in their order.

    A batch that is refused is halved until the rows that are at fault are alone. So a row is computed more than once
    only beside one that fails.

    Raises:
        EndedError: as by the predictor; also where it gives other than one prediction for each row.
    """
    good = [row for row in rows if not row.problem]
    made = iter(await _halved(predictor, good))
    return [Predicted(row, problem=row.problem) if row.problem else next(made) for row in rows]


async def _halved(predictor: Predictor, rows: Sequence[Row]) -> list[Predicted]:
    if not rows:
        return []
    try:
        predictions = await predictor.predict(b'{"instances":[' + b",".join(row.instance for row in rows) + b"]}")
    except RowsRefusedError as error:
        if len(rows) == 1:
            return [Predicted(rows[0], problem=_FIRST.sub("", str(error), count=1)[:_TEXT] or "the model refuses it")]
        middle = len(rows) // 2
        return [*await _halved(predictor, rows[:middle]), *await _halved(predictor, rows[middle:])]
    if len(predictions) != len(rows):
        text = f"the model gave {len(predictions)} predictions for {len(rows)} rows"
        raise EndedError(FAILED, "PredictionsInvalid", text, "use a model that answers each row")
    return [Predicted(row, prediction) for row, prediction in zip(rows, predictions, strict=True)]
