"""What a shard leaves: its predictions, its errors, and the mark that says that both are whole.

All of it is written on the pod's disk first, and each file goes into its place at once, over what a lost pod may have
left there; the mark goes last. So a shard is in the output once, however often it was begun.
"""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from pillion.podword import FAILED, EndedError

if TYPE_CHECKING:
    from pathlib import Path

    from pillion.batchpod.plan import Shard
    from pillion.batchpod.predictor import Predicted

__all__ = ["ShardFiles"]

_ENCODE: Final = msgspec.json.Encoder().encode


class _Rows(Protocol):
    def write(self, row: dict[str, Any]) -> None: ...

    def close(self) -> None: ...


class ShardFiles:
    """The files of one shard on this disk.

    Args:
        folder: where.
        number: of the shard.
        shard: whose rows they are.
        form: of the predictions: jsonl, csv or parquet.
        identified: rows have an identity.
    """

    def __init__(self, folder: Path, number: int, shard: Shard, form: str, *, identified: bool) -> None:
        self.name = f"part-{number:05d}.{form}"
        self.errors_name = f"part-{number:05d}.jsonl"
        self.path = folder / self.name
        self.errors_path = folder / f"errors-{number:05d}.jsonl"
        self._number = number
        self._shard = shard
        self._identified = identified
        self._form = form
        self._rows: _Rows | None = None
        self._errors: _Lines | None = None
        self.read = self.written = self.failed = 0

    def add(self, predicted: Predicted) -> None:
        """Add one row.

        Raises:
            EndedError: it does not fit beside those before.
            OSError: the disk is full.
        """
        self.read += 1
        row = predicted.row
        about: dict[str, Any] = {"file": self._shard.file.name, "row": row.number}
        if self._identified:
            about["id"] = row.identity
        if predicted.problem:
            self.failed += 1
            self._errors = self._errors or _Lines(self.errors_path)
            self._errors.write({"shard": self._number, **about, "reason": predicted.problem})
            return
        self.written += 1
        if self._rows is None:
            self._rows = self._opened()
        if self._form == "jsonl":
            self._rows.write({**about, "prediction": predicted.prediction})
        elif isinstance(predicted.prediction, dict):
            # A model of several outputs: a column each, and never over one of ours.
            outputs = {f"prediction.{k}" if k in about else k: v for k, v in predicted.prediction.items()}
            self._rows.write({**about, **outputs})
        else:
            self._rows.write({**about, "prediction": predicted.prediction})

    def close(self) -> None:
        """Complete the files.

        Raises:
            EndedError: as above.
            OSError: as above.
        """
        for file in (self._rows, self._errors):
            if file is not None:
                file.close()

    def remove(self) -> None:
        """Free the disk."""
        self.path.unlink(missing_ok=True)
        self.errors_path.unlink(missing_ok=True)

    def _opened(self) -> _Rows:
        if self._form == "parquet":
            from pillion.batchpod.parquet import ParquetFile  # noqa: PLC0415 - pyarrow, where it is needed

            return ParquetFile(self.path)
        return _Table(self.path) if self._form == "csv" else _Lines(self.path)


class _Lines:
    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")

    def write(self, row: dict[str, Any]) -> None:
        self._file.write(_ENCODE(row) + b"\n")

    def close(self) -> None:
        self._file.close()


class _Table:
    """CSV as RFC 4180 has it; the first row decides the columns."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8", newline="")
        self._writer: csv.DictWriter[str] | None = None

    def write(self, row: dict[str, Any]) -> None:
        if self._writer is None:
            names = [name for name in ("file", "row", "id") if name in row]
            self._writer = csv.DictWriter(self._file, [*names, *(name for name in row if name not in names)])
            self._writer.writeheader()
        try:
            self._writer.writerow({name: _cell(value) for name, value in row.items()})
        except ValueError as error:
            text = f"the predictions do not fit into columns: {error}"
            raise EndedError(FAILED, "OutputInvalid", text, "set output.format: jsonl") from None

    def close(self) -> None:
        self._file.close()


def _cell(value: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value
