"""The shards of a BatchPrediction: which rows of which file each is, settled once, before the first is read.

The plan lies beside the output. The pod of index 0 makes it; every pod, and every pod after a loss, goes by it. It
holds each file's size and version, so that a file that somebody changes is an error instead of half of two files.
"""

from __future__ import annotations

import codecs
import csv
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

import msgspec

from pillion.batchpod.place import Found
from pillion.batchpod.records import cuts, records
from pillion.podword import FAILED, EndedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pillion.batchpod.order import Input
    from pillion.batchpod.place import Place

__all__ = ["InputFile", "Plan", "Shard", "made_plan"]

_ENDINGS: Final = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet"}
_MOST_SHARDS: Final = 100_000


class InputFile(msgspec.Struct, frozen=True, omit_defaults=True):
    """A file of the input as it was found."""

    key: str
    name: str
    """Its path below the input, for people."""
    size: int
    version: str
    format: str
    header: list[str] = []
    """The names of the columns of CSV."""

    @property
    def found(self) -> Found:
        """What it is read by."""
        return Found(self.key, self.size, self.version)


class Part(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a shard lies.

    Attributes:
        file: the place of its file in the plan.
        start: the first byte; of Parquet the first row group.
        end: where the next one begins.
        first_row: the number of its first row.
    """

    file: int
    start: int
    end: int
    first_row: int = 1


@dataclass(frozen=True, slots=True)
class Shard:
    """Rows that are read, predicted and written by one pod, and again as a whole where that is lost."""

    file: InputFile
    start: int = 0
    end: int = 0
    first_row: int = 1


class Plan(msgspec.Struct, frozen=True):
    """All shards; a shard's place in the list of parts is its number."""

    uid: str
    """Of the BatchPrediction."""
    files: list[InputFile]
    """Each once, however many shards it has: a header may be as long as a row."""
    parts: list[Part]

    @property
    def shards(self) -> list[Shard]:
        """Every shard with its file."""
        return [Shard(self.files[part.file], part.start, part.end, part.first_row) for part in self.parts]


def made_plan(uid: str, given: Input, place: Place, output: Place) -> Plan:
    """Look at the input and settle its shards. What lies below the output is none of it.

    Raises:
        EndedError: there is no such input, or it cannot be cut.
        StorageError: the store refuses, or does not answer.
    """
    files: list[InputFile] = []
    parts: list[Part] = []
    for found, name in _files(given, place, output):
        if found.size == 0:
            continue
        file, body = _opened(found, name, given, place)
        for start, end, first in _cut(file, body, given, place):
            parts.append(Part(len(files), start, end, first))
            if len(parts) > _MOST_SHARDS:
                raise _wrong(
                    f"there are more than {_MOST_SHARDS} shards", "raise input.splitBytes, or give fewer files"
                )
        files.append(file)
    return Plan(uid, files, parts)


def _files(given: Input, place: Place, output: Place) -> list[tuple[Found, str]]:
    """The files that the URI means, and what they are called."""
    key = place.key
    if "*" not in key and key and not key.endswith("/"):
        found = place.head(key)
        if found is not None:
            return [(found, PurePosixPath(key).name)]
    folder = key.rstrip("/") if "*" not in key else key[: key.index("*")].rpartition("/")[0]
    meant = _meaning(given, key, len(folder) + 1 if folder else 0)
    # Of another BatchPrediction, or a former one: predictions are no rows.
    written = (output.key.rpartition("/")[0] or output.key) + "/" if place.root == output.root else ""
    passed_over = 0
    matched: list[tuple[Found, str]] = []
    for file in place.list(folder):
        name = meant(file.key)
        if name and written and file.key.startswith(written):
            passed_over += 1
        elif name:
            matched.append((file, name))
        if len(matched) > _MOST_SHARDS:
            raise _wrong(f"input.uri {place.shown} names more than {_MOST_SHARDS} files", "give fewer files")
    if matched:
        return sorted(matched, key=lambda pair: pair[0].key)
    if passed_over:
        raise _wrong(
            f"all {passed_over} files that input.uri {place.shown} names lie below {written}, where output.uri puts "
            "predictions, which are no rows",
            "give the output a folder of its own",
        )
    endings = "" if given.format else f" of {', '.join(sorted(_ENDINGS))}"
    raise _wrong(
        f"input.uri {place.shown} names no file, and no folder with files{endings}",
        "correct it; keys of buckets are case-sensitive",
    )


def _meaning(given: Input, key: str, start: int) -> Callable[[str], str]:
    """What a file below the folder, whose keys are cut at `start`, is called; empty where the URI does not mean it."""
    matches = _expression(key).fullmatch if "*" in key else None

    def name_of(found: str) -> str:
        name = found[start:]
        # Hidden files, and those that other programs keep beside data, are none: _SUCCESS, _temporary/...
        if any(part[0] in "._" for part in name.split("/") if part):
            return ""
        if matches is not None:
            return name if matches(found) else ""
        known = given.format is not None or PurePosixPath(name).suffix.lower() in _ENDINGS
        return name if known else ""

    return name_of


def _expression(pattern: str) -> re.Pattern[str]:
    """What a pattern means, as in a shell: `*` stays within a folder, `**/` is any folders or none."""
    parts = re.split(r"([*]{2}/|[*]+)", pattern)
    meanings = {"**/": "(?:.*/)?", "*": "[^/]*"}
    return re.compile("".join(meanings.get(part, ".*" if part[:2] == "**" else re.escape(part)) for part in parts))


def _opened(found: Found, name: str, given: Input, place: Place) -> tuple[InputFile, int]:
    """The file with its format and header, and the byte that its rows begin at."""
    form = given.format or _ENDINGS.get(PurePosixPath(name).suffix.lower())
    if form is None:
        raise _wrong(f"{name} ends in none of {', '.join(sorted(_ENDINGS))}", "set input.format")
    header, body = _header(found, name, given, place) if form == "csv" else ([], 0)
    return InputFile(found.key, name, found.size, found.version, form, header), body


def _cut(file: InputFile, body: int, given: Input, place: Place) -> Iterator[tuple[int, int, int]]:
    """Begin, end and first row of each of its shards."""
    if file.format == "parquet":
        from pillion.batchpod.parquet import row_groups  # noqa: PLC0415 - pyarrow, where it is needed

        yield from row_groups(file.found, file.name, place, given.split_bytes)
        return
    start, first = body, 1
    if file.size - body > given.split_bytes:
        rows = place.stream(file.found, body, file.size)
        for cut in cuts(rows, quoted=file.format == "csv", every=given.split_bytes):
            yield start, body + cut.offset, first
            start, first = body + cut.offset, cut.number + 1
    if start < file.size:
        yield start, file.size, first


def _header(file: Found, name: str, given: Input, place: Place) -> tuple[list[str], int]:
    """The names of a CSV's columns, and where its rows begin."""
    length = 0

    def counted() -> Iterator[bytes]:
        nonlocal length
        for chunk in place.stream(file, 0, file.size):
            # In small pieces, so that where the first record ends is known.
            for line in chunk.splitlines(keepends=True):
                length += len(line)
                yield line.removeprefix(codecs.BOM_UTF8) if length == len(line) else line

    first = next(records(counted(), quoted=True, most=given.max_row_bytes))
    try:
        names = next(csv.reader([first.content.decode().rstrip("\r\n")], strict=True), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise _wrong(f"{name}: the header is no CSV in UTF-8: {error}", "correct the file") from None
    twice = sorted({column for column in names if names.count(column) > 1})
    if first.problem or not names or twice:
        problem = first.problem or ("it is empty" if not names else f"column {twice[0]!r} is there twice")
        raise _wrong(f"{name}: the first line should name the columns: {problem}", "correct the file")
    return names, length


def _wrong(text: str, remedy: str) -> EndedError:
    return EndedError(FAILED, "InputInvalid", text, remedy)
