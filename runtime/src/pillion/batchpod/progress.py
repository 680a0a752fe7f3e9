"""How far a BatchPrediction is: by the marks of the shards that are done, and by what runs here."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Counts", "Progress", "mark_name", "marked"]

_MARK: Final = re.compile(r"([0-9]{5,})-([0-9]+)-([0-9]+)-([0-9]+)$")


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows of a shard."""

    read: int = 0
    written: int = 0
    failed: int = 0


def mark_name(number: int, counts: Counts) -> str:
    """The name of the mark of a shard that is done; it holds the counts, so that one listing tells them all."""
    return f"{number:05d}-{counts.read}-{counts.written}-{counts.failed}"


def marked(names: Iterable[str]) -> dict[int, Counts]:
    """The shards that are done; names that are no marks are passed over."""
    found = (match for name in names if (match := _MARK.search(name)))
    return {int(match[1]): Counts(int(match[2]), int(match[3]), int(match[4])) for match in found}


class Progress:
    """What is known; any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._total = 0
        self._done: dict[int, Counts] = {}
        self._now = Counts()
        self._own: frozenset[int] = frozenset()
        self._whole: dict[str, Any] = {}

    def planned(self, total: int, own: Iterable[int], done: dict[int, Counts]) -> None:
        """The plan is there."""
        with self._lock:
            self._total, self._own, self._done = total, frozenset(own), dict(done)

    def seen(self, done: dict[int, Counts]) -> None:
        """So many shards of all pods are done."""
        with self._lock:
            self._done |= done

    def counts(self, now: Counts) -> None:
        """Of the shard that runs."""
        with self._lock:
            self._now = now

    def finished(self, number: int, counts: Counts) -> None:
        """It is done, with so many rows."""
        with self._lock:
            self._done[number], self._now = counts, Counts()

    def completed(self, shards: int, rows: dict[str, int]) -> None:
        """All pods' shards are done, with so many rows."""
        with self._lock:
            self._whole = {"all": {"shards": shards, "rows": rows}}

    @property
    def failed(self) -> int:
        """Rows that failed, as far as this pod knows."""
        with self._lock:
            return sum(counts.failed for counts in self._done.values()) + self._now.failed

    @property
    def done(self) -> frozenset[int]:
        """The shards that are done."""
        with self._lock:
            return frozenset(self._done)

    def document(self) -> dict[str, Any]:
        """This pod's share, and all shards that are planned: what the operator adds up over the pods.

        The pod that saw all of them done says in `all` what they come to, whoever's word is lost.
        """
        with self._lock:
            own = [counts for number, counts in self._done.items() if number in self._own]
            all_own = [*own, self._now]
            return {
                "shards": {"total": self._total, "own": len(self._own), "done": len(own)},
                "rows": {
                    "read": sum(counts.read for counts in all_own),
                    "written": sum(counts.written for counts in all_own),
                    "failed": sum(counts.failed for counts in all_own),
                },
                **self._whole,
            }
