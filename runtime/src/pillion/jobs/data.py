"""A training's data: items from lists, files and folders, each checked as it is read.

JSONL (one item a line), JSON (a list of items), CSV (a header, an item a row) and Parquet; a folder is its files of
those kinds in the order of their names. Files are read again for each pass, so they never are in memory as a whole
(but for JSON, which has no other way).
"""

from __future__ import annotations

import csv
import hashlib
import json
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from pillion.authoring.stream import Stream
from pillion.errors import ErrorCode, PillionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pillion.authoring.training import DataParameter

__all__ = ["data_digest", "data_files", "from_files"]

_SHOWN: Final = 3


def data_files(path: Path) -> list[Path]:
    """The files of items at a path, in order.

    Raises:
        PillionError: ``INVALID_ARGUMENT``: there is none.
    """
    if path.is_file():
        if path.suffix.lower() not in _READERS:
            raise _wrong(path.name, f"it is none of {', '.join(sorted(_READERS))}")
        return [path]
    # Hidden files are not data: storage keeps its own record of what it fetched in one.
    found = sorted(file for file in path.rglob("[!.]*") if file.is_file() and file.suffix.lower() in _READERS)
    if not found:
        raise _wrong(path.name, f"there is no file of {', '.join(sorted(_READERS))}")
    return found


def from_files(parameter: DataParameter, path: Path) -> Stream[Any]:
    """The items of a file or folder.

    Raises:
        PillionError: ``INVALID_ARGUMENT``: now or while it is read; with file and line.
    """
    files = data_files(path)

    def items() -> Iterator[Any]:
        for file in files:
            kind = file.suffix.lower()
            for place, item in _READERS[kind](file):
                yield _checked(parameter, item, f"{file.name}{place}", by_json=kind in _JSON)

    return Stream(items)


def data_digest(files: list[Path], inline: bytes) -> str:
    """A digest of all data: of the request's own, and of the files by name and content."""
    digest = hashlib.sha256(inline)
    for file in files:
        digest.update(b"\0" + file.name.encode() + b"\0")
        with file.open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    return f"sha256:{digest.hexdigest()}"


def _checked(parameter: DataParameter, item: Any, place: str, *, by_json: bool) -> Any:  # noqa: ANN401 - any item
    given = {"item": item}
    try:
        # What came as JSON is read as that of a request is: bytes, which JSON does not have, are base64 in both.
        checked = (
            parameter.items.validate_json(json.dumps(given)) if by_json else parameter.items.validate_python(given)
        )
        return checked["item"]
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False, include_input=False)
        said = "; ".join(
            f"{'.'.join(map(str, detail['loc'][1:])) or 'item'}: {detail['msg'].removeprefix('Input ')}"
            for detail in details[:_SHOWN]
        )
        raise _wrong(f"{parameter.name}, {place}", said) from None


def _jsonl(file: Path) -> Iterator[tuple[str, Any]]:
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    yield f":{number}", json.loads(line)
                except ValueError as error:
                    raise _wrong(f"{file.name}:{number}", f"is no JSON: {error}") from None


def _json(file: Path) -> Iterator[tuple[str, Any]]:
    try:
        items = json.loads(file.read_bytes())
    except ValueError as error:
        raise _wrong(file.name, f"is no JSON: {error}") from None
    if not isinstance(items, list):
        raise _wrong(file.name, "should be a list of items")
    for index, item in enumerate(items):
        yield f"[{index}]", item


def _csv(file: Path) -> Iterator[tuple[str, Any]]:
    with file.open(encoding="utf-8-sig", newline="") as text:
        rows = csv.DictReader(text)
        try:
            for row in rows:
                if None in row:
                    raise _wrong(f"{file.name}:{rows.line_num}", "the row has more cells than the header")
                # An empty cell is a value that is not there, so that fields with defaults get theirs.
                yield f":{rows.line_num}", {name: value for name, value in row.items() if value not in ("", None)}
        except (csv.Error, UnicodeDecodeError) as error:
            raise _wrong(f"{file.name}:{rows.line_num}", f"is no CSV in UTF-8: {error}") from None


def _parquet(file: Path) -> Iterator[tuple[str, Any]]:
    try:
        from pyarrow import parquet  # noqa: PLC0415 - not a dependency: whoever has Parquet has it
    except ImportError:
        raise _wrong(file.name, "reading Parquet needs pyarrow: pip install pyarrow, or give JSONL or CSV") from None
    number = 0
    try:
        with parquet.ParquetFile(file) as table:
            for batch in table.iter_batches(batch_size=1024):
                for row in batch.to_pylist():
                    yield f" row {number}", row
                    number += 1
    except (OSError, ValueError) as error:
        raise _wrong(file.name, f"is no Parquet: {error}") from None


_READERS: Final[dict[str, Callable[[Path], Iterator[tuple[str, Any]]]]] = {
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".json": _json,
    ".csv": _csv,
    ".parquet": _parquet,
}
_JSON: Final = frozenset({".jsonl", ".ndjson", ".json"})


def _wrong(place: str, text: str) -> PillionError:
    return PillionError(ErrorCode.INVALID_ARGUMENT, f"data: {place}: {text}", field="data")
