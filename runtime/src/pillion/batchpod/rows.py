"""The rows of a shard: what is sent to the model of each, as JSON, and what is said of it in the output."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pillion.batchpod.records import records
from pillion.podword import FAILED, EndedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pillion.batchpod.order import Input
    from pillion.batchpod.place import Place
    from pillion.batchpod.plan import Shard

__all__ = ["Columns", "Row", "rows_of_shard"]

_ENCODE: Final = msgspec.json.Encoder().encode
_DECODE: Final = msgspec.json.Decoder().decode
_INTEGERS: Final = frozenset({"INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"})


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Attributes:
        number: its place in its file from 1: of JSONL the line, of CSV the record after the header.
        instance: what is sent to the model, JSON; empty where `problem` says why it cannot be.
        identity: the value of `input.idField`, None where none is named.
        problem: empty where nothing is wrong.
    """

    number: int
    instance: bytes
    identity: Any = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Columns:
    """What the model's metadata says of its columns.

    Attributes:
        datatypes: by name, as the Open Inference Protocol writes them; empty where the metadata are not known.
        matrix: the datatype of its only input where that is a matrix without names, so that rows of tables are sent as
            lists; else empty.
    """

    datatypes: Mapping[str, str]
    matrix: str = ""


class _Problem(Exception):  # noqa: N818 - says what is wrong with one row, and never leaves this module
    pass


def rows_of_shard(shard: Shard, given: Input, place: Place, columns: Columns) -> Iterator[Row]:
    """Every row of the shard, also those that cannot be read.

    Raises:
        StorageError: the file was changed, or the store does not answer.
        EndedError: the file is not of its format at all.
    """
    file = shard.file
    if file.format == "parquet":
        from pillion.batchpod.parquet import rows_of  # noqa: PLC0415 - pyarrow, where it is needed

        found = rows_of(file.found, file.name, place, shard.start, shard.end)
        for number, row in enumerate(found, shard.first_row):
            yield _row(number, given, lambda row=row: row, columns)  # type: ignore[misc] # bound, as the loop goes on
        return
    chunks = place.stream(file.found, shard.start, shard.end)
    table = file.format == "csv"
    for record in records(chunks, quoted=table, most=given.max_row_bytes, first=shard.first_row):
        content = record.content
        if not record.whole:
            # Not one row that failed: nobody knows how many rows it took along.
            text = f"{file.name}, row {record.number}: {record.problem}"
            raise EndedError(FAILED, "InputInvalid", text, "close the quote, or double it within a quoted cell")
        if record.problem:
            yield Row(record.number, b"", problem=record.problem)
        elif not content.strip():
            continue
        elif table:
            yield _row(record.number, given, lambda content=content: _cells(content, file.header), columns, text=True)  # type: ignore[misc] # as above
        else:
            yield _json_row(record.number, content, given)


def _json_row(number: int, content: bytes, given: Input) -> Row:
    try:
        value = _DECODE(content.removeprefix(b"\xef\xbb\xbf") if number == 1 else content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return Row(number, b"", problem=f"is no JSON: {error}")
    if not isinstance(value, dict):
        if given.id_field:
            return Row(number, b"", problem=f"is no object, so it has no {given.id_field!r}, the input.idField")
        return Row(number, _ENCODE(value))
    return _row(number, given, lambda: value, None)


def _row(
    number: int, given: Input, fields: Callable[[], dict[str, Any]], columns: Columns | None, *, text: bool = False
) -> Row:
    """One row; of a table of texts each cell becomes what the model's datatype says."""
    identity: Any = None
    try:
        found = fields()
        if given.id_field and given.id_field not in found:
            return Row(number, b"", problem=f"has no {given.id_field!r}, the input.idField")
        identity = found.get(given.id_field)
        sent = {name: value for name, value in found.items() if name != given.id_field and name not in given.exclude}
        if text and columns is not None:
            sent = {name: _value(cell, name, columns) for name, cell in sent.items()}
        as_list = columns is not None and bool(columns.matrix)
        return Row(number, _ENCODE(list(sent.values()) if as_list else sent), identity)
    except RecursionError:
        return Row(number, b"", identity, "is nested too deeply")
    except (_Problem, TypeError, ValueError) as error:
        return Row(number, b"", identity, str(error))


def _cells(content: bytes, header: list[str]) -> dict[str, Any]:
    """The cells of one record by the names of their columns.

    Raises:
        _Problem: the record has other cells than the header.
    """
    try:
        cells = next(csv.reader([content.decode().rstrip("\r\n")], strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise _Problem(f"is no CSV in UTF-8: {error}") from None
    if len(cells) != len(header):
        raise _Problem(f"has {len(cells)} cells, and the header names {len(header)} columns")
    return dict(zip(header, cells, strict=True))


def _value(cell: str, name: str, columns: Columns) -> Any:  # noqa: ANN401 - JSON
    """A cell as a value of JSON; an empty one is a value that is not there, but where the column holds texts."""
    datatype = columns.datatypes.get(name, columns.matrix)
    if datatype == "BYTES":
        return cell
    if cell == "":
        return None
    if not datatype:
        return _guessed(cell)
    try:
        if datatype == "BOOL":
            return {"true": True, "1": True, "false": False, "0": False}[cell.strip().lower()]
        number = int(cell) if datatype in _INTEGERS else float(cell)
    except (ValueError, KeyError):
        raise _Problem(f"column {name!r}: {cell[:100]!r} is no {datatype}") from None
    if isinstance(number, float) and number != number:  # noqa: PLR0124 - NaN, which JSON has no word for
        return None
    return number


def _guessed(cell: str) -> Any:  # noqa: ANN401 - JSON
    """Where the model does not say: numbers and true and false as such, all else as texts."""
    try:
        value = _DECODE(cell.strip())
    except (msgspec.MsgspecError, RecursionError):
        return cell
    return value if isinstance(value, bool | int | float) else cell
