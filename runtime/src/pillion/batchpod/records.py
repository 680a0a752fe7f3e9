"""Bytes cut into records: lines of JSONL, and records of CSV, whose quoted cells may hold line ends.

A record's number is its place in its file from 1, empty ones counted: of JSONL the line. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Cut", "Record", "cuts", "records"]

_OPENING: Final = re.compile(rb'[,\n]"')


@dataclass(frozen=True, slots=True)
class Record:
    """One record.

    Attributes:
        number: its place in the file.
        content: its bytes with their line end; empty where `problem` says why it cannot be read.
        problem: empty where nothing is wrong.
    """

    number: int
    content: bytes
    problem: str = ""
    whole: bool = True
    """False for the last one where a quoted cell is open at the end of the bytes: what follows it was taken for it."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a file may be cut: so many bytes and records come before."""

    offset: int
    number: int


def records(chunks: Iterable[bytes], *, quoted: bool, most: int, first: int = 1) -> Iterator[Record]:
    """Every record.

    Args:
        chunks: the bytes, as they come.
        quoted: line ends between double quotes belong to a cell.
        most: bytes of a record; a longer one is passed over, with a problem, and never in memory.
        first: the number of the first.
    """
    pending, size, number, scan = bytearray(), 0, first, _Scan(quoted=quoted)
    for chunk in chunks:
        start = 0
        while start < len(chunk):
            end = chunk.find(b"\n", start) + 1
            piece = chunk[start : end or len(chunk)]
            start += len(piece)
            size += len(piece)
            ends = scan.take(piece)
            if size <= most:
                pending += piece
            else:
                pending.clear()
            if ends:
                yield _record(number, bytes(pending), size, most)
                pending.clear()
                size, number = 0, number + 1
    if size and scan.is_open:
        text = "a quoted cell is not closed, so all that follows it in the file was taken for it"
        yield Record(number, b"", text, whole=False)
    elif size:
        yield _record(number, bytes(pending), size, most)


def _record(number: int, content: bytes, size: int, most: int) -> Record:
    if size <= most:
        return Record(number, content)
    return Record(number, b"", f"the row has {size} bytes, and input.maxRowBytes is {most}")


def cuts(chunks: Iterable[bytes], *, quoted: bool, every: int) -> Iterator[Cut]:
    """Where to cut a file into parts of at least `every` bytes, at ends of records."""
    offset, number, wanted, scan = 0, 0, every, _Scan(quoted=quoted)
    for chunk in chunks:
        start = 0
        while offset + len(chunk) >= wanted:
            # Up to the wanted place in one go, from there on line by line.
            until = max(start, wanted - 1 - offset)
            number, start = number + scan.take(chunk[start:until]), until
            found = 0
            while not found and (end := chunk.find(b"\n", start) + 1):
                found = scan.take(chunk[start:end])
                number, start = number + found, end
            if not found:
                break
            yield Cut(offset + start, number)
            wanted = offset + start + every
        number, offset = number + scan.take(chunk[start:]), offset + len(chunk)


class _Scan:
    """Counts the ends of records in bytes that come piece by piece.

    A quote opens a cell only where a cell begins, as in :mod:`csv`: elsewhere it is a character like any other.
    """

    def __init__(self, *, quoted: bool) -> None:
        self.is_open = False
        self._quoted = quoted
        self._may_open = True
        """Whether a quote as the next byte opens a cell: at its begin, and after what then was no closing quote."""

    def take(self, piece: bytes) -> int:
        """How many records end in the bytes that come next."""
        if not self._quoted:
            return piece.count(b"\n")
        at, ends = 0, 0
        while at < len(piece):
            quote = piece.find(b'"', at)
            if self.is_open:
                if quote < 0:
                    break
                self.is_open, self._may_open, at = False, True, quote + 1
            elif quote == at and self._may_open:
                self.is_open, self._may_open, at = True, False, at + 1
            else:
                opening = _OPENING.search(piece, at) if quote >= 0 else None
                until = opening.end() if opening else len(piece)
                ends += piece.count(b"\n", at, until)
                self.is_open, self._may_open, at = bool(opening), piece[until - 1] in b",\n", until
        return ends
