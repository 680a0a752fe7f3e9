"""What the cluster says while it works: one line a step, with the seconds it took.

Lines go to standard error, so that the output of commands stays usable in a pipe.
"""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_SECONDS_BETWEEN_LINES = 15.0
_SECONDS_BETWEEN_REDRAWS = 0.2


def say(message: str) -> None:
    """Print one line for the person who waits."""
    print(f"  {message}", file=sys.stderr, flush=True)


class Report:
    """The advance of one step that has a known number of parts."""

    def __init__(self, title: str, of: int) -> None:
        """Start counting from zero of `of` parts; 0 means that the number is not known."""
        self._title, self._of, self._done = title, of, 0
        self._started = self._shown = time.monotonic()
        self._redraw = sys.stderr.isatty()

    @property
    def seconds(self) -> float:
        """Seconds since the step began."""
        return time.monotonic() - self._started

    def advance(self) -> None:
        """Count one more part done, and show it: at once on a terminal, now and then in a log."""
        self._done += 1
        pause = _SECONDS_BETWEEN_REDRAWS if self._redraw else _SECONDS_BETWEEN_LINES
        if time.monotonic() - self._shown < pause:
            return
        self._shown = time.monotonic()
        line = f"  {self._title}: {self._done}/{self._of} packages, {self.seconds:.0f} s"
        print(line, file=sys.stderr, end="\r" if self._redraw else "\n", flush=True)


@contextmanager
def step(title: str, *, of: int = 0) -> Iterator[Report]:
    """Print `title` with the seconds it took once the block ends without an error."""
    report = Report(title, of)
    yield report
    say(f"{title} ({report.seconds:.1f} s)" + " " * 12)
