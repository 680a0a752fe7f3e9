"""Parquet by pyarrow, which is imported with this module: its row groups, its rows, and files of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pillion.podword import FAILED, EndedError

try:
    import pyarrow as pa
    from pyarrow import parquet
except ImportError:
    raise EndedError(
        FAILED,
        "ParquetUnavailable",
        "this image cannot read or write Parquet: it has no pyarrow",
        "set spec.image to one with pillion[parquet], or use JSONL or CSV",
    ) from None

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pillion.batchpod.place import Found, Place

__all__ = ["ParquetFile", "row_groups", "rows_of"]

_BATCH: Final = 1024
_GROUP_ROWS: Final = 65_536
_GROUP_BYTES: Final = 32 << 20
"""Rows are in memory until their group is written, as Python's objects, and then once more as columns."""
_BROKEN: Final = (pa.ArrowException, OSError, ValueError)
"""What pyarrow raises at broken files: some of it is no ArrowException. Of a place comes none of these."""


def row_groups(file: Found, name: str, place: Place, every: int) -> Iterator[tuple[int, int, int]]:
    """The shards of a file of at least `every` bytes: first row group, the one after the last, number of the first row.

    Raises:
        EndedError: it is no Parquet.
    """
    with place.reading(file) as content, _opened(content, name) as table:
        start, size, first, row = 0, 0, 1, 1
        for group in range(table.metadata.num_row_groups):
            described = table.metadata.row_group(group)
            size, row = size + described.total_byte_size, row + described.num_rows
            if size >= every or group == table.metadata.num_row_groups - 1:
                yield start, group + 1, first
                start, size, first = group + 1, 0, row


def rows_of(file: Found, name: str, place: Place, start: int, end: int) -> Iterator[dict[str, Any]]:
    """The rows of some row groups, by column.

    Raises:
        EndedError: it is no Parquet.
    """
    with place.reading(file) as content, _opened(content, name) as table:
        try:
            for batch in table.iter_batches(batch_size=_BATCH, row_groups=list(range(start, end))):
                yield from batch.to_pylist()
        except _BROKEN as error:
            raise _broken(name, error) from None


def _opened(content: Any, name: str) -> Any:  # noqa: ANN401 - pyarrow has no types
    try:
        return parquet.ParquetFile(content)
    except _BROKEN as error:
        raise _broken(name, error) from None


def _broken(name: str, error: Exception) -> EndedError:
    text = " ".join(str(error).split())[:300]
    return EndedError(FAILED, "InputInvalid", f"{name} is no Parquet that can be read: {text}", "write it again")


class ParquetFile:
    """A file that is written row by row; the first rows decide the columns' types.

    Args:
        path: where.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: Any = None
        self._rows: list[dict[str, Any]] = []
        self._bytes = 0
        self._names: frozenset[str] = frozenset()

    def write(self, row: dict[str, Any]) -> None:
        """Add a row.

        Raises:
            EndedError: it does not have the types of those before.
        """
        # pyarrow takes the columns from the first row, and leaves out without a word what others have besides.
        self._names = self._names or frozenset(row)
        if not row.keys() <= self._names:
            more = ", ".join(map(repr, sorted(row.keys() - self._names)))
            raise _unfit(f"row {row.get('row')} has {more}, which the first row has not")
        self._rows.append(row)
        self._bytes += _size(row)
        if len(self._rows) >= _GROUP_ROWS or self._bytes >= _GROUP_BYTES:
            self._flush()

    def close(self) -> None:
        """Complete it.

        Raises:
            EndedError: as above.
        """
        self._flush()
        if self._writer is not None:
            self._writer.close()

    def _flush(self) -> None:
        if not self._rows:
            return
        try:
            table = pa.Table.from_pylist(self._rows)
            if self._writer is None:
                self._writer = parquet.ParquetWriter(self._path, table.schema)
            else:
                schema = self._writer.schema
                more = _beyond(pa.struct(table.schema), pa.struct(schema))
                if more:
                    raise _unfit(f"{more} is in none of the first rows")
                table = pa.Table.from_pylist(self._rows, schema=schema)
            self._writer.write_table(table)
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            raise _unfit(" ".join(str(error).split())[:300]) from None
        self._rows.clear()
        self._bytes = 0


def _beyond(found: Any, kept: Any, at: str = "") -> str:  # noqa: ANN401 - pyarrow has no types
    """A field at any depth that rows have and the columns have not: pyarrow would leave it out. Empty where none is."""
    if pa.types.is_struct(found) and pa.types.is_struct(kept):
        for field in found:
            name = f"{at}.{field.name}".removeprefix(".")
            if kept.get_field_index(field.name) < 0:
                return name
            deeper = _beyond(field.type, kept.field(field.name).type, name)
            if deeper:
                return deeper
    if pa.types.is_list(found) and pa.types.is_list(kept):
        return _beyond(found.value_type, kept.value_type, at)
    return ""


def _unfit(why: str) -> EndedError:
    text = f"the predictions do not fit into columns: {why}"
    return EndedError(FAILED, "OutputInvalid", text, "set output.format: jsonl")


def _size(value: Any) -> int:  # noqa: ANN401 - JSON
    """About how many bytes the value has in a column."""
    match value:
        case dict():
            return sum(map(_size, value.values()))
        case list():
            return sum(map(_size, value))
        case str():
            return len(value)
    return 8
